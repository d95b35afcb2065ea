"""``qianda mcp login`` and ``logout``."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import typer

from qianda.cli.exits import DONE
from qianda.cli.mcp_show import find_server
from qianda.cli.terminal import clean
from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.logins import forget_login
from qianda.tools.mcp.spec import MCPServer


def log_in(name: str, workspace: Path, *, seconds: float, browser: bool | None) -> int:
    """Log in at a server.

    Raises:
        ConfigurationError: there is no such server, or it has no address.
        ToolError: it did not come to a login.
    """
    from qianda.tools.mcp.oauth import login

    server = _remote(name, workspace)
    opens = _has_browser() if browser is None else browser

    async def show(url: str) -> None:
        typer.echo(f"Log in at MCP server {clean(server.name)} here:\n\n  {clean(url)}\n", err=True)
        if opens:
            await asyncio.to_thread(webbrowser.open, url)
        elif "SSH_CONNECTION" in os.environ:
            port = urlsplit(parse_qs(urlsplit(url).query).get("redirect_uri", [""])[0]).port
            typer.echo(
                f"The browser comes back to port {port} of this machine: ssh -L {port}:127.0.0.1:{port} …", err=True
            )

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


def _has_browser() -> bool:
    """Whether a window would open where the person is."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
