"""``qianda mcp import``: copies the servers of other programs' configurations."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from qianda.cli.exits import DONE, GAVE_UP, complain
from qianda.cli.mcp_change import approve_quietly
from qianda.cli.mcp_show import all_servers
from qianda.cli.terminal import Terminal, clean, is_terminal
from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.config_file import file_of, write_server
from qianda.tools.mcp.configured import Configured, Scope
from qianda.tools.mcp.dialects import DIALECTS, FOREIGN, dialect_of, places, read_servers


def import_servers(source: str | None, names: Sequence[str], scope: Scope, workspace: Path, *, every: bool) -> int:
    """Show what another program has, and copy what is chosen.

    Raises:
        ConfigurationError: there is no such program, file or server.
    """
    terminal = Terminal.current()
    files = _files(source, workspace)
    found: dict[str, Configured] = {}
    for path, title in files:
        servers = _read(path, workspace)
        typer.echo(f"{title}: {clean(str(path))}" + ("" if servers else terminal.style("  (no servers)", "dim")))
        for server in servers:
            again = "  (another of this name is above)" if server.name in found else ""
            found.setdefault(server.name, server)
            shown = clean(server.shown())
            typer.echo(f"  {clean(server.name)}  {terminal.style(shown + again, 'dim')}")
    if source is None:
        if not files:
            complain("No configuration of another program was found; a file can be named: qianda mcp import FILE")
            return GAVE_UP
        typer.echo("Copy with: qianda mcp import claude-desktop|cursor|vscode|qwen-code|FILE [NAME…]")
        return DONE
    if not found:
        return DONE
    chosen = list(found) if every else list(names) or _ask(list(found))
    if unknown := [name for name in chosen if name not in found]:
        raise ConfigurationError(f"There is no server {unknown[0]!r} there", cure=f"There are: {', '.join(found)}")
    for name in chosen:
        _copy(found[name], scope, workspace)
    return DONE


def _files(source: str | None, workspace: Path) -> list[tuple[Path, str]]:
    """The files of the programs, and of each its title."""
    if source is None or source in FOREIGN:
        dialects = [DIALECTS[name] for name in ([source] if source else FOREIGN)]
        there = [
            (path, dialect.title)
            for dialect in dialects
            for path in dict.fromkeys(places(dialect, workspace))
            if path.is_file()
        ]
        if source and not there:
            where = ", ".join(str(path) for path in places(dialects[0], workspace))
            raise ConfigurationError(f"{dialects[0].title} has no configuration here; looked for {where}")
        return there
    path = Path(source).expanduser()
    if not path.is_file():
        raise ConfigurationError(f"There is no file {source}", cure=f"Name a file, or one of {', '.join(FOREIGN)}")
    return [(path, dialect_of(path, workspace).title)]


def _read(path: Path, workspace: Path) -> list[Configured]:
    entries = read_servers(path, dialect_of(path, workspace), workspace)
    return [Configured(name, entry, path, "user") for name, entry in entries.items()]


def _ask(names: Sequence[str]) -> list[str]:
    if not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
        complain("Nothing is copied: say which, or --all")
        return []
    answer = typer.prompt("Copy which (names, all, or Enter for none)?", default="", show_default=False)
    return list(names) if answer.strip() == "all" else re.split(r"[\s,]+", answer.strip()) if answer.strip() else []


def _copy(server: Configured, scope: Scope, workspace: Path) -> None:
    """Write a server into our file; variables stay variables."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", server.name).strip("_-") or "server"
    path = file_of(scope, workspace)
    if any(other.name == name and other.path == path for other, _ in all_servers(workspace)):
        complain(f"{name} is in {path} already, so it is not copied")
        return
    if "problem" in server.entry:
        complain(f"{name} is not copied: {server.entry['problem']}")
        return
    entry = {key: value for key, value in server.entry.items() if key != "trust"}
    if server.entry.get("trust") is True:
        complain(f"{name} was trusted there, and is asked for here; trust = true in {path} changes that")
    write_server(path, name, entry)
    if scope == "project":
        approve_quietly(Configured(name, entry, path, scope), workspace)
    typer.echo(f"Copied {name} to {clean(str(path))}")
