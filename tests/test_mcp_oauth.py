"""Logins at MCP servers: against an authorization server of the SDK's own parts, on loopback."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import stat
import sys
import time
import types
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.machinery import ModuleSpec
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import uvicorn
from mcp.server import MCPServer as SDKServer
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl

from qianda.models.config import data_dir
from qianda.models.errors import ToolError
from qianda.tools.mcp import MCPServer, MCPToolset
from qianda.tools.mcp.logins import forget_login, load_login, login_state, save_login, with_login
from qianda.tools.mcp.oauth import check_endpoint, login


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Grants everything, and counts."""

    def __init__(self) -> None:
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: set[str] = set()
        self.refresh: dict[str, RefreshToken] = {}
        self.refreshed = 0
        self.resource: str | None = None

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = secrets.token_hex(20)
        self.resource = params.resource
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=[],
            expires_at=time.time() + 60,
            client_id=client.client_id or "",
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=True,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.pop(authorization_code, None)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        return self._grant(client)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        self.refreshed += 1
        del self.refresh[refresh_token.token]
        return self._grant(client)

    async def load_access_token(self, token: str) -> AccessToken | None:
        known = token in self.access
        return AccessToken(token=token, client_id="x", scopes=[], resource=self.resource) if known else None

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.access.discard(token.token)

    def _grant(self, client: OAuthClientInformationFull) -> OAuthToken:
        access, refresh = secrets.token_hex(20), secrets.token_hex(20)
        self.access.add(access)
        self.refresh[refresh] = RefreshToken(token=refresh, client_id=client.client_id or "", scopes=[])
        return OAuthToken(access_token=access, refresh_token=refresh, expires_in=3600)


@asynccontextmanager
async def served(provider: Provider | None) -> AsyncGenerator[MCPServer]:
    """An MCP server with one tool, that wants a login where there is a provider."""
    listening = socket.create_server(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    auth = AuthSettings(
        issuer_url=AnyHttpUrl(base),
        resource_server_url=AnyHttpUrl(f"{base}/mcp"),
        validate_token_resource=True,
        client_registration_options=ClientRegistrationOptions(enabled=True),
    )
    sdk = SDKServer("notes", auth_server_provider=provider, auth=auth if provider else None)

    @sdk.tool()
    def hello() -> str:
        return "hi"

    server = uvicorn.Server(uvicorn.Config(sdk.streamable_http_app(), log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield MCPServer("notes", url=f"{base}/mcp")
    finally:
        server.should_exit = True
        server.force_exit = True
        await serving
        listening.close()


class Browser:
    """A person who agrees at once."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.saw = ""

    async def __call__(self, url: str) -> None:
        self.opened.append(url)
        self.going = asyncio.create_task(self._go(url))

    async def _go(self, url: str) -> None:
        async with httpx2.AsyncClient(follow_redirects=True) as http:
            callback = parse_qs(urlsplit(url).query)["redirect_uri"][0]
            strange = await http.get(callback, params={"code": "stolen", "state": "guessed"})
            assert strange.status_code == 404
            self.saw = (await http.get(url)).text


async def call(server: MCPServer) -> tuple[str, list[str]]:
    """What the tool answers in a run, and what is said of the server."""
    said: list[str] = []
    toolset = MCPToolset([server], workspace=data_dir(), notify=said.append)
    async with asyncio.timeout(20):
        await toolset.start()
        try:
            return ",".join(tool.name for tool in toolset.tools if "notes" in tool.name), said
        finally:
            await toolset.close()


async def test_a_login_is_made_used_refreshed_and_forgotten() -> None:
    provider, browser = Provider(), Browser()
    async with asyncio.timeout(40), served(provider) as server:
        tools, said = await call(server)
        assert tools == ""
        assert said == ["MCP server 'notes' wants a login. Say: qianda mcp login notes"]
        assert login_state(server) == "needed"

        assert await login(server, show=browser, seconds=20)
        await browser.going
        assert "You are logged in" in browser.saw
        assert "code_challenge_method=S256" in browser.opened[0]
        assert login_state(server) == "there"
        store = data_dir() / "mcp-logins.json"
        assert stat.S_IMODE(store.stat().st_mode) == 0o600
        assert await call(server) == ("mcp__notes__hello", [])

        kept = load_login(server.url)
        save_login(server.url, {**kept, "expires_at": 1.0})
        assert await call(server) == ("mcp__notes__hello", [])
        assert provider.refreshed == 1

        provider.access.clear()  # revoked, though it has not expired
        assert await call(server) == ("mcp__notes__hello", [])
        assert provider.refreshed == 2

        await login(server, show=browser, seconds=20)
        assert len(provider.clients) == 1, "the registration is used again"

        provider.access.clear()
        provider.refresh.clear()
        _, said = await call(server)
        assert "qianda mcp login notes" in said[0]
        assert login_state(server) == "needed"
        assert not forget_login(server.url)
        assert login_state(server) == ""


async def test_requests_at_the_same_time_refresh_once() -> None:
    provider, browser = Provider(), Browser()
    async with asyncio.timeout(40), served(provider) as server:
        await login(server, show=browser, seconds=20)
        await browser.going
        save_login(server.url, {**load_login(server.url), "expires_at": 1.0})
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        async with httpx2.AsyncClient(auth=with_login(server).auth) as http:
            answers = await asyncio.gather(*(http.post(server.url, json=ping) for _ in range(5)))
        assert 401 not in [answer.status_code for answer in answers]
        assert provider.refreshed == 1


async def test_a_server_without_logins_is_said_to_want_none() -> None:
    async def show(url: str) -> None:
        raise AssertionError(url)

    async with asyncio.timeout(20), served(None) as server:
        assert not await login(server, show=show, seconds=10)


async def test_a_person_who_does_not_come_is_waited_for_so_long_only(monkeypatch: pytest.MonkeyPatch) -> None:
    timeout, patience = asyncio.timeout, list[asyncio.Timeout]()

    def remembered(seconds: float | None) -> asyncio.Timeout:
        made = timeout(seconds)
        if seconds == 30:
            patience.append(made)
        return made

    async def show(_url: str) -> None:
        patience[0].reschedule(asyncio.get_running_loop().time())  # 30 s are over while the person looks at the page

    monkeypatch.setattr(asyncio, "timeout", remembered)
    async with asyncio.timeout(20), served(Provider()) as server:
        with pytest.raises(ToolError, match=r"Nobody logged in at MCP server 'notes' within 30 s.*qianda mcp login"):
            await login(server, show=show, seconds=30)
        assert load_login(server.url) == {}


async def test_a_refusal_at_the_login_page_is_said() -> None:
    class Refusing(Browser):
        async def _go(self, url: str) -> None:
            query = parse_qs(urlsplit(url).query)
            answer = {"error": "access_denied", "error_description": "not you", "state": query["state"][0]}
            async with httpx2.AsyncClient() as http:
                await http.get(query["redirect_uri"][0], params=answer)

    async with asyncio.timeout(20), served(Provider()) as server:
        with pytest.raises(ToolError, match=r"login at MCP server 'notes' failed: not you"):
            await login(server, show=Refusing(), seconds=10)


@pytest.mark.parametrize(
    ("server", "url", "allowed"),
    [
        ("https://example.org/mcp", "https://example.org/register", True),
        ("https://example.org/mcp", "http://example.org/register", False),
        ("https://8.8.8.8/mcp", "https://1.1.1.1/token", True),
        ("https://8.8.8.8/mcp", "https://169.254.169.254/latest", False),
        ("https://8.8.8.8/mcp", "https://127.0.0.1/token", False),
        ("https://8.8.8.8/mcp", "file:///etc/passwd", False),
        ("http://127.0.0.1:1/mcp", "http://localhost:2/token", True),
        ("http://127.0.0.1:1/mcp", "http://10.0.0.1/token", False),
        ("https://10.0.0.1/mcp", "https://10.0.0.2/token", True),
    ],
)
async def test_a_login_leads_nowhere_it_should_not(server: str, url: str, allowed: bool) -> None:
    if allowed:
        await check_endpoint(server, url)
    else:
        with pytest.raises(ToolError, match="stopped"):
            await check_endpoint(server, url)


@pytest.mark.parametrize("works", [True, False])
def test_logins_are_in_the_keyring_where_there_is_one(works: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets_: dict[str, str] = {}

    def keep(_service: str, name: str, value: str) -> None:
        if not works:
            raise RuntimeError("locked")
        secrets_[name] = value

    keyring = types.SimpleNamespace(
        __spec__=ModuleSpec("keyring", None),
        get_keyring=lambda: types.SimpleNamespace(priority=5),
        set_password=keep,
        get_password=lambda _service, name: secrets_.get(name),
        delete_password=lambda _service, name: secrets_.pop(name),
    )
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    server = MCPServer("notes", url="https://example.org/mcp")

    save_login(server.url, {"tokens": {"access_token": "t0ken"}})
    assert load_login(server.url) == {"tokens": {"access_token": "t0ken"}}
    assert login_state(server) == "there"
    assert ("t0ken" in json.dumps((data_dir() / "mcp-logins.json").read_text())) is not works
    assert forget_login(server.url)
    assert secrets_ == {}
    assert load_login(server.url) == {}
