"""The files in which hosts keep their MCP servers: where they lie, and how each is put into our own words."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from qianda.models.errors import ConfigurationError

MCP_JSON = ".mcp.json"
NAME = re.compile(r"[A-Za-z0-9_-]+")
Entry = dict[str, Any]
_MAC = sys.platform == "darwin"
_APPLICATIONS = "~/Library/Application Support" if _MAC else "${XDG_CONFIG_HOME:-~/.config}"
_URL_IS_HTTP = MappingProxyType({"http_url": "http", "url": ""})  # "": HTTP, and when that fails SSE

# An entry in our words, which is also a table [mcp_servers.NAME] of ours; times are in seconds.
KEYS = (
    "command", "args", "env", "cwd", "type", "url", "headers", "timeout", "start_timeout",
    "include_tools", "exclude_tools", "trust", "enabled", "sampling",
)  # fmt: skip
_FILLED_IN = ("command", "args", "env", "cwd", "url", "headers")
_JSON_NOISE = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])')


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one host writes its servers.

    Args:
        title: the host's name.
        tables: paths of keys to the servers by name; the first that is there counts.
        places: the files, of the user and of a project; a relative one lies in the workspace.
        urls: keys of an address, and the transport that each means where no ``type`` says it.
        second: what a second is in its times.
        variables: other spellings of ``${NAME}``, as patterns, and what comes in their place.
    """

    title: str
    tables: tuple[str, ...] = ("mcpServers",)
    places: tuple[str, ...] = ()
    urls: Mapping[str, str] = field(default_factory=lambda: _URL_IS_HTTP)
    second: float = 1000.0
    variables: Mapping[str, str] = field(default_factory=dict[str, str])


_EDITOR_VARIABLES = {r"\$\{env:([A-Za-z_]\w*)\}": r"${\1}", r"\$\{(?:userHome|HOME)\}": "~"}
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "qianda": Dialect("Qianda", ("mcp_servers",), second=1.0),
        "mcp.json": Dialect(MCP_JSON, places=(MCP_JSON,)),
        "claude-desktop": Dialect("Claude Desktop", places=(f"{_APPLICATIONS}/Claude/claude_desktop_config.json",)),
        "cursor": Dialect("Cursor", places=("~/.cursor/mcp.json", ".cursor/mcp.json"), variables=_EDITOR_VARIABLES),
        "vscode": Dialect(
            "VS Code",
            ("servers", "mcp.servers", "mcpServers"),
            places=(
                f"{_APPLICATIONS}/Code/User/mcp.json",
                f"{_APPLICATIONS}/Code/User/settings.json",
                ".vscode/mcp.json",
                ".vscode/settings.json",
            ),
            variables=_EDITOR_VARIABLES,
        ),
        "qwen-code": Dialect(
            "Qwen Code",
            places=("~/.qwen/settings.json", ".qwen/settings.json"),
            urls=MappingProxyType({"http_url": "http", "url": "sse"}),
            variables={r"\$([A-Za-z_]\w*)": r"${\1}"},
        ),
    }
)
FOREIGN = tuple(name for name in DIALECTS if name not in ("qianda", "mcp.json"))


def places(dialect: Dialect, workspace: Path) -> list[Path]:
    """The files where a host's servers would be."""
    return [workspace / Path(_folders(place)).expanduser() for place in dialect.places]


def dialect_of(path: Path, workspace: Path) -> Dialect:
    """How a file is written, by where it lies or what it is called; else like ``.mcp.json``."""
    if path.suffix == ".toml":
        return DIALECTS["qianda"]
    for name in FOREIGN:
        if path.resolve() in (place.resolve() for place in places(DIALECTS[name], workspace)):
            return DIALECTS[name]
    hosts = {
        ".qwen": "qwen-code",
        ".vscode": "vscode",
        "Code": "vscode",
        ".cursor": "cursor",
        "Claude": "claude-desktop",
    }
    host = next((hosts[part] for part in reversed(path.absolute().parts) if part in hosts), "mcp.json")
    return DIALECTS[host]


def read_servers(path: Path, dialect: Dialect, workspace: Path) -> dict[str, Entry]:
    """The servers of a file in our words; variables stand as they were written.

    Args:
        path: the file; one that is not there has no servers.
        dialect: how it is written.
        workspace: what ``${workspaceFolder}`` stands for.

    Raises:
        ConfigurationError: it cannot be read, or has another shape. What is wrong with one server is kept in its
            entry, and is an error where that server is used.
    """
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    try:
        value: object = tomllib.loads(text) if path.suffix == ".toml" else json.loads(_plain_json(text))
    except (ValueError, RecursionError) as error:
        kind = "TOML" if path.suffix == ".toml" else "JSON"
        raise ConfigurationError(f"{path} is not valid {kind}: {error}") from error
    found = [(table, it) for table in dialect.tables if (it := _at(value, table)) is not None]
    table, servers = found[0] if found else (dialect.tables[0], cast("object", {}))
    if not isinstance(value, dict) or not isinstance(servers, dict):
        raise ConfigurationError(f"{path} must be an object with {table}, an object of servers by name")
    return {
        name: _in_our_words(entry, dialect, workspace) for name, entry in cast("dict[str, object]", servers).items()
    }


def _plain_json(text: str) -> str:
    """JSON as editors write it, without its comments and last commas."""
    text = _JSON_NOISE.sub(lambda found: found[1] or "", text)
    return _LAST_COMMA.sub(lambda found: found[1] or "", text)


def _at(value: object, table: str) -> object:
    """What is at ``a.b``, written as one key or as two; None when nothing is."""
    if not isinstance(value, dict):
        return None
    keys = cast("dict[str, object]", value)
    first, dot, rest = table.partition(".")
    return keys.get(table, _at(keys.get(first), rest) if dot else None)


def _in_our_words(entry: object, dialect: Dialect, workspace: Path) -> Entry:
    if not isinstance(entry, dict):
        return {"problem": "it must be an object"}
    keys = {_snake(key): value for key, value in cast("dict[str, object]", entry).items()}
    ours: Entry = {key: value for key in KEYS if (value := keys.get(key)) is not None}
    if "type" not in ours and isinstance(transport := keys.get("transport"), str):
        ours["type"] = transport
    if keys.get("disabled") is True:
        ours["enabled"] = False
    address = next((key for key in dialect.urls if keys.get(key) is not None), None)
    if address is not None and "command" not in ours:
        ours["url"] = keys[address]
        if "type" not in ours and dialect.urls[address]:
            ours["type"] = dialect.urls[address]
    for key in ("timeout", "start_timeout"):
        if isinstance(ours.get(key), int | float) and not isinstance(ours[key], bool):
            ours[key] = ours[key] / dialect.second
    if dialect.variables:
        spellings = {**dialect.variables, r"\$\{workspaceFolder\}": str(workspace).replace("\\", r"\\")}
        for key in _FILLED_IN:
            if key in ours:
                ours[key] = _respelled(ours[key], spellings)
    return ours


def _respelled(value: object, spellings: Mapping[str, str]) -> object:
    if isinstance(value, str):
        for pattern, ours in spellings.items():
            value = re.sub(pattern, ours, value)
        # What an editor asks its user for comes from the environment here.
        return re.sub(r"\$\{input:([^}]+)\}", lambda found: f"${{{_variable(found[1])}}}", value)
    if isinstance(value, list):
        return [_respelled(item, spellings) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: _respelled(item, spellings) for key, item in cast("dict[str, object]", value).items()}
    return value


def _variable(text: str) -> str:
    return re.sub(r"\W", "_", text).upper()


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", key).lower()


def _folders(place: str) -> str:
    return place.replace("${XDG_CONFIG_HOME:-~/.config}", os.environ.get("XDG_CONFIG_HOME") or "~/.config")
