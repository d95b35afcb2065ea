"""What a folder brings, its MCP servers too: looked at, shown to a person, trusted as it was seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qianda.tools.mcp.approvals import approve, state_of
from qianda.tools.mcp.configured import Configured, configured_servers
from qianda.tools.mcp.store import change_store, read_store
from qianda.tools.trust import changed_since_trusted, fingerprint, is_trusted, trust, what_folder_brings

_SHOWN = "trust-shown.json"


@dataclass(frozen=True, slots=True)
class Brought:
    """What a folder brings, as it was when somebody looked.

    Args:
        folder: the folder.
        lines: a line for each thing, for people.
        files: where these stand, relative to the folder.
        pending: its MCP servers that nobody has approved.
        known: all of it is trusted.
        changed: what is not any more as it was trusted.
        seen: its ``fingerprint``.
    """

    folder: Path
    lines: tuple[str, ...]
    files: tuple[str, ...]
    pending: tuple[Configured, ...]
    known: bool
    changed: tuple[str, ...]
    seen: str | None

    @property
    def asks(self) -> bool:
        """Whether it waits for somebody's decision, and was not shown before as it is now."""
        return bool(self.lines) and not self.known and read_store(_SHOWN).get(str(self.folder)) != self._digest

    @property
    def _digest(self) -> str:
        text = json.dumps([self.seen, *(f"{server.name} {server.entry}" for server in self.pending)])
        return hashlib.sha256(text.encode()).hexdigest()

    def shown(self) -> None:
        """Remember that somebody has seen it, whatever they decided.

        Raises:
            ConfigurationError: that cannot be stored.
        """

        def change(value: dict[str, Any]) -> None:
            value[str(self.folder)] = self._digest

        change_store(_SHOWN, change)

    def trust(self) -> None:
        """Trust it as it was seen, and let its MCP servers run.

        Raises:
            ConfigurationError: it has changed since, or the decision cannot be stored.
        """
        trust(self.folder, seen=self.seen)
        for server in self.pending:
            approve(server, self.folder)


def look_at(folder: Path, problem: Callable[[str], None]) -> Brought:
    """See what a folder brings.

    Args:
        folder: the folder.
        problem: told, one line each, which file cannot be read.

    Raises:
        ConfigurationError: something there cannot be read.
    """
    seen = fingerprint(folder)
    lines = what_folder_brings(folder)
    servers = [server for server in configured_servers(folder, problem) if server.scope == "project"]
    pending = tuple(server for server in servers if state_of(server, folder) == "pending approval")
    lines += [f"{server.path.name}: MCP server {server.name}: {server.shown()}" for server in servers]
    files = [*json.loads(seen or "{}"), *(server.path.relative_to(folder).as_posix() for server in servers)]
    return Brought(
        folder,
        tuple(lines),
        tuple(dict.fromkeys(files)),
        pending,
        known=is_trusted(folder) and not pending,
        changed=tuple(changed_since_trusted(folder)),
        seen=seen,
    )
