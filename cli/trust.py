"""``qianda trust``: what a folder brings, and letting it be used."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from qianda.cli.exits import DONE, REFUSED, complain
from qianda.cli.terminal import clean, is_terminal
from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.brought import look_at


def trust(workspace: Path, *, only_list: bool, yes: bool) -> int:
    """Show what a folder brings, and trust it when the person agrees.

    Raises:
        ConfigurationError: there is nobody to ask, or the decision cannot be stored.
    """
    brought = look_at(workspace, complain)
    folder = clean(str(workspace))
    if not brought.lines:
        typer.echo(f"{folder} brings no MCP servers, settings or agents; there is nothing to trust")
        return DONE
    gone = f"is not trusted any more: {', '.join(brought.changed)}" if brought.changed else "is not trusted"
    typer.echo(clean(f"{folder} {'is trusted' if brought.known else gone}. It brings:"))
    for line in brought.lines:
        typer.echo(f"  {clean(line)}")
    if only_list or brought.known:
        return DONE
    if not yes:
        if not is_terminal(sys.stdin) or not is_terminal(sys.stdout):
            raise ConfigurationError("There is no terminal to ask at", cure="Say it with qianda trust --yes")
        if not typer.confirm("Trust this? Its commands will then be started by qianda"):
            return REFUSED
    brought.trust()
    typer.echo("Trusted, until one of these files changes")
    return DONE
