"""Serving over HTTP: who gets in, by token or OAuth; and resources, prompts, tools that change, settings of hosts."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx2
import jwt
import mcp_types as types
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from qianda import tool
from qianda.mcp_servers import Offer, load_targets
from qianda.mcp_servers import serving as serving_module
from qianda.mcp_servers.http import Gate, Listening, http_app
from qianda.mcp_servers.oauth import JWTVerifier
from qianda.mcp_servers.server import ToolServer
from qianda.mcp_servers.serving import watch_files
from qianda.mcp_servers.targets import presets
from qianda.mcp_servers.workspace_files import LARGEST, PAGE
from qianda.models.errors import ConfigurationError

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
Era = Literal["auto", "legacy"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """``qianda serve files --http 0`` in a process of its own: its address and its token."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "price.txt").write_text("17")
    command = [sys.executable, "-m", "qianda", "serve", "files", "--http", "0", "--cwd", str(folder)]
    environment = {**os.environ, "HOME": str(folder), "QIANDA_DATA_DIR": str(folder / "data")}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        listening, token = process.stderr.readline().split()[-1], process.stderr.readline().split()[-1]
        yield listening, token
        process.terminate()
        assert process.wait(timeout=20) in (0, -15)
        assert process.stdout.read() == ""


@ERAS
async def test_who_brings_the_token_uses_the_tools(mode: Era, served: tuple[str, str]) -> None:
    url, token = served
    async with (
        asyncio.timeout(30),
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        result = await client.call_tool("read_file", {"path": "price.txt"})
        resource = await client.read_resource("workspace:///price.txt")
    assert "17" in str(result.content)
    assert getattr(resource.contents[0], "text", "") == "17"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer TOKEN", "Host": "evil.example.com"}, 421),
        ({"Authorization": "Bearer TOKEN", "Origin": "https://evil.example.com"}, 403),
    ],
)
async def test_others_are_refused(headers: dict[str, str], status: int, served: tuple[str, str]) -> None:
    url, token = served
    sent = {name: value.replace("TOKEN", token) for name, value in headers.items()}
    async with httpx2.AsyncClient() as http:
        answer = await http.post(url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}, headers=sent)
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


async def test_a_body_that_is_too_large_is_refused(served: tuple[str, str]) -> None:
    url, token = served
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"filler": "x" * 5_000_000}}
    accepts = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=accepts) as http:
        answer = await http.post(url, json=body)
    assert answer.status_code == 413


async def test_who_asks_too_often_has_to_wait() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("hello")(scope, receive, send)

    gate = Gate(app, token="", rate=0.001, burst=3)
    transport = httpx2.ASGITransport(gate, client=("10.0.0.1", 1))
    other = httpx2.ASGITransport(gate, client=("10.0.0.2", 1))
    async with (
        httpx2.AsyncClient(transport=transport, base_url="http://x") as http,
        httpx2.AsyncClient(transport=other, base_url="http://x") as another,
    ):
        answers = [await http.get("/") for _ in range(5)]
        untroubled = await another.get("/")
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].headers["retry-after"] == "1"
    assert untroubled.status_code == 200


@pytest.mark.parametrize(
    ("text", "address"),
    [("8000", ("127.0.0.1", 8000)), ("0.0.0.0:80", ("0.0.0.0", 80)), ("[::1]:9", ("::1", 9)), (":7", ("127.0.0.1", 7))],
)
def test_addresses_are_read(text: str, address: tuple[str, int]) -> None:
    listening = Listening.parse(text)
    assert (listening.host, listening.port) == address
    assert len(listening.token) > 30
    assert listening.token != Listening.parse(text).token
    assert listening.token not in repr(listening)


@pytest.mark.parametrize("text", ["", "here", "1.2.3.4", "host:99999", "host:-1"])
def test_what_is_no_address_is_one_line(text: str) -> None:
    with pytest.raises(ConfigurationError, match="no port"):
        Listening.parse(text)


ISSUER, AUDIENCE = "https://login.example.org/tenant", "https://tools.example.org/mcp"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An authorization server that publishes its metadata and its key."""
    key = {**json.loads(RSAAlgorithm.to_jwk(KEY.public_key())), "kid": "one", "use": "sig"}

    def answer(request: httpx2.Request) -> httpx2.Response:
        if str(request.url) == "https://login.example.org/tenant/.well-known/openid-configuration":
            return httpx2.Response(200, json={"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"})
        return httpx2.Response(404)

    real = httpx2.AsyncClient
    monkeypatch.setattr(httpx2, "AsyncClient", lambda **given: real(transport=httpx2.MockTransport(answer), **given))
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda _self: {"keys": [key]})


def token(key: rsa.RSAPrivateKey = KEY, **claims: Any) -> str:
    said: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": time.time() + 60,
        "sub": "ann",
        "client_id": "host",
        "scope": "a b",
    }
    said |= claims
    return jwt.encode({k: v for k, v in said.items() if v is not None}, key, algorithm="RS256", headers={"kid": "one"})


@pytest.mark.usefixtures("issuer")
async def test_a_token_of_the_issuer_is_good() -> None:
    good = await JWTVerifier(ISSUER, audience=AUDIENCE).verify_token(token())
    assert good is not None
    assert (good.subject, good.client_id, good.scopes, good.resource) == ("ann", "host", ["a", "b"], AUDIENCE)


@pytest.mark.usefixtures("issuer")
@pytest.mark.parametrize(
    "bad",
    [
        token(aud="https://elsewhere.example.org"),
        token(aud=None),
        token(iss="https://evil.example.org"),
        token(exp=time.time() - 60),
        token(exp=None),
        token(OTHER_KEY),
        jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 60}, "", algorithm="none"),
        "nonsense",
    ],
)
async def test_other_tokens_are_not(bad: str) -> None:
    assert await JWTVerifier(ISSUER, audience=AUDIENCE).verify_token(bad) is None


async def test_with_oauth_clients_are_told_where_to_log_in(tmp_path: Path) -> None:
    listening = Listening.parse("0", oauth=ISSUER, url=AUDIENCE)
    app = http_app(ToolServer(load_targets(["time"]), workspace=tmp_path), listening, hosts=["tools.example.org"])
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport) as http:
        refused = await http.post(AUDIENCE, json={})
        about = await http.get("https://tools.example.org/.well-known/oauth-protected-resource/mcp")
    assert refused.status_code == 401
    assert "oauth-protected-resource" in refused.headers["www-authenticate"]
    assert about.json()["authorization_servers"] == [ISSUER]
    with pytest.raises(ConfigurationError, match="made out for an address"):
        Listening.parse("0", oauth=ISSUER)


async def test_files_are_listed_by_page_and_hidden_ones_not_at_all(tmp_path: Path) -> None:
    for number in range(PAGE + 5):
        (tmp_path / f"文 {number:03}.txt").write_text(str(number))
    (tmp_path / ".env").write_text("KEY=1")
    (tmp_path / "raw.bin").write_bytes(b"\xff\x00\xfe")
    server = ToolServer([], workspace=tmp_path, files=True)
    async with asyncio.timeout(30), Client(server) as client:
        first = await client.list_resources()
        second = await client.list_resources(cursor=first.next_cursor)
        text = await client.read_resource(str(second.resources[-1].uri))
        raw = await client.read_resource("workspace:///raw.bin")
        templates = await client.list_resource_templates()
    names = [item.name for item in (*first.resources, *second.resources)]
    assert len(names) == len(set(names)) == PAGE + 6
    assert second.next_cursor is None
    assert isinstance(text.contents[0], types.TextResourceContents)
    assert text.contents[0].text == str(PAGE + 4)
    assert isinstance(raw.contents[0], types.BlobResourceContents)
    assert [item.uri_template for item in templates.resource_templates] == ["workspace:///{+path}"]


@ERAS
@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("workspace:///.env", "hidden"),
        ("workspace:///link.txt", "hidden"),
        ("workspace:///%2e%2e/outside.txt", "outside the workspace"),
        ("workspace:////etc/passwd", "does not exist"),
        ("workspace://host/price.txt", "no resource"),
        ("file:///etc/passwd", "no resource"),
        ("workspace:///prise.txt", "price.txt"),
        ("workspace:///folder", "directory"),
        ("workspace:///large.txt", "at most"),
        ("workspace:///pipe", "not a file"),
    ],
)
async def test_what_is_no_resource_is_said(mode: Era, uri: str, sentence: str, tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "outside.txt").write_text("no")
    (folder / ".env").write_text("KEY=1")
    (folder / "link.txt").symlink_to(folder / ".env")
    (folder / "price.txt").write_text("17")
    (folder / "folder").mkdir()
    (folder / "large.txt").write_bytes(b"x" * (LARGEST + 1))
    os.mkfifo(folder / "pipe")
    async with asyncio.timeout(30), Client(ToolServer([], workspace=folder, files=True), mode=mode) as client:
        with pytest.raises(MCPError, match=sentence) as caught:
            await client.read_resource(uri)
    assert caught.value.error.code == (-32002 if mode == "legacy" else types.INVALID_PARAMS)


async def test_agents_are_prompts(tmp_path: Path) -> None:
    server = ToolServer([], workspace=tmp_path, presets=presets(tmp_path))
    async with asyncio.timeout(30), Client(server) as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        got = await client.get_prompt("coder", {"task": "Mend the tests."})
        with pytest.raises(MCPError, match=r"no prompt 'nobody'.*coder"):
            await client.get_prompt("nobody")
    assert "coder" in names
    assert isinstance(got.messages[0].content, types.TextContent)
    assert got.messages[0].content.text.endswith("Mend the tests.")
    assert len(got.messages[0].content.text) > 100


@tool
def later() -> str:
    """Comes later."""
    return "here"


async def test_clients_of_the_older_era_are_told_of_other_tools(tmp_path: Path) -> None:
    told = asyncio.Event()

    async def hear(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            told.set()

    server = ToolServer(load_targets(["time"]), workspace=tmp_path)
    async with asyncio.timeout(30), Client(server, mode="legacy", message_handler=hear) as client:
        assert client.server_capabilities.tools is not None
        assert client.server_capabilities.tools.list_changed
        await client.list_tools()
        await server.set_tools([later])
        await told.wait()
        assert [item.name for item in (await client.list_tools()).tools] == ["later"]
        assert not (await client.call_tool("later", {})).is_error


async def test_clients_of_the_newer_era_are_told_of_other_tools(tmp_path: Path) -> None:
    server = ToolServer(load_targets(["time"]), workspace=tmp_path)
    async with asyncio.timeout(30), Client(server) as client, client.listen(tools_list_changed=True) as events:
        await server.set_tools([later])
        assert "ToolsListChanged" in type(await anext(aiter(events))).__name__
        assert [item.name for item in (await client.list_tools(cache_mode="refresh")).tools] == ["later"]


async def test_a_file_that_changes_is_loaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "_EVERY", 0.01)
    monkeypatch.setattr(sys, "path", [*sys.path])
    changed, complained = asyncio.Event(), asyncio.Event()
    head = "from qianda import tool\n@tool\ndef "
    file = tmp_path / "mine.py"
    file.write_text(head + "one() -> str:\n    'One.'\n    return ''\n")
    offer = Offer(targets=[str(file)], workspace=tmp_path)
    server = ToolServer(offer.tools(), workspace=tmp_path)
    real = server.set_tools

    async def set_tools(tools: Any) -> None:
        await real(tools)
        changed.set()

    monkeypatch.setattr(server, "set_tools", set_tools)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        complained.set()

    watching = asyncio.create_task(watch_files(offer, server, say=say))
    async with asyncio.timeout(30):
        await asyncio.sleep(0)
        file.write_text(head + "wrong(:\n")
        await complained.wait()
        assert list(server.tools) == ["one"]
        file.write_text(head + "two() -> str:\n    'Two.'\n    return ''\n")
        await changed.wait()
    watching.cancel()
    assert list(server.tools) == ["two"]
    assert "SyntaxError" in said[0]


def config_for(host: str, *arguments: str) -> tuple[dict[str, Any], str]:
    command = [sys.executable, "-m", "qianda", "serve", *arguments, "--config-for", host]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_settings_of_a_host_start_this_server(tmp_path: Path) -> None:
    Path("mine.py").write_text(
        "from qianda import tool\n@tool(read_only=True)\ndef one() -> str:\n    'One.'\n    return ''\n"
    )
    settings, where = config_for("claude-desktop", "files", "mine.py", "--read-only", "--cwd", str(tmp_path))
    entry = settings["mcpServers"]["qianda"]
    assert "claude_desktop_config.json" in where
    process = subprocess.run(
        [entry["command"], *entry["args"]], input="", capture_output=True, text=True, check=False, timeout=50, cwd="/"
    )
    assert (process.returncode, process.stdout) == (0, ""), process.stderr


def test_the_settings_of_hosts_for_http() -> None:
    entry, told = config_for("qwen-code", "files", "--http", "9000")
    assert entry["mcpServers"]["qianda"]["httpUrl"] == "http://127.0.0.1:9000/mcp"
    assert "QIANDA_SERVE_TOKEN" in told
