"""What the doctor found about a server and model, kept for the runs that follow."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qianda.models.config import data_dir
from qianda.models.whole_file import write_whole

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient
    from qianda.models.probes import Finding
    from qianda.models.resolve import Endpoint

STALE_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Profile:
    """One server and model, as found.

    Args:
        version: the server's version, or "".
        facts: from a finding's ``check`` to its ``fact``.
        found_at: seconds since the epoch.
        fingerprint: the endpoint's.
        findings: what the facts are of, for people.
    """

    version: str = ""
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    found_at: float = 0.0
    fingerprint: str = ""
    findings: tuple[Finding, ...] = ()

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
        """The endpoint as it proved to be.

        Without a thinking switch where the one in the prompt works instead; with the way of holding a reply to a schema
        that works, or none where the server refuses all.
        """
        kind = endpoint.kind
        if self.facts.get("switch") == "soft":
            kind = replace(kind, thinking="")
        match self.facts.get("structured"):
            case "schema" if not kind.structured:
                kind = replace(kind, structured="json_schema")
            case "older":
                kind = replace(kind, structured=kind.older_structured, structured_thinking=False)
            case "refused":
                kind = replace(kind, structured="")
            case _:
                pass
        return endpoint if kind is endpoint.kind else replace(endpoint, kind=kind)

    def tells(self, endpoint: Endpoint) -> bool:
        """Whether runs do anything otherwise for it."""
        return bool(self.fields) or not self.streams or self.applied(endpoint) is not endpoint


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
    with suppress(OSError):
        write_whole(path, json.dumps(kept, ensure_ascii=False, indent=1))


def remember_findings(endpoint: Endpoint, version: str, findings: Sequence[Finding]) -> None:
    """Keep what was found; where the time was up first, what was known before stays.

    Args:
        endpoint: the server and model.
        version: the server's, or "".
        findings: of the probes.
    """
    from qianda.models.listening import TOO_SLOW

    made = endpoint.fingerprint
    before = recall(endpoint.url, endpoint.model, version=version, fingerprint=made)
    facts = {one.check: before.facts.get(one.check, "") if one.seen == TOO_SLOW else one.fact for one in findings}
    facts = {check: fact for check, fact in facts.items() if fact}
    told = tuple(one for one in findings if one.seen != TOO_SLOW)
    told += tuple(one for one in before.findings if one.check not in {each.check for each in told})
    remember(endpoint.url, endpoint.model, Profile(version or before.version, facts, time.time(), made, told))


async def known(endpoint: Endpoint, http: AsyncClient) -> Profile:
    """What was found about an endpoint, if it is still the same; an empty profile otherwise.

    The server is asked for its version, once, only where the profile changes what runs do.
    """
    from qianda.models.detection import FoundServer, server_version
    from qianda.models.resolve import bearer

    profile = recall(endpoint.url, endpoint.model, fingerprint=endpoint.fingerprint)
    if not profile.tells(endpoint):
        return profile
    found = FoundServer(endpoint.url, endpoint.kind, ())
    version = await server_version(http, found, headers=bearer(endpoint.api_key))
    return profile if version in ("", profile.version) else Profile()


def recall(url: str, model: str, *, version: str = "", fingerprint: str = "") -> Profile:
    """What was found in the last seven days; an empty profile when nothing was.

    Args:
        url: the server's base URL.
        model: the model's name there.
        version: the version that it has now, where that is known: findings about another do not count.
        fingerprint: likewise, the endpoint's.
    """
    entry = _read(profiles_path()).get(_name(url, model))
    if entry is None or not _is_fresh(entry):
        return Profile()
    then = str(entry.get("fingerprint", ""))
    # A server that was too busy for the second question has told the first half of its fingerprint.
    same = then.startswith(fingerprint) or fingerprint.startswith(then)
    if not same or (version and version != entry.get("version")):
        return Profile()
    facts = cast("dict[Any, Any]", entry["facts"]) if isinstance(entry.get("facts"), dict) else {}
    return Profile(
        str(entry.get("version", "")),
        {str(k): str(v) for k, v in facts.items()},
        entry["found_at"],
        then,
        _findings(entry.get("findings")),
    )


def _findings(kept: Any) -> tuple[Finding, ...]:
    from qianda.models.probes import Finding

    try:
        return tuple(Finding(**one) for one in kept or ())
    except TypeError:  # of another version
        return ()


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
