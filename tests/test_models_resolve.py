"""Which server and model are chosen, why, and who gets to see a key."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import httpx2
import orjson
import pytest

from qianda import ConfigurationError, ServerOverloaded, ServerRefused, ServerUnreachable
from qianda.models import embedded
from qianda.models.config import Config, user_config_path
from qianda.models.embedded import EmbeddedServer
from qianda.models.resolve import Endpoint, probe_local, resolve
from qianda.models.servers import base_url, server_kinds
from qianda.testing import Request, ScriptedServer
from qianda.testing.http_server import LoopbackServer, Response


class Listing(LoopbackServer):
    """Lists these models; or, in their place, answers with a status or with any body, or not at all."""

    def __init__(self, *models: str, status: int = 200, body: bytes | None = None, hangs: bool = False) -> None:
        super().__init__()
        entries = [{"id": name, "owned_by": "vllm", "max_model_len": 4096} for name in models]
        self.body = orjson.dumps({"data": entries}) if body is None else body
        self.status = status
        self.hangs = hangs

    async def answer(self, request: Request, response: Response) -> None:
        """Answer whatever is asked."""
        if self.hangs:
            await asyncio.Event().wait()
        await response.send(self.status, self.body, {"content-type": "application/json"})

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{self.origin}/v1"


def at_default_ports(monkeypatch: pytest.MonkeyPatch, **there: LoopbackServer | None) -> None:
    """Let these be the only kinds that have a default port, and these servers listen on it."""
    kinds = {kind: replace(row, port=0) for kind, row in server_kinds().items()}
    for kind, server in there.items():
        kinds[kind] = replace(kinds[kind], port=int(server.origin.rpartition(":")[2]) if server else 1)
    for module in ("qianda.models.resolve", "qianda.models.servers"):
        monkeypatch.setattr(f"{module}.server_kinds", lambda: kinds)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, bool]]:
    """A stand-in for the embedded engine: the models it was started with, and whether it might fetch them."""
    calls: list[tuple[str | None, bool]] = []

    async def start(model: str | None, *, download: bool, notify: object) -> EmbeddedServer:
        calls.append((model, download))
        name = model or embedded.DEMO_MODEL
        return EmbeddedServer(url="http://127.0.0.1:1/v1", api_key="k", model=name, window=1, demo=model is None)

    monkeypatch.setattr(embedded, "start_embedded", start)
    monkeypatch.setattr(embedded, "available", lambda: True)
    monkeypatch.setattr(embedded, "weights_present", lambda: True)
    return calls


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1"),
        (" https://models.example.org ", "https://models.example.org/v1"),
        ("https://models.example.org/openai", "https://models.example.org/openai"),
        ("http://127.0.0.1:8000/v1/chat/completions", "http://127.0.0.1:8000/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("ollama", "http://127.0.0.1:11434/v1"),
        ("LM Studio", "http://127.0.0.1:1234/v1"),
        ("llama.cpp", "http://127.0.0.1:8080/v1"),
        ("Model Studio", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        ("dashscope", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        ("modelstudio-cn", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    ],
)
def test_an_address_may_be_written_in_many_ways(said: str, url: str) -> None:
    assert base_url(said) == url


@pytest.mark.parametrize("said", ["", "olama", "localhost", "ftp://host/v1", "http://", "host:99999", "http://h:x/v1"])
def test_what_is_no_address_is_explained(said: str) -> None:
    with pytest.raises(ConfigurationError, match="one of: embedded, llamacpp"):
        base_url(said)


async def test_the_first_that_names_a_server_wins(
    monkeypatch: pytest.MonkeyPatch, started: list[tuple[str | None, bool]]
) -> None:
    async with Listing("a-qwen") as one, Listing("b-qwen") as two, Listing("c-qwen") as three:
        at_default_ports(monkeypatch, vllm=three)
        path = user_config_path()

        async def chosen(**arguments: Any) -> tuple[str, str]:
            endpoint = await resolve(**arguments)
            return endpoint.model, endpoint.why

        assert await chosen() == ("c-qwen", f"it answers on this machine ({three.url}), its only model")
        path.parent.mkdir(parents=True)
        path.write_text(f'server = "{two.url}"\n')
        assert await chosen() == ("b-qwen", f"{path} names it, its only model")
        monkeypatch.setenv("QIANDA_SERVER", one.origin)
        assert await chosen() == ("a-qwen", "QIANDA_SERVER names it, its only model")
        assert await chosen(server=two.url) == ("b-qwen", "you named the server, its only model")
        assert (await chosen(model="x.gguf"))[1] == "you named a model file"
        monkeypatch.setenv("QIANDA_MODEL", "other")
        assert (await chosen(server=two.url))[0] == "other"
        assert (await chosen(server=two.url, model="mine"))[0] == "mine"
    assert started == [("x.gguf", False)]


async def test_a_model_that_a_file_names_is_for_the_server_beside_it() -> None:
    async with Listing("qwen3-8b") as one, Listing("qwen3:8b", "qwen3:32b") as two:
        config = Config(server=two.url, model="qwen3:32b", origins={"server": "file", "model": "file"})
        assert (await resolve(config=config)).model == "qwen3:32b"
        assert (await resolve(config=config, server=one.url)).model == "qwen3-8b"
        alone = Config(model="qwen3:32b", origins={"model": "file"})
        assert (await resolve(config=alone, server=two.url)).model == "qwen3:32b"


@pytest.mark.parametrize(
    ("models", "wanted", "model", "why"),
    [
        (["Qwen/Qwen3-8B"], "qwen3-8b", "Qwen/Qwen3-8B", ""),
        (["Qwen/Qwen3-8B"], "Qwen/Qwen3-8B", "Qwen/Qwen3-8B", ""),
        (["a/Qwen3-8B", "b/Qwen3-8B"], "qwen3-8b", "qwen3-8b", ""),
        (["qwen3:8b"], "qwen3:32b", "qwen3:32b", ""),
        (["llama3", "qwen3-embedding:8b", "qwen3:8b"], None, "qwen3:8b", ", the first Qwen of its 3 models"),
        (["llama3", "mistral"], None, "llama3", ", the first, as none is a Qwen, of its 2 models"),
        (["llama3"], None, "llama3", ", its only model"),
        ([f"m{n}" for n in range(500)] + ["QWEN3-8B"], None, "QWEN3-8B", ", the first Qwen of its 501 models"),
    ],
)
async def test_the_model_is_found_in_the_servers_list(
    models: list[str], wanted: str | None, model: str, why: str
) -> None:
    async with Listing(*models) as server:
        endpoint = await resolve(server=server.url, model=wanted)
    assert endpoint.model == model
    assert endpoint.why == "you named the server" + why
    assert endpoint.window == (4096 if model in models else None)


@pytest.mark.parametrize(
    ("server", "error", "message"),
    [
        (Listing(), ConfigurationError, "does not list its models"),
        (Listing(status=404, body=b"gone"), ServerRefused, "not a model server"),
        (Listing(body=b"<html>"), ServerRefused, "not a model server"),
        (Listing(status=401, body=b"{}"), ServerRefused, "wants a key"),
        (Listing(status=503, body=b'{"error": "Loading model"}'), ServerOverloaded, "not ready"),
        (Listing(status=308, body=b""), ServerRefused, "redirects"),
    ],
)
async def test_a_server_that_does_not_say_what_it_has(server: Listing, error: type[Exception], message: str) -> None:
    async with server:
        with pytest.raises(error, match=message):
            await resolve(server=server.url)


async def test_an_odd_list_is_no_accident() -> None:
    body = orjson.dumps({"data": [None, "x", {"no": "id"}, {"id": "qwen3", "meta": [1], "max_model_len": "big"}]})
    async with Listing(body=body) as server:
        endpoint = await resolve(server=server.url)
    assert (endpoint.model, endpoint.window) == ("qwen3", None)


class TestOnThisMachine:
    """What answers on the default ports."""

    @pytest.fixture(autouse=True)
    def patient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A busy machine may take longer than a person would wait."""
        from qianda.models import resolve as module

        monkeypatch.setattr(module, "PROBE_SECONDS", 2.0)

    async def test_the_one_that_has_the_model(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with Listing("llama3") as one, Listing("mistral", "qwen3:8b") as two:
            at_default_ports(monkeypatch, vllm=one, ollama=two)
            assert (await resolve(config=Config(), model="Qwen3:8b")).url == two.url
            assert (await resolve(config=Config(), model="llama3")).url == one.url
            assert (await resolve(config=Config())).url == two.url
            assert (await resolve(config=Config(), model="unheard-of")).url == one.url

    async def test_it_takes_no_longer_than_promised(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with Listing(hangs=True) as silent, Listing("qwen3") as fine, Listing(body=b"[") as odd:
            at_default_ports(monkeypatch, vllm=silent, ollama=fine, sglang=odd, lmstudio=None)
            async with asyncio.timeout(8):
                found = await probe_local()
            assert [server.url for server in found] == [fine.url]

    async def test_the_clock_starts_when_the_http_package_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from qianda.models import http
        from qianda.models import resolve as module

        def slow(url: str, **options: Any) -> Any:
            until = time.monotonic() + 0.15
            while time.monotonic() < until:
                pass  # stands for the import, which holds the event loop
            return http.open_http(url, **options)

        monkeypatch.setattr(module, "open_http", slow)
        monkeypatch.setattr(module, "PROBE_SECONDS", 0.1)
        async with Listing("qwen3") as server:
            at_default_ports(monkeypatch, vllm=server)
            assert len(await probe_local()) == 1

    async def test_nothing_there(self, monkeypatch: pytest.MonkeyPatch, started: list[tuple[str | None, bool]]) -> None:
        at_default_ports(monkeypatch, vllm=None)
        endpoint = await resolve(config=Config())
        assert endpoint.demo
        assert "demo model, not a Qwen" in endpoint.label
        assert endpoint.why.startswith("no model server answers on this machine")
        with pytest.raises(ServerUnreachable, match="there is no 'qwen3-8b'"):
            await resolve(config=Config(), model="qwen3-8b")
        assert started == [(None, False)]
        monkeypatch.setattr(embedded, "weights_present", lambda: False)
        with pytest.raises(ServerUnreachable, match="qianda models pull demo"):
            await resolve(config=Config())
        assert (await resolve(config=Config(), download=True)).demo
        assert started == [(None, False), (None, True)]


class TestEmbedded:
    """The engine in this process, when it is asked for."""

    async def test_by_name(self, started: list[tuple[str | None, bool]]) -> None:
        for server, model in (("embedded", None), ("Embedded", "demo"), ("embedded", "a.gguf")):
            await resolve(server=server, model=model, config=Config())
        assert [model for model, _ in started] == [None, None, "a.gguf"]
        config = Config(server="embedded", origins={"server": "file"})
        await resolve(config=config)
        assert [download for _, download in started] == [True, True, True, False]

    async def test_another_model_is_not_replaced_by_the_demo(self, started: list[tuple[str | None, bool]]) -> None:
        with pytest.raises(ConfigurationError, match="no model 'qwen3-8b'"):
            await resolve(server="embedded", model="qwen3-8b", config=Config())
        assert started == []

    @pytest.mark.usefixtures("started")
    async def test_a_model_file_in_the_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        config = Config(model="a.gguf", origins={"model": "file"})
        assert (await resolve(config=config)).why == "file names a model file"
        monkeypatch.setenv("QIANDA_MODEL", "b.gguf")
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-1234")
        endpoint = await resolve()
        assert (endpoint.model, endpoint.why) == ("b.gguf", "QIANDA_MODEL names a model file")


class TestKeys:
    """A key goes to the server that it belongs to, and nowhere else."""

    @staticmethod
    def cloud(seen: list[httpx2.Request], models: list[str]) -> httpx2.AsyncClient:
        def answer(request: httpx2.Request) -> httpx2.Response:
            seen.append(request)
            return httpx2.Response(200, json={"data": [{"id": name} for name in models]})

        return httpx2.AsyncClient(transport=httpx2.MockTransport(answer))

    @pytest.mark.parametrize(
        "server",
        [
            None,
            "modelstudio",
            "Model Studio",
            "modelstudio-cn",
            "https://dashscope.aliyuncs.com/compatible-mode/v1/",
            "https://w1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1",
        ],
    )
    async def test_model_studio_gets_its_key(self, server: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-cloud")
        seen: list[httpx2.Request] = []
        async with self.cloud(seen, []) as http:
            endpoint = await resolve(server=server, http=http)
        assert seen[0].headers["authorization"] == "Bearer sk-cloud"
        assert (endpoint.api_key, endpoint.model) == ("sk-cloud", "qwen-plus")
        assert "sk-cloud" not in repr(endpoint)

    @pytest.mark.parametrize(
        "server",
        [
            "https://evil.example/v1?x=@dashscope.aliyuncs.com",
            "https://evil.example#@dashscope.aliyuncs.com",
            "https://evil.example\\@dashscope.aliyuncs.com",
            "https://dashscope.aliyuncs.com@evil.example/v1",
            "https://evil-aliyuncs.com/v1",
            "http://dashscope.aliyuncs.com/v1",
        ],
    )
    def test_a_look_alike_does_not(self, server: str) -> None:
        assert Config(api_keys={"modelstudio": "sk-cloud"}).key_for(server) is None

    async def test_a_local_server_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-cloud")
        async with ScriptedServer("hi") as server:
            endpoint = await resolve(server=server.url)
            assert all("authorization" not in request.headers for request in server.received)
        assert endpoint.api_key is None

    async def test_nor_do_those_that_are_only_looked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("QIANDA_API_KEY", "sk-mine")
        async with Listing("qwen3") as server:
            at_default_ports(monkeypatch, vllm=server)
            endpoint: Endpoint = await resolve()
            assert all("authorization" not in request.headers for request in server.received)
        assert endpoint.api_key is None

    async def test_an_explicit_key(self) -> None:
        async with ScriptedServer("hi", api_key="right") as server:
            assert (await resolve(server=server.url, api_key="right\n")).api_key == "right"
            for wrong in ("ключ", "two words", "a\nb"):
                with pytest.raises(ConfigurationError, match="characters"):
                    await resolve(server=server.url, api_key=wrong)
