"""Serves over streamable HTTP: a token or OAuth, hosts and origins that are known, and bounds on body and rate."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcp.server.transport_security import TransportSecuritySettings

from qianda.mcp_servers.server import ToolServer
from qianda.models.errors import ConfigurationError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_BODY = 4 * 1024 * 1024  # bytes of one request
RATE = 20.0  # requests a second of one address, in the long run
BURST = 200  # requests that may come at once
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_GRACE = 3  # seconds that running calls have to end after a signal


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where HTTP is served, and to whom.

    Args:
        host: the address to bind.
        port: the port; 0 for any that is free.
        token: what clients have to bring as ``Authorization: Bearer …``.
        oauth: the issuer of the tokens that clients have to bring instead: an OAuth 2.1 authorization server.
        url: the address that clients know this server by, where it differs from the bound one.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    oauth: str | None = None
    url: str | None = None

    @classmethod
    def parse(
        cls, text: str, *, token: str | None = None, oauth: str | None = None, url: str | None = None
    ) -> Listening:
        """Read ``PORT`` or ``HOST:PORT``.

        Args:
            text: such as ``8000``, ``0.0.0.0:8000`` or ``[::1]:8000``.
            token: the token; a new one by default.
            oauth: the issuer, instead of a token.
            url: the public address; OAuth tokens have to be made out for it.

        Raises:
            ConfigurationError: the address cannot be read, or OAuth lacks what it needs.
        """
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdigit() and int(port) < 65536):
            raise ConfigurationError(f"{text!r} is no port", cure="Write --http 8000 or --http 0.0.0.0:8000")
        if oauth is not None and not url:
            raise ConfigurationError(
                "OAuth tokens are made out for an address", cure="Say it: --public-url https://…/mcp"
            )
        more = {} if token is None else {"token": token}
        return cls(host=host.strip("[]") or "127.0.0.1", port=int(port), oauth=oauth, url=url, **more)


def http_app(server: ToolServer, listening: Listening | None, *, hosts: Sequence[str] = _LOOPBACK) -> ASGIApp:
    """The server as an ASGI app, under ``/mcp``.

    Args:
        server: what to serve.
        listening: to whom; None to everybody who reaches it, which is for tests.
        hosts: names that requests may call this server by; others are refused, as from rebound DNS.
    """
    names = [*hosts, *[f"{host}:*" for host in hosts]]
    security = TransportSecuritySettings(
        allowed_hosts=names, allowed_origins=[f"{scheme}://{name}" for scheme in ("http", "https") for name in names]
    )
    if listening is None or listening.oauth is None:
        app = server.streamable_http_app(transport_security=security, max_request_body_size=MAX_BODY)
        return Gate(app, token=listening.token if listening else "")
    from mcp.server.auth.settings import AuthSettings
    from pydantic import AnyHttpUrl

    from qianda.mcp_servers.oauth import JWTVerifier

    url = listening.url or ""
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(listening.oauth), resource_server_url=AnyHttpUrl(url), validate_token_resource=True
    )
    app = server.streamable_http_app(
        transport_security=security,
        max_request_body_size=MAX_BODY,
        auth=auth,
        token_verifier=JWTVerifier(listening.oauth, audience=url),
    )
    return Gate(app, token="")


async def serve_http(server: ToolServer, listening: Listening, *, say: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        server: what to serve.
        listening: where, and to whom.
        say: told the address and the token, a line each.

    Raises:
        ConfigurationError: the address cannot be bound.
    """
    import uvicorn

    family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
    try:
        bound = socket.create_server((listening.host, listening.port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"{listening.host}:{listening.port} cannot be listened on: {error.strerror}", cure="Choose another port"
        ) from error
    host = f"[{listening.host}]" if family == socket.AF_INET6 else listening.host
    say(f"Listening on {listening.url or f'http://{host}:{bound.getsockname()[1]}/mcp'}")
    say(f"Tokens from: {listening.oauth}" if listening.oauth else f"Authorization: Bearer {listening.token}")
    app = http_app(server, listening, hosts=[*_LOOPBACK, *_names(listening)])
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE
    )
    try:
        await uvicorn.Server(config).serve(sockets=[bound])
    finally:
        bound.close()


def _names(listening: Listening) -> list[str]:
    """What clients may call this server by when it listens beyond this machine."""
    names = [urlsplit(listening.url).hostname or ""] if listening.url else []
    try:
        address = ipaddress.ip_address(listening.host)
    except ValueError:
        return [*names, listening.host]
    if address.is_loopback:
        return names
    return [*names, socket.gethostname(), *([] if address.is_unspecified else [listening.host])]


class Gate:
    """Lets requests through that bring the token, and from each address only so many a second.

    Args:
        app: what is behind it.
        token: the token; "" when something behind it asks for one.
        rate: requests a second of one address.
        burst: requests that may come at once.
    """

    def __init__(self, app: ASGIApp, *, token: str, rate: float = RATE, burst: float = BURST) -> None:
        self._app = app
        self._wanted = token.encode()
        self._rate = rate
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}  # by address: requests left, and when that was so

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse

        address = (scope.get("client") or ("",))[0]
        if not self._takes(address):
            headers = {"Retry-After": "1"}
            await PlainTextResponse("Too many requests; wait a second\n", 429, headers)(scope, receive, send)
            return
        brought = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, secret = brought.partition(b" ")
        if self._wanted and not (scheme.lower() == b"bearer" and hmac.compare_digest(secret, self._wanted)):
            text = "A token is needed: Authorization: Bearer …, as qianda serve printed it\n"
            await PlainTextResponse(text, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _takes(self, address: str) -> bool:
        now = time.monotonic()
        if len(self._left) > 1_000:  # those that have not come for a while have all of theirs again
            whole = self._burst / self._rate
            self._left = {key: value for key, value in self._left.items() if now - value[1] < whole}
        left, then = self._left.get(address, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        self._left[address] = (max(left - 1, 0), now)
        return left >= 1
