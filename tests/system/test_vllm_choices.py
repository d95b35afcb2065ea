"""Calls that are required, named, forbidden or forced, on a real vLLM with both parsers and without one."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from qianda import Agent, UserMessage
from qianda.models.events import CallFailed, CallForced
from qianda.models.messages import ToolSchema
from qianda.models.reply import Piece, Reply, merge

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

READ = ToolSchema(
    "read_file",
    "Read a file.",
    {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
)
CLOCK = ToolSchema("get_time", "The time.", {"type": "object", "properties": {}})
HERMES = '<tool_call>\n{"name": "read_file", "arguments": {"path": "a.txt"}}\n</tool_call>'
XML = "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>\n</tool_call>"
TEXT = {"hermes": HERMES, "xml": XML, "bare": HERMES}
NAMED = {"type": "function", "function": {"name": "read_file"}}

both_ways = pytest.mark.parametrize("streaming", [True, False], ids=["SSE", "JSON"])
thinking_or_not = pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "not thinking"])


def on(*configurations: str) -> Any:
    return pytest.mark.parametrize("vllm", configurations, indirect=True)


def said(text: str) -> dict[str, str]:
    return {"thought": "I look at what is asked.", "text": text}


async def ask(agent: Agent, prompt: str, fields: dict[str, Any]) -> Reply:
    pieces: list[Piece] = []
    async with agent.opened() as resources:
        client = resources.client
        async for batch in client.ask([UserMessage(prompt)], [READ, CLOCK], client.encoder(), fields=fields):
            assert isinstance(batch, list), batch
            pieces += batch
    return merge(pieces)


@on("hermes", "xml")
@both_ways
@thinking_or_not
@pytest.mark.parametrize("choice", ["auto", "required", NAMED, "none"], ids=["auto", "required", "named", "none"])
async def test_a_choice(vllm: Any, choice: Any, streaming: bool, thinking: bool) -> None:
    marker = vllm.say(said(TEXT[vllm.configuration]))
    agent = Agent(server=vllm.url, model=vllm.models[0], streaming=streaming, thinking=thinking)
    reply = await ask(agent, f"Read it. {marker}", {"tool_choice": choice})
    if choice == "none" and vllm.configuration == "xml":
        # This parser takes the call out of the text all the same, and keeps it.
        assert (reply.text, reply.calls, reply.broken) == ("", (), ())
        return
    assert [(call.name, call.arguments) for call in reply.calls] == [("read_file", '{"path": "a.txt"}')]
    assert (reply.text, reply.broken, reply.finish) == ("", (), "tool_calls")
    assert bool(reply.reasoning) == thinking


@on("bare")
@both_ways
@thinking_or_not
@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
async def test_without_a_parser_calls_are_read_from_the_text(
    vllm: Any, streaming: bool, thinking: bool, told: bool
) -> None:
    paths: list[str] = []

    def read_file(path: str) -> str:
        """Read a file."""
        paths.append(path)
        return "Hello."

    marker = vllm.say(said(HERMES), said("All is done."))
    more = {"tool_choice": "none"} if told else {}
    agent = Agent(
        server=vllm.url,
        model=vllm.models[0],
        tools=[read_file],
        streaming=streaming,
        thinking=thinking,
        extra_body=more,
    )
    result = await agent.run(f"Read it. {marker}")
    assert (result.output, paths) == ("All is done.", ["a.txt"])


@on("xml")
@both_ways
@thinking_or_not
async def test_a_call_that_the_parser_drops_is_forced(vllm: Any, streaming: bool, thinking: bool) -> None:
    paths: list[str] = []

    def read_file(path: Literal["a.txt"]) -> str:
        """Read a file."""
        paths.append(path)
        return "Hello."

    marker = vllm.say({**said(HERMES), "held": XML}, said("All is done."))
    agent = Agent(server=vllm.url, model=vllm.models[0], tools=[read_file], streaming=streaming, thinking=thinking)
    async with agent.stream(f"Read it. {marker}") as run:
        events = [event async for event in run]
    assert (run.result.output, paths) == ("All is done.", ["a.txt"])
    assert [event.how for event in events if isinstance(event, CallForced)] == ["named choice"]


@on("hermes", "xml")
@both_ways
async def test_a_forced_call_fits_the_schema_whatever_the_model_means(vllm: Any, streaming: bool) -> None:
    paths: list[str] = []

    def read_file(path: Literal["a.txt", "b.txt"]) -> str:
        """Read a file."""
        paths.append(path)
        return "Hello."

    wrong = said(TEXT[vllm.configuration].replace("a.txt", "c.txt"))
    marker = vllm.say(wrong, wrong, wrong, said("All is done."))
    agent = Agent(server=vllm.url, model=vllm.models[0], tools=[read_file], streaming=streaming)
    async with agent.stream(f"Read it. {marker}") as run:
        events = [event async for event in run]
    assert run.result.output == "All is done."
    assert [event.how for event in events if isinstance(event, CallForced)] == ["named choice"]
    assert sum(isinstance(event, CallFailed) for event in events) == 2
    assert paths in (["a.txt"], ["b.txt"])
