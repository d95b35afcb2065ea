"""What the doctor found about a server and model, kept for the runs that follow."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qianda.models.config import data_dir

if TYPE_CHECKING:
    from qianda.models.resolve import Endpoint

STALE_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Profile:
    """One server and model, as found.

    Args:
        version: the server's version, or "".
        facts: from a finding's ``check`` to its ``fact``.
        found_at: seconds since the epoch.
    """

    version: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    found_at: float = 0.0

    @property
    def fields(self) -> dict[str, Any]:
        """Request fields that this server needs.

        A vLLM without a tool parser refuses requests with tools unless their choice is ``none``; the tools are in the
        prompt all the same, and the reader finds the calls in the text.
        """
        return {"tool_choice": "none"} if self.facts.get("tools") == "refused" else {}

    @property
    def streams(self) -> bool:
        """Whether answers may be streamed: with the parser of another format, vLLM drops calls from streams only."""
        return self.facts.get("tools") != "lost"

    def applied(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint as it proved to be: without a thinking switch where the one in the prompt works instead."""
        if self.facts.get("switch") != "soft":
            return endpoint
        return replace(endpoint, kind=replace(endpoint.kind, thinking=""))


def profiles_path() -> Path:
    """The file that they are kept in."""
    return data_dir() / "profiles.json"


def remember(url: str, model: str, profile: Profile) -> None:
    """Keep a profile; one that cannot be written is not kept.

    Args:
        url: the server's base URL.
        model: the model's name there.
        profile: what was found.
    """
    path = profiles_path()
    kept = {name: entry for name, entry in _read(path).items() if _is_fresh(entry)}
    kept[_name(url, model)] = {**asdict(profile), "facts": dict(profile.facts)}
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(kept, file, ensure_ascii=False, indent=1)
        draft.replace(path)


def recall(url: str, model: str, *, version: str = "") -> Profile:
    """What was found in the last seven days; an empty profile when nothing was.

    Args:
        url: the server's base URL.
        model: the model's name there.
        version: the version that it has now, where that is known: findings about another do not count.
    """
    entry = _read(profiles_path()).get(_name(url, model))
    if entry is None or not _is_fresh(entry) or (version and version != entry.get("version")):
        return Profile()
    facts = cast("dict[Any, Any]", entry["facts"]) if isinstance(entry.get("facts"), dict) else {}
    return Profile(str(entry.get("version", "")), {str(k): str(v) for k, v in facts.items()}, entry["found_at"])


def _name(url: str, model: str) -> str:
    # A name and a password in an address stay out of the file; a newline is in neither.
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}\n{model}"


def _is_fresh(entry: dict[str, Any]) -> bool:
    found_at = entry.get("found_at")
    return isinstance(found_at, (int, float)) and 0 <= time.time() - found_at < STALE_SECONDS


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        kept: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    entries = cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}
    return {name: cast("dict[str, Any]", entry) for name, entry in entries.items() if isinstance(entry, dict)}
