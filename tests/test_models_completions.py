"""The completions interface: prompts written by us go out, and the text that comes back is read like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel

from qianda import Agent, ConfigurationError, Limits, MediaPart, TextPart, Thinking, tool
from qianda.models.budget import CLOSING
from qianda.models.events import Event, TextDelta, ThinkingDelta
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.testing import Call, Fault, ScriptedServer, Turn
from qianda.testing.http_server import LoopbackServer, Request, Response

FIXTURES = Path(__file__).resolve().parent / "fixtures"
made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
made.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
CHAT_ONLY = {"messages", "tools", "tool_choice", "parallel_tool_calls", "chat_template_kwargs", "response_format"}
XML_CALL = "<tool_call>\n<function=weather>\n<parameter=city>\n杭州\n</parameter>\n</function>\n</tool_call>"


@tool
async def weather(city: str) -> str:
    """Weather of a city.

    Args:
        city: its name.
    """
    return f"sunny in {city}"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("model", "template", "turn"),
    [
        ("qwen3-8b", "qwen3", Turn(reasoning="Look it up.", calls=[Call("weather", {"city": "杭州"})])),
        ("qwen3-8b-base", "qwen3", Turn(raw='<tool_call>\n{"name": "weather", "arguments": {"city": "杭州"}')),
        ("qwen3-coder", "qwen3-coder", Turn(raw=f"I look.\n{XML_CALL}")),
    ],
)
async def test_a_run_with_a_call(model: str, template: str, turn: Turn, streaming: bool) -> None:
    official = made.from_string((FIXTURES / template / "chat_template.jinja").read_text(encoding="utf-8"))
    async with ScriptedServer(turn, "晴。", model=model) as server:
        agent = Agent(
            server=server.url, tools=[weather], instructions="Be short.", streaming=streaming, api="completions"
        )
        result = await agent.run("天气?")
    assert result.output == "晴。"
    assert [message.role for message in result.messages] == ["user", "assistant", "tool", "assistant"]
    assert result.messages[2].content == "sunny in 杭州"
    first, second = server.requests
    function = {
        "name": "weather",
        "description": "Weather of a city.",
        "parameters": agent.tools["weather"].schema.parameters,
    }
    said = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "天气?"}]
    prompt = official.render(
        messages=said, tools=[{"type": "function", "function": function}], add_generation_prompt=True
    )
    assert first["prompt"] == prompt
    assert second["prompt"].startswith(prompt)
    assert second["prompt"].endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert first["stop"] == ["<|im_end|>", "<|endoftext|>"]
    assert first["max_tokens"] > 16
    assert first.get("stream", False) is streaming
    assert not CHAT_ONLY & first.keys()
    assert result.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("model", "thinking", "end"),
    [
        ("qwen3-8b", None, "assistant\n"),
        ("qwen3-8b", True, "assistant\n"),
        ("qwen3-8b", False, "assistant\n<think>\n\n</think>\n\n"),
        ("qwen3-4b-thinking-2507", None, "assistant\n<think>\n"),
        ("qwen3.5-9b", False, "assistant\n<think>\n\n</think>\n\n"),
        ("qwen3-4b-instruct-2507", None, "assistant\n"),
        ("qwen2.5-7b-instruct", False, "assistant\n"),
        ("some-other-model", None, "assistant\n"),
    ],
)
async def test_the_end_of_the_prompt_switches_the_thinking(model: str, thinking: bool | None, end: str) -> None:
    async with ScriptedServer("Hi", model=model) as server:
        await Agent(server=server.url, model=model, thinking=thinking, api="completions").run("Hello")
    assert server.requests[0]["prompt"].endswith(end)
    assert "/no_think" not in server.requests[0]["prompt"]


async def test_a_reply_that_begins_inside_the_thinking() -> None:
    model = "qwen3-4b-thinking-2507"
    async with ScriptedServer(Turn(raw="So.\n</think>\n\nForty-two."), model=model) as server:
        agent = Agent(server=server.url, api="completions")
        async with agent.stream("?") as run:
            events: list[Event] = [event async for event in run]
    assert "".join(event.text for event in events if isinstance(event, ThinkingDelta)).strip() == "So."
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Forty-two."


async def test_a_thinking_budget_is_kept_by_going_on_in_the_same_prompt() -> None:
    long = Turn(reasoning="one two three four five six seven eight nine ten", text="late", chunk=1)
    async with ScriptedServer(long, "On time.") as server:
        result = await Agent(server=server.url, thinking=Thinking(budget=5), api="completions").run("?")
    assert result.output == "On time."
    first, second = server.requests
    assert second["prompt"].startswith(first["prompt"] + "<think>\none two")
    assert second["prompt"].endswith(f"{CLOSING}\n</think>\n\n")


async def test_a_typed_answer_and_a_stream_that_breaks() -> None:
    class Sum(BaseModel):
        value: int

    broken = Turn('{"value": 5}', fault=Fault.drop(after=1))
    async with ScriptedServer(broken, "Four.", '{"value": 4}') as server:
        agent = Agent(server=server.url, output_type=Sum, api="completions")
        assert (await agent.run("2+2?")).output == Sum(value=4)


async def test_a_call_that_stays_wrong_is_not_said_to_be_forced() -> None:
    wrong = Turn(calls=[Call("weather", {})])
    async with ScriptedServer(wrong, wrong, Turn(calls=[Call("weather", {"city": "x"})]), "ok") as server:
        agent = Agent(server=server.url, tools=[weather], api="completions")
        async with agent.stream("?") as run:
            forced = [event async for event in run if event.type == "call_forced"]
    assert [event.how for event in forced if event.type == "call_forced"] == [""]
    assert run.result.output == "ok"


async def test_images_are_refused_before_anything_is_sent() -> None:
    async with ScriptedServer("never", model="qwen3-vl-8b-instruct") as server:
        with pytest.raises(ConfigurationError, match="text alone"):
            await Agent(server=server.url, api="completions").run(
                [TextPart("See:"), MediaPart("image", "data:image/png;base64,AA==")]
            )
    assert server.requests == []


class Ollama(LoopbackServer):
    """Generates in Ollama's way."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[tuple[str, dict[str, Any]]] = []

    async def answer(self, request: Request, response: Response) -> None:
        """A call first, then text."""
        body: Any = request.json()
        self.bodies.append((request.path, body))
        call = '<tool_call>\n{"name": "weather", "arguments": {"city": "x"}}\n</tool_call>'
        text = "done" if len(self.bodies) > 1 else f"<think>\nHm.\n</think>\n\n{call}"
        end = {"response": "", "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
        if body["stream"]:
            lines = [{"response": piece, "done": False} for piece in (text[:9], text[9:])] + [end]
        else:
            lines = [end | {"response": text}]
        blob = b"".join(orjson.dumps(line) + b"\n" for line in lines)
        await response.send(200, blob, {"content-type": "application/x-ndjson"})


@pytest.mark.parametrize("streaming", [True, False])
async def test_ollama_takes_raw_prompts_in_its_own_interface(streaming: bool) -> None:
    async with Ollama() as server:
        endpoint = Endpoint(
            url=f"{server.origin}/v1", kind=server_kinds()["ollama"], model="qwen3:8b", why="", num_ctx=16384
        )
        agent = Agent(server=endpoint, tools=[weather], limits=Limits(turns=3), streaming=streaming, api="completions")
        result = await agent.run("?")
    assert result.output == "done"
    assert (result.usage.input_tokens, result.usage.output_tokens) == (14, 6)
    path, body = server.bodies[0]
    assert path == "/api/generate"
    assert (body["raw"], body["stream"], body["options"]["num_ctx"]) == (True, streaming, 16384)
    assert body["options"]["stop"] == ["<|im_end|>", "<|endoftext|>"]
    assert body["prompt"].endswith("<|im_start|>assistant\n")
    assert not {"messages", "tools", "think", "skip_special_tokens"} & body.keys()
