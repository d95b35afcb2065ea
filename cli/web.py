"""``qianda web``: the chat in a browser of this machine, served by textual-serve behind a token."""

from __future__ import annotations

import secrets
import shlex
import socket
import sys
from copy import copy
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from qianda.models.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp import web

EXAMPLES = """\b
Examples:
  qianda web                              prints the address to open
  qianda web --port 9000 --open
  qianda web --server ollama --cwd ~/project

From another machine: ssh -L 8642:127.0.0.1:8642 HOST, then open the address here."""
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
SESSION = "{session:[A-Za-z0-9][A-Za-z0-9_.-]*}"  # it goes into the page and into a command line
PORT = 8642
CLOSE_SECONDS = 5.0
LOOPBACK = "127.0.0.1"
PAGE = Path(__file__).with_name("web_page")


def web_command(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 for any free one.")] = PORT,
    *,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the browser.")] = False,
) -> int:
    """Chat in the browser: each page is a conversation, which goes on when the page is loaded again.

    All other options are those of the chat: see qianda --help.
    """
    _check(context.args)
    if not _is_free(port):
        raise ConfigurationError(f"Port {port} is taken", cure="Choose another: qianda web --port 0 takes a free one")
    if find_spec("textual_serve") is None:
        raise ConfigurationError(
            "The chat in the browser needs a package that is not installed", cure='pip install "qianda[web]"'
        )
    serve(context.args, port or _free_port(), open_browser=open_browser)
    return 0


def _check(words: Sequence[str]) -> None:
    """Wrong options of the chat are said here, not in every page."""
    from qianda.cli.app import app

    given = {word.partition("=")[0] for word in words}
    if given & {"--session", "--continue", "--help", "--version", "-V"}:
        raise typer.BadParameter("--session and --continue do not go with pages: each has its own conversation")
    command = typer.main.get_command(app)
    context = command.make_context("qianda", list(words))
    rest = command.make_parser(context).parse_args(list(words))[1]
    if rest:
        raise typer.BadParameter(f"{rest[0]!r} is not an option of the chat")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        return taken.getsockname()[1]


def serve(words: Sequence[str], port: int, *, open_browser: bool = False) -> None:
    """Serve until Ctrl+C or SIGTERM.

    Args:
        words: the chat's options.
        port: of the loopback interface.
        open_browser: open the page.
    """
    from aiohttp import web
    from textual_serve.server import Server

    token = secrets.token_urlsafe(24)
    address = f"http://{LOOPBACK}:{port}/?token={token}"

    class Pages(Server):
        """One conversation per page, for who has the token."""

        async def application(self) -> web.Application:
            """What textual-serve has, and what is ours."""
            app = await self._make_app()
            app.middlewares.append(_guard(token, cookie=f"qianda-{port}"))  # browsers tell no ports apart
            app.router.add_get(f"/chat/{SESSION}", self.handle_index)
            app.router.add_get(f"/ws/{SESSION}", self.handle_websocket)
            return app

        async def on_startup(self, app: web.Application) -> None:
            """Its greeting comes before it listens; ours after."""

        async def handle_index(self, request: web.Request) -> Any:
            """The page of one conversation; without a name, of a new one."""
            session = request.match_info.get("session")
            if session is None:
                name = f"{datetime.now().astimezone():web-%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
                raise web.HTTPFound(f"/chat/{name}")
            page = copy(self)
            page.public_url = f"http://{request.host}"  # another port than ours behind ssh -L
            response: Any = await Server.handle_index(page, request)
            response.text = response.text.replace('/ws"', f'/ws/{session}"')
            return response

        async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
            """The chat of a page, in a process of its own."""
            page = copy(self)
            session = request.match_info.get("session", "")
            page.command = shlex.join([sys.executable, "-m", "qianda", *words, "--session", session])
            return await Server.handle_websocket(page, request)

    def listening(_: str) -> None:
        typer.echo(f"The chat is at {address}\nWho has this address can use it as you. Ctrl+C stops.")
        if open_browser:
            typer.launch(address)

    pages = Pages("", title="Qianda", templates_path=PAGE)
    web.run_app(pages.application(), host=LOOPBACK, port=port, print=listening, shutdown_timeout=CLOSE_SECONDS)


def _guard(token: str, cookie: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Lets in who has the token, by the address or by the cookie that follows; other sites' pages never."""
    from aiohttp import web

    @web.middleware
    async def guard(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        name = urlsplit(f"//{request.host}").hostname
        origin = request.headers.get("Origin", f"http://{request.host}")
        if name not in (LOOPBACK, "localhost", "::1") or origin != f"http://{request.host}":
            raise web.HTTPForbidden(text="Not from there.")
        if secrets.compare_digest(request.query.get("token", "").encode(), token.encode()):
            response = web.HTTPFound(request.path)
            response.set_cookie(cookie, token, httponly=True, samesite="Strict", path="/")
            return response
        if not secrets.compare_digest(request.cookies.get(cookie, "").encode(), token.encode()):
            raise web.HTTPForbidden(text="Open the address that qianda web has printed.")
        response = await handler(request)
        if not response.prepared:
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["X-Frame-Options"] = "DENY"
        return response

    return guard
