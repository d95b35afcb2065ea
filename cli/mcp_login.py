"""``qianda mcp login`` and ``logout``."""

from __future__ import annotations

import asyncio
import webbrowser
from pathlib import Path

import typer

from qianda.cli.exits import DONE
from qianda.cli.mcp_show import find_server
from qianda.cli.terminal import clean
from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.logins import forget_login, has_browser, way_back
from qianda.tools.mcp.spec import MCPServer


def log_in(name: str, workspace: Path, *, seconds: float, browser: bool | None) -> int:
    """Log in at a server.

    Raises:
        ConfigurationError: there is no such server, or it has no address.
        ToolError: it did not come to a login.
    """
    from qianda.tools.mcp.oauth import login

    server = _remote(name, workspace)
    opens = has_browser() if browser is None else browser

    async def show(url: str) -> None:
        typer.echo(f"Log in at MCP server {clean(server.name)} here:\n\n  {clean(url)}\n", err=True)
        if opens:
            await asyncio.to_thread(webbrowser.open, url)
        elif way := way_back(url):
            typer.echo(way, err=True)

    if asyncio.run(login(server, show=show, seconds=seconds)):
        typer.echo(f"Logged in at {clean(server.name)}")
    else:
        typer.echo(f"{clean(server.name)} does not want a login")
    return DONE


def log_out(name: str, workspace: Path) -> int:
    """Forget a login.

    Raises:
        ConfigurationError: there is no such server, or it has no address.
    """
    server = _remote(name, workspace)
    known = forget_login(server.url)
    typer.echo(f"The login at {clean(server.name)} is forgotten" if known else f"No login at {clean(server.name)}")
    return DONE


def _remote(name: str, workspace: Path) -> MCPServer:
    if "://" in name:
        return MCPServer.parse(name)
    configured, state = find_server(name, workspace)
    if state == "pending approval":
        raise ConfigurationError(f"MCP server {name!r} is not approved", cure=f"qianda mcp approve {name}")
    server = configured.resolve()
    if not server.url:
        raise ConfigurationError(f"MCP server {name!r} is a command; only addresses have logins")
    return server
