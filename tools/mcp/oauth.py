"""OAuth at MCP servers: a login in the browser, and its tokens on every request of a run."""

from __future__ import annotations

import asyncio
import contextlib
import html
import ipaddress
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import AnyUrl

from qianda.models.errors import ToolError
from qianda.tools.mcp.logins import load_login, login_needed, save_login
from qianda.tools.mcp.spec import MCPServer
from qianda.tools.net import is_public

_CALLBACK = "/callback"
_UNAUTHORIZED, _FORBIDDEN = 401, 403  # of HTTP
_EXPIRED = 1.0  # a time in the past
_LONGEST_REQUEST = 16 * 1024
_PAGE = "<!doctype html><meta charset=utf-8><title>Qianda</title><p>{}</p>"
# Without any handler Python prints the SDK's tracebacks to stderr; what happened is said in one line.
logging.getLogger("mcp").addHandler(logging.NullHandler())


class LoginNeeded(ToolError):
    """A server wants a login, or does not take the one that there is."""


class StoredLogin(httpx2.Auth):
    """Signs requests with the login that is kept; refreshes it, and never asks anybody for another.

    Args:
        server: which one.
    """

    def __init__(self, server: MCPServer) -> None:
        self._server = server
        self._provider = _provider(server.url)
        self._refreshing = asyncio.Lock()

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Sign a request; one that is refused is tried again with a fresh token.

        Raises:
            LoginNeeded: the server wants a login.
        """
        context = self._provider.context
        token = context.current_tokens.access_token if context.current_tokens and context.is_token_valid() else ""
        if token or context.current_tokens is None:
            # Not through the SDK's provider, which sends one request at a time.
            if token:
                request.headers["Authorization"] = f"Bearer {token}"
            response = yield request
            if response.status_code != _UNAUTHORIZED:
                return
        async with self._refreshing:
            if self._reload(token):
                async with contextlib.aclosing(self._provider.async_auth_flow(request)) as flow:
                    outgoing = await anext(flow)
                    while True:
                        if outgoing is not request:
                            await check_endpoint(self._server.url, outgoing.url)
                        response = yield outgoing
                        if outgoing is request and response.status_code == _UNAUTHORIZED:
                            break
                        try:
                            outgoing = await flow.asend(response)
                        except StopAsyncIteration:
                            return
        login_needed(self._server.url)
        name = self._server.name
        raise LoginNeeded(f"MCP server {name!r} wants a login", cure=f"Say: qianda mcp login {name}")

    def _reload(self, refused: str) -> bool:
        """Take the login that is kept now: another process or task may have a newer one.

        Returns:
            Whether it is worth a try: it is newer than the refused token, or can be refreshed.
        """
        self._provider = _provider(self._server.url)
        context = self._provider.context
        if context.current_tokens is None:
            return False
        if context.current_tokens.access_token != refused and context.is_token_valid():
            return True
        context.token_expiry_time = _EXPIRED
        return context.can_refresh_token()


async def login(server: MCPServer, *, show: Callable[[str], Awaitable[None]], seconds: float) -> bool:
    """Log in at a server.

    Args:
        server: which one.
        show: gets the address that the person has to open, in a browser on this machine.
        seconds: that the person has.

    Returns:
        Whether there is a login now; False when the server does not want one.

    Raises:
        ToolError: it did not come to a login.
    """
    earlier = _redirect_port(load_login(server.url))
    async with _Loopback(show) as loopback:
        port = await loopback.listen(earlier)
        kept_client = port == earlier
        provider = _provider(server.url, port=port, loopback=loopback, anew=True, kept_client=kept_client)
        try:
            async with asyncio.timeout(seconds), httpx2.AsyncClient(auth=_Guarded(server.url, provider)) as http:
                status = await _ask(http, server)
        except TimeoutError:
            what = "Nobody logged in at" if loopback.began else "There was no answer from"
            raise ToolError(
                f"{what} MCP server {server.name!r} within {seconds:g} s",
                cure=f"Try again: qianda mcp login {server.name}",
            ) from None
        except (OAuthFlowError, httpx2.HTTPError, ValueError) as error:
            words = " ".join(str(error).split())[:300] or type(error).__name__
            raise ToolError(f"The login at MCP server {server.name!r} failed: {words}") from error
    if provider.context.current_tokens is not None and status != _UNAUTHORIZED:
        return True
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        raise ToolError(f"MCP server {server.name!r} does not take the login (HTTP {status})")
    return False


async def check_endpoint(server: str, url: httpx2.URL | str) -> None:
    """See that a server sends us to no address that is none of its business.

    Args:
        server: the server's own address.
        url: where the login would go on.

    Raises:
        ToolError: it is not HTTPS, or leads from a public server into this machine or network.
    """
    host, scheme = urlsplit(str(url)).hostname or "", urlsplit(str(url)).scheme
    own = urlsplit(server).hostname or ""
    inside = not await _public(own)
    if host == own and scheme in ("https", urlsplit(server).scheme):
        return
    if scheme != "https" and not (scheme == "http" and _loopback(host) and _loopback(own)):
        raise ToolError(f"The login leads to {scheme}://{host}, which is not HTTPS, so it was stopped")
    if not inside and not await _public(host):
        raise ToolError(f"The login leads to {host}, inside this network, so it was stopped")


class _Storage:
    """What the SDK keeps; with what it does not keep, and needs to refresh a token in another process."""

    def __init__(self, url: str, *, anew: bool, kept_client: bool) -> None:
        self._url = url
        self._anew = anew
        self._kept = load_login(url)
        if not kept_client:
            self._kept.pop("client", None)
        self.provider: OAuthClientProvider | None = None

    async def get_tokens(self) -> OAuthToken | None:
        tokens = None if self._anew else self._kept.get("tokens")
        return OAuthToken.model_validate(tokens) if tokens else None

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        client = self._kept.get("client")
        return OAuthClientInformationFull.model_validate(client) if client else None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        # Kept with the tokens: a registration without a login is of no use.
        self._kept["client"] = client_info.model_dump(mode="json", exclude_none=True)

    async def set_tokens(self, tokens: OAuthToken) -> None:
        assert self.provider is not None
        context = self.provider.context
        found = {"metadata": context.oauth_metadata, "resource": context.protected_resource_metadata}
        self._kept |= {key: value.model_dump(mode="json", exclude_none=True) for key, value in found.items() if value}
        self._kept |= {"tokens": tokens.model_dump(mode="json"), "expires_at": context.token_expiry_time}
        save_login(self._url, self._kept)

    def restore(self, provider: OAuthClientProvider) -> None:
        """Tell a provider when its token ends and where it is refreshed."""
        self.provider = provider
        if self._anew or not self._kept:
            return
        context, kept = provider.context, self._kept
        context.token_expiry_time = kept.get("expires_at")
        context.current_tokens = OAuthToken.model_validate(kept["tokens"]) if "tokens" in kept else None
        context.client_info = OAuthClientInformationFull.model_validate(kept["client"]) if "client" in kept else None
        if "metadata" in kept:
            context.oauth_metadata = OAuthMetadata.model_validate(kept["metadata"])
        if "resource" in kept:
            context.protected_resource_metadata = ProtectedResourceMetadata.model_validate(kept["resource"])


def _provider(
    url: str, *, port: int = 0, loopback: _Loopback | None = None, anew: bool = False, kept_client: bool = True
) -> OAuthClientProvider:
    storage = _Storage(url, anew=anew, kept_client=kept_client)
    provider = OAuthClientProvider(
        url,
        OAuthClientMetadata(
            client_name="Qianda",
            redirect_uris=[AnyUrl(f"http://127.0.0.1:{port}{_CALLBACK}")],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
        ),
        storage,
        redirect_handler=loopback.begin if loopback else None,
        callback_handler=loopback.result if loopback else None,
    )
    storage.restore(provider)
    return provider


class _Guarded(httpx2.Auth):
    """A provider whose own requests go only where ``check_endpoint`` lets them."""

    def __init__(self, url: str, provider: OAuthClientProvider) -> None:
        self._url = url
        self._provider = provider

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        async with contextlib.aclosing(self._provider.async_auth_flow(request)) as flow:
            outgoing = await anext(flow)
            while True:
                if outgoing is not request:
                    await check_endpoint(self._url, outgoing.url)
                response = yield outgoing
                try:
                    outgoing = await flow.asend(response)
                except StopAsyncIteration:
                    return


class _Loopback:
    """The address on this machine to which the browser comes back."""

    def __init__(self, show: Callable[[str], Awaitable[None]]) -> None:
        self._show = show
        self._state = ""
        self._server: asyncio.Server | None = None
        self._answer: asyncio.Future[AuthorizationCodeResult] = asyncio.get_running_loop().create_future()

    @property
    def began(self) -> bool:
        """Whether the person was shown where to log in."""
        return self._state != ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._answer.cancel()
        if self._server is not None:
            self._server.close()

    async def listen(self, port: int) -> int:
        """Listen at a port, or at another when it is taken.

        Returns:
            The port.
        """
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=_LONGEST_REQUEST)
        except OSError:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LONGEST_REQUEST)
        return self._server.sockets[0].getsockname()[1]

    async def begin(self, url: str) -> None:
        """Show the person where to log in."""
        if urlsplit(url).scheme not in ("https", "http"):
            raise ToolError(f"The login page {url[:80]!r} is no web address, so it is not opened")
        self._state = parse_qs(urlsplit(url).query).get("state", [""])[0]
        await self._show(url)

    async def result(self) -> AuthorizationCodeResult:
        """Wait until the browser has come back."""
        return await self._answer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status, words = "404 Not Found", "This is Qianda, waiting for a login."
        with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            target = urlsplit(head.split(" ", 2)[1])
            values = {key: texts[0] for key, texts in parse_qs(target.query).items()}
            # Whatever else calls here, by chance or on purpose, neither ends nor changes the login.
            if target.path == _CALLBACK and self._state and values.get("state") == self._state:
                status, words = "200 OK", self._take(values)
            body = _PAGE.format(html.escape(words)).encode()
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + body
            )
            await writer.drain()
        writer.close()

    def _take(self, values: dict[str, str]) -> str:
        if not self._answer.done():
            if "code" in values:
                self._answer.set_result(
                    AuthorizationCodeResult(code=values["code"], state=values["state"], iss=values.get("iss"))
                )
            else:
                said = values.get("error_description") or values.get("error") or "no code came back"
                self._answer.set_exception(OAuthFlowError(said))
        return "You are logged in; this window can be closed." if "code" in values else "The login was refused."


async def _ask(http: httpx2.AsyncClient, server: MCPServer) -> int:
    """Send what any server asks a login for.

    Returns:
        The status of its answer.
    """
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "qianda", "version": version("qianda")},
        },
    }
    headers = {**server.headers, "Accept": "application/json, text/event-stream"}
    async with http.stream("POST", server.url, json=hello, headers=headers) as response:
        return response.status_code


def _redirect_port(kept: dict[str, Any]) -> int:
    """The port that the earlier registration is for; 0 for any."""
    uris: Sequence[str] = kept.get("client", {}).get("redirect_uris") or [""]
    return urlsplit(uris[0]).port or 0


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _public(host: str) -> bool:
    """Whether all addresses of a host are public; where it cannot be looked up, a proxy will do that."""
    if _loopback(host):
        return False
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return True
    return all(is_public(ipaddress.ip_address(str(address[0]).partition("%")[0])) for *_, address in found)
