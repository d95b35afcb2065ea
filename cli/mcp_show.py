"""``qianda mcp list``, ``get`` and ``test``: the MCP servers that there are, and whether they work."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import typer

from qianda.cli.exits import DONE, GAVE_UP, complain
from qianda.cli.terminal import Style, Terminal, clean, width
from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.approvals import State, effective
from qianda.tools.mcp.configured import Configured, configured_servers, masked_url
from qianda.tools.mcp.content import escaped, visible
from qianda.tools.mcp.known import KnownServer
from qianda.tools.mcp.logins import login_state
from qianda.tools.secrets import know_secrets, redact

_TAIL = 10  # lines of a log
_STYLES: dict[str, Style] = {
    "ready": "done",
    "logged in": "done",
    "broken": "failed",
    "pending approval": "ask",
    "needs login": "ask",
    "tools changed": "ask",
}


def all_servers(workspace: Path) -> list[tuple[Configured, State]]:
    """The servers of all files with their states; what is wrong with a file is one line on stderr."""
    know_secrets(workspace)
    return effective(configured_servers(workspace, complain), workspace)


def find_server(name: str, workspace: Path) -> tuple[Configured, State]:
    """The server of that name that is used, else the last of that name.

    Raises:
        ConfigurationError: there is none.
    """
    found = [pair for pair in all_servers(workspace) if pair[0].name == name]
    if not found:
        raise ConfigurationError(
            f"There is no MCP server {name!r}", cure="qianda mcp list shows them, qianda mcp add adds one"
        )
    return next((pair for pair in found if pair[1] in ("ready", "needs login")), found[-1])


def state_words(server: Configured, state: State) -> str:
    """A state in words: what is wrong, or what is there."""
    if state not in ("ready", "needs login"):
        return state
    resolved = server.resolve()
    if KnownServer(resolved).changes():
        return "tools changed"
    return "logged in" if login_state(resolved) == "there" else state


def what_to_do(server: Configured, words: str) -> str:
    """The command that helps, or ""."""
    cures = {
        "pending approval": "approve",
        "tools changed": "approve",
        "needs login": "login",
        "disabled": "enable",
    }
    return f"qianda mcp {cures[words]} {server.name}" if words in cures else ""


def list_servers(workspace: Path, *, as_json: bool) -> int:
    """Print a line per server."""
    servers = all_servers(workspace)
    if as_json:
        typer.echo(json.dumps([_values(server, state) for server, state in servers], indent=2, ensure_ascii=False))
        return DONE
    if not servers:
        typer.echo("No MCP servers. Add one: qianda mcp add time -- uvx mcp-server-time")
        return DONE
    terminal = Terminal.current()
    rows = [(clean(server.name), state_words(server, state), server, state) for server, state in servers]
    first = max(width(row[0]) for row in rows)
    second = max(len(row[1]) for row in rows)
    for name, words, server, state in rows:
        shown = clean(server.shown()) if state != "hidden" else "another of this name is used"
        padded = terminal.style(f"{words:<{second}}", _STYLES.get(words, "dim"))
        where = terminal.style(f"({clean(_short(server.path, workspace))})", "dim")
        typer.echo(f"{name}{' ' * (first - width(name))}  {padded}  {shown}  {where}")
    cures = [cure for _, words, server, _ in rows if words != "disabled" and (cure := what_to_do(server, words))]
    for cure in cures:
        typer.echo(f"{terminal.symbol('call')} {clean(cure)}")
    return DONE


def get_server(name: str, workspace: Path, *, as_json: bool) -> int:
    """Print one server in full.

    Raises:
        ConfigurationError: there is none of that name.
    """
    values = _values(*find_server(name, workspace))
    if as_json:
        typer.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return DONE
    terminal = Terminal.current()
    for key, value in values.items():
        if value in (None, "", [], {}, False):
            continue
        typer.echo(f"{terminal.style(f'{key}:', 'dim')} {_one_line(_text(key, value))}")
    return DONE


def test(names: Sequence[str], workspace: Path, *, as_json: bool) -> int:
    """Connect to servers, and say what came of it.

    Raises:
        ConfigurationError: there is none of a name, or it may not run.
    """
    chosen = [find_server(name, workspace) for name in names] or [
        (server, state) for server, state in all_servers(workspace) if state in ("ready", "needs login")
    ]
    for server, state in chosen:
        if state not in ("ready", "needs login"):
            cure = what_to_do(server, state)
            why = server.shown() if state == "broken" else f"MCP server {server.name!r} is not tried: {state}"
            raise ConfigurationError(why, cure=cure)
    if not chosen:
        raise ConfigurationError("There is no MCP server to try", cure="qianda mcp add time -- uvx mcp-server-time")
    results = asyncio.run(_try_all([server for server, _ in chosen], workspace))
    if as_json:
        typer.echo(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        for result in results:
            _print_result(result)
    return DONE if all(result["ok"] for result in results) else GAVE_UP


async def _try_all(servers: Sequence[Configured], workspace: Path) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(_try(server, workspace) for server in servers)))


async def _try(configured: Configured, workspace: Path) -> dict[str, Any]:
    from qianda.tools.mcp.connection import MCPConnection
    from qianda.tools.mcp.server_log import ServerLog

    server = configured.resolve()
    notes: list[str] = []
    connection = MCPConnection(server, workspace=workspace, notify=notes.append, changed=lambda: None)
    started = time.perf_counter()
    connection.begin()
    try:
        await connection.settled()
        seconds = round(time.perf_counter() - started, 2)
        problem = connection.problem
        tools = [{"name": tool.name, "description": visible(tool.description or "")} for tool in connection.tools]
        log = [] if not problem else _last_words(ServerLog(server).path)
    finally:
        connection.stop()
        await connection.ended()
    result = {"name": server.name, "ok": not problem, "seconds": seconds, "tools": tools, "notes": notes}
    return result | ({"problem": problem, "log": log} if problem else {})


def _last_words(log: Path) -> list[str]:
    """The last lines that a server wrote in this start."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    start = max((number for number, line in enumerate(lines) if line.startswith("--- ")), default=-1)
    return [redact(line) for line in lines[start + 1 :] if line.strip()][-_TAIL:]


def _print_result(result: dict[str, Any]) -> None:
    terminal = Terminal.current()
    name, seconds = clean(result["name"]), f"{result['seconds']:.1f} s"
    if not result["ok"]:
        typer.echo(f"{terminal.style(terminal.symbol('failed'), 'failed')} {name}  {seconds}")
        complain(result["problem"])
        for line in result["log"]:
            typer.echo(terminal.style(f"    {clean(line)}", "dim"), err=True)
        return
    tools = result["tools"]
    count = "1 tool" if len(tools) == 1 else f"{len(tools)} tools"
    typer.echo(f"{terminal.style(terminal.symbol('done'), 'done')} {name}  {count} in {seconds}")
    first = max((len(tool["name"]) for tool in tools), default=0)
    for tool in tools:
        what = terminal.one_line(tool["description"], max(20, terminal.columns - first - 6))
        typer.echo(f"  {clean(tool['name']):<{first}}  {terminal.style(what, 'dim')}".rstrip())
    for note in result["notes"]:
        complain(note)


def _values(server: Configured, state: State) -> dict[str, Any]:
    """All of a server that may be shown."""
    words = state_words(server, state)
    values: dict[str, Any] = {"name": server.name, "state": words, "scope": server.scope, "file": str(server.path)}
    try:
        resolved = server.resolve()
    except ConfigurationError as error:
        return values | {"problem": str(error)}
    values |= (
        {"url": masked_url(resolved.url), "transport": resolved.transport or "http, else sse"}
        if resolved.url
        else {"command": [redact(word) for word in resolved.command], "transport": "stdio"}
    )
    values |= {"env": server.masked("env"), "headers": server.masked("headers"), "cwd": resolved.cwd}
    values |= {"timeout": resolved.call_timeout, "start_timeout": resolved.timeout, "trust": resolved.trusted}
    values |= {"include_tools": resolved.include and list(resolved.include), "exclude_tools": list(resolved.exclude)}
    values["changed_tools"] = [change.tool for change in KnownServer(resolved).changes()]
    return values


def _text(key: str, value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in cast("dict[str, str]", value).items())
    if isinstance(value, list):
        words = cast("list[str]", value)
        return shlex.join(words) if key == "command" else ", ".join(words)
    return str(value)


def _one_line(text: str) -> str:
    """On one line, with nothing that hides or steers."""
    return clean(escaped(text).replace("\n", "\\n"))


def _short(path: Path, workspace: Path) -> str:
    for folder, name in ((workspace, ""), (Path.home(), "~/")):
        if path.is_relative_to(folder):
            return name + str(path.relative_to(folder))
    return str(path)
