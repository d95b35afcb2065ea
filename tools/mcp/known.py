"""What is remembered of an MCP server between runs: the era of its protocol, and its tools as they were approved.

Tools are pinned when they are first seen. One that is not what it was then is not used until somebody has looked at
the difference: a server that was harmless when it was chosen may have turned.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import orjson

from qianda.models.config import data_dir
from qianda.tools.mcp.content import escaped
from qianda.tools.mcp.spec import MCPServer

if TYPE_CHECKING:
    from mcp_types import Tool as WireTool

_ERA_HOLDS = 7 * 24 * 3600  # seconds; servers are updated
_PINNED = {"name", "title", "description", "input_schema", "output_schema", "annotations"}


@dataclass(frozen=True, slots=True)
class ToolChange:
    """A tool that is not what was approved.

    Args:
        tool: its name at the server.
        diff: what changed, line by line, with invisible characters written out.
    """

    tool: str
    diff: str


class KnownServer:
    """One server; known by its name and by what is started or reached.

    Args:
        server: which one. One in this process is not remembered.
    """

    def __init__(self, server: MCPServer) -> None:
        self._server = server
        identity = orjson.dumps([server.name, server.command, server.url])
        name = re.sub(r"[^A-Za-z0-9_-]", "_", server.name)[:40]
        self._path = data_dir() / "mcp" / f"{name}-{hashlib.sha256(identity).hexdigest()[:12]}.json"

    @property
    def is_legacy(self) -> bool:
        """It was of the handshake era not long ago, so that it need not be asked again."""
        return time.time() - self._read().get("legacy", 0.0) < _ERA_HOLDS

    def note_era(self, protocol: str) -> None:
        """Remember the revision that it speaks.

        Args:
            protocol: such as ``2025-11-25``.
        """
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        if protocol not in MODERN_PROTOCOL_VERSIONS and not self.is_legacy:
            self._write({**self._read(), "legacy": time.time()})

    def forget_era(self) -> None:
        """It is not what it was."""
        self._write({**self._read(), "legacy": 0.0})

    def admitted(self, tools: Sequence[WireTool], notify: Callable[[str], None]) -> list[WireTool]:
        """The tools that are what was approved; those that are new are approved by this.

        Args:
            tools: what the server lists.
            notify: told in one line which tools have changed.
        """
        if self._server.server is not None:
            return list(tools)
        known = self._read()
        approved: dict[str, Any] = known.get("approved", {})
        listed = {tool.name: _definition(tool) for tool in tools}
        changed = {name: made for name, made in listed.items() if _pin(approved.get(name, made)) != _pin(made)}
        now = {**listed, **approved}
        if now != approved or changed != known.get("changed", {}):
            self._write({**known, "approved": now, "changed": changed})
        if changed:
            names = ", ".join(sorted(changed))
            notify(
                f"MCP server {self._server.name!r} has changed what it says of {names}; not used until you have looked:"
                f" qianda mcp approve {self._server.name}"
            )
        return [tool for tool in tools if tool.name not in changed]

    def changes(self) -> list[ToolChange]:
        """The tools that are not used because they have changed since they were approved."""
        known = self._read()
        approved = known.get("approved", {})
        return [ToolChange(name, _diff(approved[name], made)) for name, made in known.get("changed", {}).items()]

    def approve(self, *names: str) -> None:
        """Approve changed tools as they are now; without names all of them.

        Args:
            names: the tools' names at the server.
        """
        known = self._read()
        changed: dict[str, Any] = known.get("changed", {})
        taken = {name: made for name, made in changed.items() if not names or name in names}
        left = {name: made for name, made in changed.items() if name not in taken}
        self._write({**known, "approved": {**known.get("approved", {}), **taken}, "changed": left})

    def forget(self) -> None:
        """Remember nothing: the next start approves what the server then lists."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            value: object = orjson.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    def _write(self, known: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_suffix(f".{os.getpid()}")  # another process may write at the same time
        beside.write_bytes(orjson.dumps(known))
        beside.replace(self._path)


def _definition(tool: WireTool) -> dict[str, Any]:
    return tool.model_dump(mode="json", by_alias=True, exclude_none=True, include=_PINNED)


def _pin(definition: dict[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(definition, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _diff(before: dict[str, Any], after: dict[str, Any]) -> str:
    old, new = (
        escaped(json.dumps(each, indent=1, sort_keys=True, ensure_ascii=False).replace("\\n", "\n")).splitlines()
        for each in (before, after)
    )
    return "\n".join(difflib.unified_diff(old, new, "approved", "now", lineterm="", n=1))
