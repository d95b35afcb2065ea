"""Writing MCP servers into files: tables of config.toml, whose other lines stay as they are, and ``.mcp.json``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

from qianda.models.config import MCP_SERVERS, read_config_file, user_config_path
from qianda.models.config_file import edit, literal, replace_file, write_checked
from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.approvals import refuse
from qianda.tools.mcp.configured import Configured, Scope
from qianda.tools.mcp.dialects import MCP_JSON, Entry

_SECONDS = ("timeout", "start_timeout")


def file_of(scope: Scope, workspace: Path) -> Path:
    """The file that a scope's servers are written into."""
    return user_config_path() if scope == "user" else workspace / MCP_JSON


def write_server(path: Path, name: str, entry: Entry | None) -> None:
    """Write a server, in the place of one of that name, or remove it.

    Args:
        path: the file; it is made when it is not there.
        name: the server's.
        entry: what to write, in our words; None removes it.

    Raises:
        ConfigurationError: the file cannot be read, understood or written.
    """
    if path.suffix == ".toml":
        _write_toml(path, name, entry)
    else:
        _write_json(path, name, entry)


def set_used(server: Configured, workspace: Path, *, used: bool) -> None:
    """Let a server be used from now on, or not; of a project's the latter is the person's decision, not the project's.

    Args:
        server: which one.
        workspace: the folder that the decision is for.
        used: whether it is to be used. A project's needs to be approved besides.

    Raises:
        ConfigurationError: the file cannot be read, understood or written, or is not ours to change.
    """
    if not used and server.scope == "project":
        refuse(server.name, workspace)
    elif used is server.enabled:
        return
    elif server.path.suffix != ".toml":
        raise ConfigurationError(f"{server.name!r} is disabled in {server.path}", cure="Remove that there")
    else:
        set_enabled(server.path, server.name, enabled=used)


def set_enabled(path: Path, name: str, enabled: bool) -> None:
    """Switch a server of a configuration file on or off.

    Raises:
        ConfigurationError: the file cannot be read, understood or written.
    """
    values = read_config_file(path) or {}
    servers = {**values[MCP_SERVERS], name: {**values[MCP_SERVERS][name], "enabled": enabled}}
    text = edit(path.read_text(encoding="utf-8"), f"{MCP_SERVERS}.{name}", "enabled", literal(enabled))
    write_checked(path, text, {**values, MCP_SERVERS: servers}, f"enabled of {name}")


def _write_toml(path: Path, name: str, entry: Entry | None) -> None:
    values = read_config_file(path) or {}
    servers = {key: value for key, value in values.get(MCP_SERVERS, {}).items() if key != name}
    text = _without(path.read_text(encoding="utf-8") if path.exists() else "", name)
    if entry is not None:
        servers[name] = entry
        table = "\n".join([f"[{MCP_SERVERS}.{name}]", *(f"{key} = {literal(value)}" for key, value in entry.items())])
        text = f"{text.rstrip()}\n\n{table}\n" if text.strip() else f"{table}\n"
    wanted = {key: value for key, value in values.items() if key != MCP_SERVERS}
    # The table itself stays where it has a line of its own.
    if servers or re.search(rf"^\s*\[\s*{MCP_SERVERS}\s*\]", text, re.MULTILINE):
        wanted[MCP_SERVERS] = servers
    write_checked(path, text, wanted, f"[{MCP_SERVERS}.{name}]")


def _without(text: str, name: str) -> str:
    """The file without a server's tables, and without its line in a table of all."""
    own = re.compile(rf"""^\s*\[\[?\s*{MCP_SERVERS}\s*\.\s*["']?{re.escape(name)}["']?\s*[.\]]""")
    kept: list[str] = []
    inside = False
    for line in text.split("\n"):
        if line.lstrip().startswith("["):
            inside = own.match(line) is not None
        if not inside:
            kept.append(line)
    text = "\n".join(kept)
    listed = re.search(rf"^\s*\[\s*{MCP_SERVERS}\s*\]", text, re.MULTILINE)
    return edit(text, MCP_SERVERS, name, None) if listed else text


def _write_json(path: Path, name: str, entry: Entry | None) -> None:
    try:
        value: object = json.loads(path.read_text(encoding="utf-8-sig")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be changed: {error}", cure="Change it by hand") from error
    servers: object = cast("dict[str, object]", value).setdefault("mcpServers", {}) if isinstance(value, dict) else None
    if not isinstance(servers, dict):
        raise ConfigurationError(f"{path} has another shape than mcpServers by name", cure="Change it by hand")
    table = cast("dict[str, Any]", servers)
    table.pop(name, None)
    if entry is not None:
        table[name] = {_camel(key): item * 1000 if key in _SECONDS else item for key, item in entry.items()}
    replace_file(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n", private=False)


def _camel(key: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), key)
