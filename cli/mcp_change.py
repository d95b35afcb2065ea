"""``qianda mcp add``, ``remove``, ``enable``, ``disable`` and ``approve``."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from qianda.cli.exits import DONE, REFUSED, complain
from qianda.cli.mcp_show import all_servers, find_server, state_words
from qianda.cli.terminal import clean, is_terminal
from qianda.models.errors import ConfigurationError
from qianda.tools.mcp import approvals
from qianda.tools.mcp.config_file import file_of, set_used, write_server
from qianda.tools.mcp.configured import Configured, Scope, server_of
from qianda.tools.mcp.dialects import NAME, Entry
from qianda.tools.mcp.known import KnownServer
from qianda.tools.mcp.logins import forget_login

_URL = re.compile(r"https?://", re.IGNORECASE)


def new_entry(target: Sequence[str], *, header: Sequence[str], env: Sequence[str]) -> Entry:
    """What was written on the command line as an entry in our words.

    Raises:
        ConfigurationError: the parts do not fit each other.
    """
    if _URL.match(target[0]):
        if len(target) > 1 or env:
            more = "--env is for commands" if env else f"{target[1]!r} comes after it"
            raise ConfigurationError(f"An address stands alone, and {more}", cure="qianda mcp add NAME URL")
        return {"url": target[0], **({"headers": _pairs(header, "--header")} if header else {})}
    if header:
        raise ConfigurationError("--header is for addresses; a command gets variables", cure="Use --env NAME=VALUE")
    entry: Entry = {"command": target[0], "args": list(target[1:])}
    return entry | ({"env": _pairs(env, "--env")} if env else {})


def add(name: str, entry: Entry, scope: Scope, workspace: Path) -> int:
    """Write a server into a file; one of a project is approved by that.

    Raises:
        ConfigurationError: the name is taken or none, or the file cannot be written.
    """
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} cannot be a name", cure="Use letters, digits, - and _")
    path = file_of(scope, workspace)
    if any(server.name == name and server.path == path for server, _ in all_servers(workspace)):
        raise ConfigurationError(f"{path} has an MCP server {name!r} already", cure=f"qianda mcp remove {name}")
    try:
        server_of(name, entry, path)
    except ConfigurationError as error:
        if not error.cure:  # an unset variable may be set later
            raise
        complain(str(error))
    write_server(path, name, entry)
    server = Configured(name, entry, path, scope)
    if scope == "project":
        approve_quietly(server, workspace)
        if any("…" in value for key in ("env", "headers") for value in server.masked(key).values()):
            complain(
                f"{path.name} is shared with the project, and what may be a secret is in it: write ${{NAME}} there"
            )
    typer.echo(f"Added {name} to {clean(str(path))}. Try it: qianda mcp test {name}")
    return DONE


def approve_quietly(server: Configured, workspace: Path) -> None:
    """Approve what the person has just written; what cannot be resolved yet is asked for later."""
    try:
        approvals.approve(server, workspace)
    except ConfigurationError as error:
        complain(str(error))


def remove(name: str, workspace: Path) -> int:
    """Remove a server, and what is remembered of it.

    Raises:
        ConfigurationError: there is none, or the file cannot be written.
    """
    server, _ = find_server(name, workspace)
    write_server(server.path, name, None)
    typer.echo(f"Removed {name} from {clean(str(server.path))}")
    try:
        resolved = server.resolve()
    except ConfigurationError:
        return DONE
    KnownServer(resolved).forget()
    if resolved.url and forget_login(resolved.url):
        typer.echo("Its login is forgotten, too")
    return DONE


def enable(name: str, workspace: Path, *, yes: bool) -> int:
    """Use a server again.

    Raises:
        ConfigurationError: there is none, or nobody to ask.
    """
    server, _ = find_server(name, workspace)
    if not server.enabled:
        set_used(server, workspace, used=True)
        server, _ = find_server(name, workspace)
    if server.scope == "project":
        return _ask_all([server], workspace, yes=yes)
    typer.echo(f"{name} is used again")
    return DONE


def disable(name: str, workspace: Path) -> int:
    """Do not use a server; of a project's this is a decision of the person, not of the project.

    Raises:
        ConfigurationError: there is none, or the file cannot be written.
    """
    server, _ = find_server(name, workspace)
    set_used(server, workspace, used=False)
    typer.echo(f"{name} is not used any more; qianda mcp enable {name} brings it back")
    return DONE


def approve(names: Sequence[str], workspace: Path, *, yes: bool) -> int:
    """Show what waits for the person, and ask.

    Raises:
        ConfigurationError: there is none of a name, or nobody to ask.
    """
    servers = [find_server(name, workspace) for name in names] or all_servers(workspace)
    waiting = [server for server, state in servers if state_words(server, state) in _WAITING]
    if names and (broken := next((server for server, state in servers if state == "broken"), None)):
        raise ConfigurationError(broken.shown(), cure=f"Correct it in {broken.path}")
    if not waiting:
        typer.echo("Nothing waits for your approval")
        return DONE
    return _ask_all(waiting, workspace, yes=yes)


_WAITING = ("pending approval", "tools changed")


def _ask_all(servers: Sequence[Configured], workspace: Path, *, yes: bool) -> int:
    """Ask for each server, then for each of its changed tools."""
    code = DONE
    for server in servers:
        name = clean(server.name)
        if approvals.state_of(server, workspace) in ("pending approval", "disabled"):
            what = "asks" if server.entry.get("url") else "runs"
            typer.echo(f"{name} of {clean(str(server.path))} {what}:")
            typer.echo(f"  {clean(server.shown())}")
            if not _agreed("Let it be used in this folder?", yes=yes):
                code = REFUSED
                continue
            approvals.approve(server, workspace)
            typer.echo(f"{name} is approved, until that changes")
        known = KnownServer(server.resolve())
        for change in known.changes():
            typer.echo(f"{name} has changed its tool {clean(change.tool)}:")
            typer.echo("\n".join(f"  {clean(line)}" for line in change.diff.splitlines()[2:]))
            if _agreed("Use it as it is now?", yes=yes):
                known.approve(change.tool)
                typer.echo(f"{clean(change.tool)} is approved")
            else:
                code = REFUSED
    return code


def _agreed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    if not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
        raise ConfigurationError("There is no terminal to ask at", cure="Say it with --yes")
    return typer.confirm(question)


def _pairs(texts: Sequence[str], option: str) -> dict[str, Any]:
    """``NAME=VALUE``, and ``NAME: VALUE`` as headers are written elsewhere."""
    pairs: dict[str, str] = {}
    for text in texts:
        found = re.fullmatch(r"([\w-]+)\s*[=:]\s*(.*)", text, re.DOTALL)
        if found is None:
            raise ConfigurationError(f"{option} {text!r} has no name", cure=f"Write {option} NAME=VALUE")
        pairs[found[1]] = found[2]
    return pairs
