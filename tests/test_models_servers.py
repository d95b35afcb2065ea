"""Which server answers at an address: its kind, its models, their real window, told in as few requests as it takes."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from qianda import ServerRefused, ServerUnreachable
from qianda.models import resolve as resolve_module
from qianda.models.config import Config
from qianda.models.detection import FoundModel, FoundServer, detect, server_version
from qianda.models.http import open_http
from qianda.models.resolve import probe_local, resolve
from qianda.models.servers import base_url, kind_at, named_kind, server_kinds
from qianda.testing import ModelStudioServer, Request, ScriptedServer
from qianda.testing.http_server import LoopbackServer, Response

DOCS = Path(__file__).parent.parent / "docs/servers.md"
HANG = object()


class Paths(LoopbackServer):
    """Answers these paths with these JSON values, any other with 404; ``HANG`` with nothing at all."""

    def __init__(self, **paths: Any) -> None:
        super().__init__()
        self.paths = {f"/{path.replace('__', '/')}": value for path, value in paths.items()}

    async def answer(self, request: Request, response: Response) -> None:
        """Answer one request."""
        value = self.paths.get(request.path)
        if value is HANG:
            await asyncio.Event().wait()
        if value is None:
            await response.send_json(404, {"detail": "Not Found"})
        else:
            await response.send_json(200, value)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{self.origin}/v1"


def listing(owner: str | None, **more: Any) -> dict[str, Any]:
    entry = {"id": "qwen3-8b", "object": "model", **({} if owner is None else {"owned_by": owner}), **more}
    return {"object": "list", "data": [entry]}


async def found(server: Paths, **options: Any) -> FoundServer:
    async with open_http(server.url) as http:
        return await detect(http, server.url, headers={}, **options)


PROPS = {"default_generation_settings": {"n_ctx": 8192}, "build_info": "b6000-abc", "chat_template": "…"}
KINDS: list[tuple[str, dict[str, Any], int | None, int]] = [
    ("vllm", {"v1__models": listing("vllm", max_model_len=4096)}, 4096, 1),
    ("sglang", {"v1__models": listing("sglang", max_model_len=32768)}, 32768, 1),
    ("tensorrt", {"v1__models": listing("tensorrt_llm")}, None, 1),
    ("xinference", {"v1__models": listing("xinference")}, None, 1),
    ("openvino", {"v1__models": listing("OVMS")}, None, 1),
    ("ollama", {"v1__models": listing("library")}, None, 1),
    ("lmstudio", {"v1__models": listing("organization_owner")}, None, 1),
    ("llamacpp", {"v1__models": listing("llamacpp", meta={"n_ctx_train": 40960}), "props": PROPS}, 8192, 2),
    ("llamacpp", {"v1__models": listing("llamacpp", meta={"n_ctx_train": 40960})}, 40960, 2),
]
ASKED: list[tuple[str, dict[str, Any], int | None, str]] = [
    ("llamacpp", {"v1__models": listing("me"), "props": PROPS}, 8192, "b6000-abc"),
    ("ollama", {"v1__models": listing("huihui_ai"), "api__version": {"version": "0.13.0"}}, None, "0.13.0"),
    ("vllm", {"v1__models": listing(None, max_model_len=99), "version": {"version": "0.11.2"}}, 99, "0.11.2"),
    (
        "sglang",
        {
            "v1__models": listing("x"),
            "get_server_info": {"model_path": "Qwen/Qwen3-8B", "version": "0.5.6"},
            "version": {"version": "9"},
        },
        None,
        "0.5.6",
    ),
    (
        "tgi",
        {"v1__models": listing("Qwen/Qwen3-8B"), "info": {"max_total_tokens": 16384, "version": "3.3.4"}},
        16384,
        "3.3.4",
    ),
    (
        "lmstudio",
        {
            "v1__models": listing("x"),
            "api__v0__models": {
                "data": [{"id": "qwen3-8b", "max_context_length": 40960, "loaded_context_length": 4096}]
            },
        },
        4096,
        "",
    ),
    ("openai", {"v1__models": listing("me")}, None, ""),
]


@pytest.mark.parametrize(("kind", "paths", "window", "requests"), KINDS)
async def test_a_server_that_says_what_it_is_is_not_asked_again(
    kind: str, paths: dict[str, Any], window: int | None, requests: int
) -> None:
    async with Paths(**paths) as server:
        there = await found(server)
        assert len(server.received) == requests
    assert there.kind.kind == kind
    assert there.models == (FoundModel("qwen3-8b", window),)


@pytest.mark.parametrize(("kind", "paths", "window", "version"), ASKED)
async def test_another_is_asked_in_the_ways_of_all_kinds(
    kind: str, paths: dict[str, Any], window: int | None, version: str
) -> None:
    async with Paths(**paths) as server:
        there = await found(server)
    assert (there.kind.kind, there.models[0].window, there.version) == (kind, window, version)


async def test_a_proxy_that_hangs_on_odd_paths_does_not_hang_us() -> None:
    hanging = {row.ask.strip("/").replace("/", "__"): HANG for row in server_kinds().values() if row.ask}
    async with Paths(v1__models=listing("me"), **hanging) as server:
        async with asyncio.timeout(8):  # asked without a bound of their own, they would take ten seconds each
            assert (await found(server)).kind.kind == "openai"


async def test_what_was_named_counts_where_the_server_does_not_tell() -> None:
    async with Paths(v1__models=listing(None)) as server:
        assert (await found(server, expected=named_kind("mlx_lm"))).kind.kind == "mlx"
    async with Paths(v1__models=listing("vllm")) as server:
        assert (await found(server, expected=named_kind("mlx_lm"))).kind.kind == "vllm"


async def test_the_version_is_asked_for_apart() -> None:
    paths = {"v1__models": listing("vllm"), "version": {"version": "0.32.0"}}
    async with Paths(**paths) as server, open_http(server.url) as http:
        assert await server_version(http, await found(server), headers={}) == "0.32.0"
        server.paths["/version"] = None
        assert await server_version(http, await found(server), headers={}) == ""
    async with ScriptedServer("hi") as server, open_http(server.url) as http:
        there = await detect(http, server.url, headers={})
        assert await server_version(http, there, headers={}) == "0.32.0"


async def test_a_busy_server_is_believed_in_when_its_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve_module, "ASK_SECONDS", 0.05)
    async with Paths(v1__models=HANG) as server:
        endpoint = await resolve(server=server.url, model="qwen3-8b")
        assert (endpoint.model, endpoint.kind.kind, endpoint.window) == ("qwen3-8b", "openai", None)
        with pytest.raises(ServerUnreachable, match="sent nothing"):
            await resolve(server=server.url)
    with pytest.raises(ServerUnreachable, match="No server answers"):
        await resolve(server="http://127.0.0.1:9/v1", model="qwen3-8b")


async def test_one_that_answers_under_two_paths_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def urls(self: Any) -> list[str]:
        return {"vllm": [server.url], "openvino": [f"{server.origin}/v3"]}.get(self.kind, [])

    async with Paths(v1__models=listing("OVMS"), v3__models=listing("OVMS")) as server:
        monkeypatch.setattr("qianda.models.servers.ServerKind.local_urls", property(urls))
        assert [there.url for there in await probe_local()] == [server.url]


def test_llama_cpp_is_looked_for_on_both_its_ports() -> None:
    ports = [urlsplit(url).port for url in server_kinds()["llamacpp"].local_urls]
    assert ports == [8080, 9931]
    assert server_kinds()["embedded"].local_urls == []


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "modelstudio"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "modelstudio-cn"),
        ("https://dashscope-us.aliyuncs.com/compatible-mode/v1", "modelstudio-us"),
        ("https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1", "modelstudio-hk"),
        ("https://w1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "modelstudio-cn"),
        ("https://w1.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1", "modelstudio"),
        ("https://w1.ap-northeast-1.maas.aliyuncs.com/compatible-mode/v1", "modelstudio-jp"),
        ("https://coding.dashscope.aliyuncs.com/v1", "modelstudio-coding-cn"),
        ("https://coding-intl.dashscope.aliyuncs.com/v1", "modelstudio-coding"),
        ("https://1.cn-hangzhou.pai-eas.aliyuncs.com/api/predict/qwen/v1", "pai-eas"),
        ("http://127.0.0.1:9/compatible-mode/v1", "modelstudio"),
        ("https://evil-dashscope.aliyuncs.com.example/v1", None),
        ("http://127.0.0.1:8000/v1", None),
    ],
)
def test_a_region_is_known_by_its_address(url: str, kind: str | None) -> None:
    there = kind_at(url)
    assert (there.kind if there else None) == kind


def test_the_address_of_every_kind_is_that_kind() -> None:
    for kind, row in server_kinds().items():
        if row.url:
            assert base_url(kind) == row.url
            assert kind_at(row.url) is row


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("llama.cpp", "llamacpp"),
        ("LM Studio", "lmstudio"),
        ("TensorRT-LLM", "tensorrt"),
        ("trtllm", "tensorrt"),
        ("OVMS", "openvino"),
        ("mlx-lm", "mlx"),
        ("PAI-EAS", "pai-eas"),
        ("bailian", "modelstudio-cn"),
        ("modelstudio_us", "modelstudio-us"),
        ("http://127.0.0.1:8000/v1", None),
        ("", None),
    ],
)
def test_a_kind_is_known_by_any_of_its_names(name: str, kind: str | None) -> None:
    there = named_kind(name)
    assert (there.kind if there else None) == kind


@pytest.mark.parametrize(
    ("host", "gets"),
    [
        ("dashscope.aliyuncs.com", True),
        ("dashscope-us.aliyuncs.com", True),
        ("coding-intl.dashscope.aliyuncs.com", True),
        ("w1.ap-northeast-1.maas.aliyuncs.com", True),
        ("1.cn-hangzhou.pai-eas.aliyuncs.com", False),
        ("bucket.oss-cn-hangzhou.aliyuncs.com", False),
        ("evildashscope.aliyuncs.com", False),
        ("aliyuncs.com", False),
    ],
)
def test_the_key_of_model_studio_goes_to_its_own_hosts(host: str, gets: bool) -> None:
    key = Config(api_keys={"modelstudio": "sk-cloud"}).key_for(f"https://{host}/v1")
    assert (key == "sk-cloud") is gets


async def test_a_refused_key_names_the_other_regions() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(401, json={"error": {"code": "invalid_api_key", "message": "no"}})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        with pytest.raises(ServerRefused, match="does not accept the key") as caught:
            await resolve(server="modelstudio-cn", api_key="sk-wrong", http=http)
    assert "this is Model Studio (Beijing)" in caught.value.cure
    assert "modelstudio, modelstudio-us, modelstudio-hk" in caught.value.cure


async def test_the_stand_in_is_taken_for_model_studio() -> None:
    async with ModelStudioServer("hi") as server:
        assert (await resolve(server=server.url, model="qwen-plus")).kind.kind == "modelstudio"


def test_the_table_is_sound() -> None:
    rows = server_kinds()
    for kind, row in rows.items():
        assert all(isinstance(getattr(row, each.name), (str, int, bool, tuple)) for each in fields(row)), kind
        assert bool(row.ask) == bool(row.has), kind
        assert set(row.tool_choice) <= {"auto", "none", "required", "named"}, kind
    for needed in ("vllm", "sglang", "llamacpp", "ollama", "lmstudio", "tensorrt", "tgi", "transformers", "xinference"):
        assert needed in rows
    for needed in ("openvino", "mlx", "pai-eas", "modelstudio", "modelstudio-cn", "openai"):
        assert needed in rows


def test_the_page_names_every_kind() -> None:
    page = DOCS.read_text(encoding="utf-8")
    assert [kind for kind in server_kinds() if f"`{kind}`" not in page] == []
