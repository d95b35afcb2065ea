"""Model Studio: its rules for requests, and a client against the stand-in that refuses what the service refuses."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from qianda import Agent, ConfigurationError, ServerRefused, tool
from qianda.models.attempts import Retry
from qianda.models.client import Client
from qianda.models.http import open_http
from qianda.models.messages import SystemMessage, ToolSchema, Usage, UserMessage
from qianda.models.modelstudio import SMALLEST_CACHE, studio_fields, with_cache_marks
from qianda.models.reply import Piece, Reply, merge
from qianda.models.resolve import resolve
from qianda.models.thinking import Thinking
from qianda.testing import Call, ModelStudioServer, Turn

TOOLS = [{"type": "function", "function": {"name": "look"}}]
NAMED = {"type": "function", "function": {"name": "look"}}


async def ask(server: ModelStudioServer, *, fields: Any = None, **options: Any) -> tuple[Reply, list[Retry]]:
    """The reply to one question, with one tool; and the retries before it."""
    async with open_http(server.url) as http:
        client = Client(await resolve(server=server.url, model=server.model, http=http), http, **options)
        pieces: list[Piece] = []
        retries: list[Retry] = []
        messages = [SystemMessage("Be brief, in JSON."), UserMessage("hi")]
        async for batch in client.ask(messages, [ToolSchema("look", "Looks.")], client.encoder(), fields=fields):
            if isinstance(batch, Retry):
                retries.append(batch)
                pieces.clear()
            else:
                pieces += batch
    return merge(pieces), retries


@pytest.mark.parametrize(
    ("fields", "thinks", "sent"),
    [
        ({"reasoning_effort": "low", "thinking_budget": 5, "enable_thinking": True}, None, {"reasoning_effort": "low"}),
        ({"enable_thinking": True, "thinking_budget": 5}, None, {"enable_thinking": True, "thinking_budget": 5}),
        ({"tools": TOOLS}, None, {"tools": TOOLS, "parallel_tool_calls": True}),
        ({"tool_choice": "none"}, True, {"tool_choice": "none"}),
        ({"tool_choice": NAMED}, True, {"tool_choice": "auto"}),
        ({"tool_choice": NAMED}, False, {"tool_choice": NAMED}),
        ({"tool_choice": "required"}, False, {"tool_choice": "auto"}),
        ({"tool_choice": NAMED, "enable_thinking": False}, True, {"tool_choice": NAMED, "enable_thinking": False}),
        ({"tool_choice": NAMED, "reasoning_effort": "none"}, True, {"tool_choice": NAMED, "reasoning_effort": "none"}),
        ({"response_format": {}, "max_tokens": 9}, True, {"max_tokens": 9}),
        ({"response_format": {}, "max_tokens": 9}, False, {"response_format": {}}),
        ({"enable_search": True}, None, {"enable_search": True}),
    ],
)
def test_fields_are_what_the_service_takes(fields: dict[str, Any], thinks: bool | None, sent: dict[str, Any]) -> None:
    before = dict(fields)
    assert studio_fields(fields, thinks=thinks) == sent
    assert fields == before


def test_a_required_call_of_the_only_tool_names_it() -> None:
    fields = studio_fields({"tools": TOOLS, "tool_choice": "required", "stream": True}, thinks=False)
    assert fields["tool_choice"] == NAMED
    assert fields["tool_stream"] is True
    assert studio_fields({"tools": TOOLS * 2, "tool_choice": "required"}, thinks=False)["tool_choice"] == "auto"


def test_a_code_interpreter_needs_thinking_and_a_stream() -> None:
    fields = studio_fields({"enable_code_interpreter": True}, thinks=False)
    assert (fields["enable_thinking"], fields["stream"]) == (True, True)


def test_a_tool_may_not_be_called_search() -> None:
    with pytest.raises(ConfigurationError, match="search"):
        studio_fields({"tools": [{"type": "function", "function": {"name": "search"}}]}, thinks=None)


def test_marks_stand_where_there_is_enough_to_keep() -> None:
    long = "word " * SMALLEST_CACHE
    request: dict[str, Any] = {
        "cache_control": {"type": "ephemeral"},
        "messages": [
            {"role": "system", "content": long},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "", "tool_calls": []},
            {"role": "tool", "content": "result"},
        ],
    }
    marked = orjson.loads(with_cache_marks(orjson.dumps(request)))
    assert "cache_control" not in marked
    assert marked["messages"][0]["content"] == [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]
    assert [list(part) for part in marked["messages"][1]["content"]] == [
        ["type", "text"],
        ["type", "text", "cache_control"],
    ]
    assert marked["messages"][2:] == request["messages"][2:]
    request["messages"][0]["content"] = "short"
    assert b"cache_control" not in with_cache_marks(orjson.dumps(request))


async def test_calls_thinking_and_usage_come_as_the_service_sends_them() -> None:
    usage = Usage(input_tokens=2_000, output_tokens=70, reasoning_tokens=50, cached_tokens=1_500)
    calls = [Call("look", {"at": "东京"}), Call("look", {"at": "Москва"})]
    for streaming in (True, False):
        turn = Turn("Now.", reasoning="Hm.", calls=calls, usage=usage)
        async with ModelStudioServer(turn) as server:
            reply, retries = await ask(server, streaming=streaming, thinking=streaming)
            (sent,) = server.requests
        assert retries == []
        assert [call.name for call in reply.calls] == ["look", "look"]
        assert [orjson.loads(call.arguments)["at"] for call in reply.calls] == ["东京", "Москва"]
        assert all(call.id.startswith("chatcmpl-tool") for call in reply.calls)
        assert reply.reasoning == "Hm."
        assert (reply.usage.cached_tokens, reply.usage.reasoning_tokens) == (1_500, 50)
        assert sent["enable_thinking"] is streaming
        assert sent.get("tool_stream", False) is streaming


@pytest.mark.parametrize(
    ("model", "options", "fields"),
    [
        ("qwen-plus", {"thinking": True}, {"tool_choice": "required"}),
        ("qwen-plus", {"thinking": True}, {"response_format": {"type": "json_object"}}),
        ("qwen3.8-max", {"thinking": Thinking(effort="low")}, {"thinking_budget": 100}),
        ("qwen3.8-max", {"thinking": False}, {"tool_choice": NAMED}),
        ("qwen-plus", {"extra_body": {"enable_code_interpreter": True}}, {}),
        ("qwen-plus", {"extra_body": {"cache_control": {"type": "ephemeral"}}}, {}),
    ],
)
async def test_what_the_service_refuses_is_not_sent(
    model: str, options: dict[str, Any], fields: dict[str, Any]
) -> None:
    async with ModelStudioServer("ok", model=model) as server:
        reply, retries = await ask(server, fields=fields, **options)
    assert (reply.text, retries) == ("ok", [])


@pytest.mark.parametrize(
    ("model", "options", "said", "field", "value"),
    [
        ("qwen3-8b", {"streaming": False}, "non-streaming", "stream", True),
        ("qwen-plus", {"extra_body": {"max_tokens": 10**6}}, "Range of max_tokens", "max_tokens", 32_768),
        ("qwen-plus", {"thinking": Thinking(budget=10**6)}, "thinking_budget", "thinking_budget", 38_912),
        (
            "qwen3-30b-a3b-thinking-2507",
            {"extra_body": {"enable_thinking": False}},
            "restricted to True",
            "enable_thinking",
            True,
        ),
    ],
)
async def test_a_refusal_that_can_be_mended_is_mended_once(
    model: str, options: dict[str, Any], said: str, field: str, value: Any
) -> None:
    async with ModelStudioServer("ok", model=model) as server:
        reply, retries = await ask(server, **options)
        assert (reply.text, len(retries)) == ("ok", 1)
        assert said in retries[0].error.message
        assert retries[0].wait == 0.0
        assert server.requests[-1][field] == value


async def test_other_refusals_are_said_at_once() -> None:
    async with ModelStudioServer("ok") as server:
        fields = {"response_format": {"type": "json_object"}, "messages": [{"role": "user", "content": "hi"}]}
        with pytest.raises(ServerRefused, match="must contain the word"):
            await ask(server, fields=fields)
        assert len(server.requests) == 1
    async with ModelStudioServer("ok", api_key="right") as server:
        with pytest.raises(ServerRefused, match="wants a key") as caught:
            await ask(server)
        assert "modelstudio-cn" in caught.value.cure


async def test_an_agent_runs_there() -> None:
    @tool
    async def look(at: str) -> str:
        """Looks.

        Args:
            at: where.
        """
        return f"{at}: rain"

    calls = [Call("look", {"at": "Ulm"}), Call("look", {"at": "Rom"})]
    async with ModelStudioServer(Turn(reasoning="Hm.", calls=calls), "Rain.") as server:
        agent = Agent(server=server.url, model="qwen-plus", tools=[look], thinking=True)
        assert (await agent.run("Weather?")).output == "Rain."
        results = [message["content"] for message in server.requests[1]["messages"] if message["role"] == "tool"]
    assert results == ["Ulm: rain", "Rom: rain"]
