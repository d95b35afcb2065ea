"""``qianda trust``: what a folder brings, and letting it be used."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from qianda.cli.exits import DONE, REFUSED, complain
from qianda.cli.terminal import clean, is_terminal
from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.approvals import approve, state_of
from qianda.tools.mcp.configured import configured_servers
from qianda.tools.trust import changed_since_trusted, fingerprint, is_trusted, what_folder_brings
from qianda.tools.trust import trust as trust_folder


def trust(workspace: Path, *, only_list: bool, yes: bool) -> int:
    """Show what a folder brings, and trust it when the person agrees.

    Raises:
        ConfigurationError: there is nobody to ask, or the decision cannot be stored.
    """
    seen = fingerprint(workspace)
    brought = what_folder_brings(workspace)
    servers = [server for server in configured_servers(workspace, complain) if server.scope == "project"]
    pending = [server for server in servers if state_of(server, workspace) == "pending approval"]
    brought += [f"{server.path.name}: MCP server {server.name}: {server.shown()}" for server in servers]
    folder = clean(str(workspace))
    if not brought:
        typer.echo(f"{folder} brings no MCP servers, settings or agents; there is nothing to trust")
        return DONE
    known = is_trusted(workspace) and not pending
    changed = changed_since_trusted(workspace)
    state = "is trusted" if known else f"is not trusted any more: {', '.join(changed)}" if changed else "is not trusted"
    typer.echo(clean(f"{folder} {state}. It brings:"))
    for line in brought:
        typer.echo(f"  {clean(line)}")
    if only_list or known:
        return DONE
    if not yes:
        if not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
            raise ConfigurationError("There is no terminal to ask at", cure="Say it with qianda trust --yes")
        if not typer.confirm("Trust this? Its commands will then be started by qianda"):
            return REFUSED
    trust_folder(workspace, seen=seen)
    for server in pending:
        approve(server, workspace)
    typer.echo("Trusted, until one of these files changes")
    return DONE
