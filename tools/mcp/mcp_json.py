"""Read ``.mcp.json``: the MCP servers that a project brings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.spec import MCPServer

MCP_JSON = ".mcp.json"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def load_mcp_json(folder: Path, *, notify: Callable[[str], None] = lambda _text: None) -> list[MCPServer]:
    """The stdio servers of a folder's ``.mcp.json``; none when there is no such file.

    Ask ``qianda.tools.trust.is_trusted`` first: these commands come with the project.

    Args:
        folder: where the file is looked for; not in its parents.
        notify: told, one line each, which entries are skipped because their transport is not supported yet.

    Raises:
        ConfigurationError: the file is not what it should be, or names a variable that is not set.
    """
    servers: list[MCPServer] = []
    for name, entry in read_entries(folder).items():
        if entry.get("disabled") is True:
            continue
        if other := other_transport(entry):
            notify(
                f"MCP server {name!r} in {MCP_JSON} is skipped: {other} servers are not supported yet, only commands"
            )
            continue
        servers.append(MCPServer.from_mapping(name, _expand(entry, name)))
    return servers


def read_entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of ``mcpServers`` as they are written.

    Raises:
        ConfigurationError: the file cannot be read, or has another shape.
    """
    path = folder / MCP_JSON
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    entries: object = cast("dict[str, object]", value).get("mcpServers", {}) if isinstance(value, dict) else None
    if not isinstance(entries, dict):
        raise ConfigurationError(f"{path} must be an object with mcpServers, an object of servers by name")
    for name, entry in cast("dict[str, object]", entries).items():
        if not isinstance(entry, dict):
            raise ConfigurationError(f"{path}: server {name!r} must be an object")
    return cast("dict[str, dict[str, Any]]", entries)


def other_transport(entry: Mapping[str, Any]) -> str:
    """What a server is reached by when it is not a command: ``http``, ``sse`` …; "" for a command."""
    kind = entry.get("type", entry.get("transport"))
    if isinstance(kind, str) and kind != "stdio":
        return kind
    return "" if "command" in entry or not ("url" in entry or "httpUrl" in entry) else "remote"


def _expand(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Put ``${VAR}`` and ``${VAR:-default}`` in command, args, env and cwd."""

    def fill(match: re.Match[str]) -> str:
        variable, default = match[1], match[2]
        value = os.environ.get(variable)
        if default is not None:
            return value or default
        if value is None:
            raise ConfigurationError(
                f"MCP server {name!r} in {MCP_JSON} needs the environment variable {variable}, which is not set",
                cure=f"Set it, or give it a default there: ${{{variable}:-…}}",
            )
        return value

    def walk(value: object) -> object:
        if isinstance(value, str):
            return _VARIABLE.sub(fill, value)
        if isinstance(value, list):
            return [walk(item) for item in cast("list[object]", value)]
        if isinstance(value, dict):
            return {key: walk(item) for key, item in cast("dict[str, object]", value).items()}
        return value

    return {key: walk(value) if key in ("command", "args", "env", "cwd") else value for key, value in entry.items()}
