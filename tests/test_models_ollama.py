"""Ollama's own interface: what is asked there, and what is read from its lines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.models import attempts as attempts_module
from qianda.models.attempts import Retry
from qianda.models.client import Client
from qianda.models.errors import ServerOverloaded, ServerRefused
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
from qianda.models.ollama import SMALL_WINDOW, NativeChunks, native_body, ndjson
from qianda.models.reply import Piece, Reply, merge
from qianda.models.resolve import resolve
from qianda.models.thinking import Thinking
from qianda.testing import Request
from qianda.testing.http_server import LoopbackServer, Response

NDJSON = {"content-type": "application/x-ndjson"}
TOOL = ToolSchema("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(attempts_module, "wait_after", lambda attempt, error: 0.0)


def line(**message: Any) -> dict[str, Any]:
    return {"model": "qwen3:8b", "message": {"role": "assistant", "content": "", **message}, "done": False}


def end(reason: str = "stop", **more: Any) -> dict[str, Any]:
    return {**line(), "done": True, "done_reason": reason, "prompt_eval_count": 26, "eval_count": 9, **more}


class Ollama(LoopbackServer):
    """Lists one model and answers chats with prepared lines, one list per request, the last one again and again."""

    def __init__(
        self, *answers: list[Any], parameters: str = "", longest: int = 40_960, loaded: int = 0, hangs: bool = False
    ) -> None:
        super().__init__()
        self._answers = list(answers)
        self._parameters, self._longest, self._loaded, self._hangs = parameters, longest, loaded, hangs

    async def answer(self, request: Request, response: Response) -> None:
        """Answer as Ollama does."""
        match request.path:
            case "/v1/models":
                await response.send_json(200, {"data": [{"id": "qwen3:8b", "owned_by": "library"}]})
            case "/api/show" if self._hangs:
                await asyncio.Event().wait()
            case "/api/show":
                info = {"general.architecture": "qwen3", "qwen3.context_length": self._longest}
                await response.send_json(200, {"parameters": self._parameters, "model_info": info})
            case "/api/ps":
                entry = {"name": "qwen3:8b", "model": "qwen3:8b", "context_length": self._loaded}
                await response.send_json(200, {"models": [entry] if self._loaded else []})
            case "/api/chat":
                lines = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                if isinstance(lines[0], int):
                    await response.send_json(lines[0], lines[1])
                    return
                await response.start(200, NDJSON)
                for each in lines:
                    await response.write(orjson.dumps(each) + b"\n")
                await response.end()
            case "/v1/chat/completions":
                message = {"role": "assistant", "content": "from /v1"}
                await response.send_json(200, {"choices": [{"message": message, "finish_reason": "stop"}]})
            case _:
                await response.send(404, b"404 page not found", {"content-type": "text/plain"})

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"{self.origin}/v1"

    @property
    def chats(self) -> list[dict[str, Any]]:
        """The bodies of the chats that it was asked for."""
        return [request.json() for request in self.received if request.path == "/api/chat"]


async def ask(server: Ollama, *messages: Message, fields: Any = None, **options: Any) -> tuple[Reply, list[Retry]]:
    async with open_http(server.url) as http:
        client = Client(await resolve(server=server.url, http=http), http, **options)
        pieces: list[Piece] = []
        retries: list[Retry] = []
        async for batch in client.ask(messages or [UserMessage("hi")], [TOOL], client.encoder(), fields=fields):
            if isinstance(batch, Retry):
                retries.append(batch)
                pieces.clear()
            else:
                pieces += batch
    return merge(pieces), retries


@pytest.mark.parametrize(
    ("there", "window", "num_ctx"),
    [
        ({}, SMALL_WINDOW, SMALL_WINDOW),
        ({"parameters": "temperature 0.6\nnum_ctx    8192"}, SMALL_WINDOW, SMALL_WINDOW),
        ({"parameters": 'stop "x"\nnum_ctx 32768'}, 32_768, None),
        ({"parameters": "num_ctx 32768", "loaded": 4_096}, SMALL_WINDOW, SMALL_WINDOW),
        ({"loaded": 65_536}, 65_536, None),
        ({"longest": 8_192}, 8_192, 8_192),
        ({"longest": 8_192, "loaded": 8_192}, 8_192, None),
    ],
)
async def test_a_small_window_is_made_larger(there: dict[str, Any], window: int, num_ctx: int | None) -> None:
    async with Ollama([end()], **there) as server:
        endpoint = await resolve(server=server.url)
    assert (endpoint.kind.kind, endpoint.window, endpoint.num_ctx) == ("ollama", window, num_ctx)


async def test_a_server_that_does_not_tell_its_window_is_used_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qianda.models.resolve.LOOK_SECONDS", 0.05)
    async with Ollama([end()], hangs=True) as server:
        assert (await resolve(server=server.url)).num_ctx == SMALL_WINDOW


async def test_v1_is_used_where_it_is_as_good() -> None:
    async with Ollama([end()], loaded=65_536) as server:
        assert (await ask(server, streaming=False))[0].text == "from /v1"
        assert server.chats == []


async def test_a_reply_is_read_from_its_lines() -> None:
    call = {"function": {"name": "look", "arguments": {"at": "東京 🗼"}}}
    lines = [
        line(thinking="Hm, "),
        line(thinking="well."),
        line(content="I "),
        line(content="look."),
        line(tool_calls=[call]),
        line(tool_calls=[{**call, "id": "call_x"}]),
        end(),
    ]
    async with Ollama(lines) as server:
        reply, retries = await ask(server, thinking=True)
    assert retries == []
    assert (reply.reasoning, reply.text, reply.finish) == ("Hm, well.", "I look.", "tool_calls")
    assert [orjson.loads(call.arguments) for call in reply.calls] == [{"at": "東京 🗼"}] * 2
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (26, 9)


async def test_one_document_is_read_too() -> None:
    async with Ollama([{**end(), "message": {"role": "assistant", "content": "ok"}}]) as server:
        reply, _ = await ask(server, streaming=False)
        assert server.chats[0]["stream"] is False
    assert (reply.text, reply.finish) == ("ok", "stop")


async def test_an_answer_that_was_cut_says_so() -> None:
    async with Ollama([line(content="I lo"), end("length")]) as server:
        assert (await ask(server))[0].finish == "length"


@pytest.mark.parametrize(
    ("thinking", "think"),
    [
        (True, True),
        (False, False),
        (Thinking(effort="none"), False),
        (None, None),
    ],
)
async def test_thinking_is_switched(thinking: Any, think: Any) -> None:
    async with Ollama([line(content="ok"), end()]) as server:
        await ask(server, thinking=thinking)
        assert server.chats[0].get("think") == think


async def test_options_are_where_ollama_reads_them() -> None:
    async with Ollama([line(content="ok"), end()]) as server:
        await ask(server, extra_body={"max_tokens": 7, "keep_alive": "9m", "options": {"num_gpu": 1}})
        (body,) = server.chats
    assert {"num_ctx": SMALL_WINDOW, "num_predict": 7, "num_gpu": 1}.items() <= body["options"].items()
    assert (body["keep_alive"], body["stream"]) == ("9m", True)
    assert not {"stream_options", "max_tokens", "temperature", "num_ctx"} & body.keys()


def test_messages_are_in_its_shape() -> None:
    schema = {"type": "object"}
    body: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "reasoning": "hm",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
            },
            {"role": "tool", "tool_call_id": "c", "name": "f", "content": "r"},
        ],
        "model": "m",
        "tools": [1],
        "tool_choice": "none",
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        "reasoning_effort": "xhigh",
    }
    assert orjson.loads(native_body(orjson.dumps(body))) == {
        "stream": False,
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "see", "images": ["QUJD"]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "r", "tool_name": "f"},
        ],
        "think": "max",
        "format": schema,
        "model": "m",
    }


async def test_a_whole_conversation_goes_over() -> None:
    conversation: list[Message] = [
        SystemMessage("s"),
        UserMessage((TextPart("see"), MediaPart("image", "data:image/png;base64,QUJD"))),
        AssistantMessage("", "hm", (ToolCall("c", "look", '{"at": "x"}'),)),
        ToolMessage("c", "look", "rain"),
    ]
    async with Ollama([line(content="ok"), end()]) as server:
        assert (await ask(server, *conversation))[0].text == "ok"
        sent = server.chats[0]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    assert sent[1]["images"] == ["QUJD"]
    assert sent[2]["thinking"] == "hm"


async def test_an_error_inside_the_answer_is_retried() -> None:
    async with Ollama([line(content="Bad "), {"error": "model runner stopped"}], [line(content="ok"), end()]) as server:
        reply, retries = await ask(server)
    assert reply.text == "ok"
    assert [(retry.discard, retry.attempt) for retry in retries] == [(True, 2)]
    assert "runner stopped" in retries[0].error.message


@pytest.mark.parametrize(
    ("lines", "error", "message", "requests"),
    [
        ([404, {"error": "model 'x' not found"}], ServerRefused, "not found", 1),
        ([400, {"error": "x does not support tools"}], ServerRefused, "with tools on", 1),
        ([line(content="half")], None, "", 4),
        ([{"error": "out of memory"}], ServerOverloaded, "out of memory", 4),
    ],
)
async def test_what_goes_wrong_is_said(lines: list[Any], error: Any, message: str, requests: int) -> None:
    async with Ollama(lines) as server:
        if error is None:
            assert (await ask(server))[0].finish == "length"
        else:
            with pytest.raises(error, match=message):
                await ask(server)
        assert len(server.chats) == requests


async def test_a_model_that_cannot_think_is_asked_without() -> None:
    refusal = [400, {"error": '"qwen3:8b" does not support thinking'}]
    async with Ollama(refusal, [line(content="ok"), end()]) as server:
        reply, retries = await ask(server, thinking=True)
        assert [chat.get("think") for chat in server.chats] == [True, None]
    assert (reply.text, len(retries)) == ("ok", 1)


@given(st.lists(st.text(max_size=20), max_size=8), st.integers(1, 9))
def test_lines_are_the_same_however_they_are_split(texts: list[str], size: int) -> None:
    data = b"\n".join(orjson.dumps(line(content=text)) for text in texts)

    async def blocks() -> AsyncGenerator[bytes]:
        for at in range(0, len(data), size):
            yield data[at : at + size]

    async def read() -> list[str]:
        chunks = NativeChunks()
        lines = [each async for found in ndjson(blocks()) for each in found]
        return [chunks.read(orjson.loads(each))["choices"][0]["delta"]["content"] for each in lines]

    assert asyncio.run(read()) == texts
