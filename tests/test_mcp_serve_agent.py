"""A whole agent as a tool, and what tools ask while they are served: both eras of the protocol, in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import mcp_types as types
import pytest
from mcp import Client, MCPError
from pydantic import TypeAdapter

from qianda import Context, tool
from qianda.mcp_servers import load_targets
from qianda.mcp_servers.server import ToolServer
from qianda.testing import Call, ScriptedServer, Turn

Era = Literal["auto", "legacy"]
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
RESULT = TypeAdapter[Any](types.CallToolResult | types.InputRequiredResult)
WRITE = Turn(calls=[Call("write_file", {"path": "out.txt", "content": "你好"})])


class Person:
    """Answers what a server asks."""

    def __init__(self, *answers: types.ElicitResult) -> None:
        self.asked: list[types.ElicitRequestParams] = []
        self._answers = list(answers)

    async def __call__(
        self,
        context: Any,
        params: types.ElicitRequestParams,
    ) -> types.ElicitResult:
        self.asked.append(params)
        return self._answers.pop(0)


def says(**content: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content=content)


def agent_server(model: ScriptedServer, workspace: Path, agent: str = "coder") -> ToolServer:
    tools = load_targets([], agents=[agent], workspace=workspace, options={"server": model.url, "sandbox": "off"})
    return ToolServer(tools, workspace=workspace, sandbox="off")


def text(result: types.CallToolResult) -> str:
    assert isinstance(result.content[0], types.TextContent)
    return result.content[0].text


@ERAS
async def test_an_agent_does_a_task_when_the_user_agrees(mode: Era, tmp_path: Path) -> None:
    person = Person(says(decision="allow"))
    heard: list[str | None] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async with (
        asyncio.timeout(30),
        ScriptedServer(WRITE, "Written.") as model,
        Client(agent_server(model, tmp_path), elicitation_callback=person, mode=mode) as client,
    ):
        (listed,) = (await client.list_tools()).tools
        result = await client.call_tool("ask_coder", {"task": "Write out.txt"}, progress_callback=progress)
    assert listed.name == "ask_coder"
    assert listed.output_schema is not None
    assert (tmp_path / "out.txt").read_text() == "你好"
    assert text(result) == "Written."
    assert result.structured_content is not None
    assert result.structured_content["output"] == "Written."
    assert result.structured_content["finish"] == "done"
    assert result.structured_content["usage"]["requests"] == 2
    assert result.structured_content["run_id"]
    (asked,) = person.asked
    assert "write_file" in asked.message
    assert "out.txt" in asked.message
    assert "write_file: done" in "\n".join(filter(None, heard))


@ERAS
@pytest.mark.parametrize("answer", [says(decision="deny", reason="not today"), types.ElicitResult(action="decline")])
async def test_what_the_user_does_not_want_is_not_done(mode: Era, answer: types.ElicitResult, tmp_path: Path) -> None:
    person = Person(answer)
    async with asyncio.timeout(30), ScriptedServer(WRITE, "I could not.") as model:
        async with Client(agent_server(model, tmp_path), elicitation_callback=person, mode=mode) as client:
            result = await client.call_tool("ask_coder", {"task": "Write out.txt"})
        told = model.requests[1]["messages"][-1]["content"]
    assert text(result) == "I could not."
    assert not (tmp_path / "out.txt").exists()
    assert len(person.asked) == 1
    assert ("not today" in told) == (answer.action == "accept")


@ERAS
async def test_where_nobody_can_be_asked_it_counts_as_denied(mode: Era, tmp_path: Path) -> None:
    async with (
        asyncio.timeout(30),
        ScriptedServer(WRITE, "I could not.") as model,
        Client(agent_server(model, tmp_path), mode=mode) as client,
    ):
        result = await client.call_tool("ask_coder", {"task": "Write out.txt"})
    assert text(result) == "I could not."
    assert not (tmp_path / "out.txt").exists()


async def test_the_events_of_a_run_are_log_messages(tmp_path: Path) -> None:
    logged: list[types.LoggingMessageNotificationParams] = []

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        logged.append(params)

    async with (
        asyncio.timeout(30),
        ScriptedServer("One.", "Two.") as model,
        Client(agent_server(model, tmp_path), logging_callback=log, mode="legacy") as client,
    ):
        await client.call_tool("ask_coder", {"task": "Say one"})
        whole = [params.data["type"] for params in logged]
        level = types.SetLevelRequest(params=types.SetLevelRequestParams(level="debug"))
        await client.session.send_request(level, types.EmptyResult)
        await client.call_tool("ask_coder", {"task": "Say two"})
    assert whole[0] == "run_started"
    assert whole[-1] == "run_finished"
    assert "text_delta" not in whole
    assert "text_delta" in [params.data["type"] for params in logged]
    assert {params.logger for params in logged} == {"qianda.run"}


@ERAS
async def test_a_cancelled_call_stops_the_run(mode: Era, tmp_path: Path) -> None:
    begun, person = asyncio.Event(), Person()
    answered = asyncio.Event()

    @tool
    async def wait(context: Context) -> str:
        """Never ends."""
        context.progress("waiting")
        try:
            await asyncio.Event().wait()
        finally:
            answered.set()
        return ""

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        if message == "waiting":
            begun.set()

    server = ToolServer([wait], workspace=tmp_path, sandbox="off")
    async with asyncio.timeout(30), Client(server, elicitation_callback=person, mode=mode) as client:
        call = asyncio.create_task(client.call_tool("wait", {}, progress_callback=progress))
        await begun.wait()
        call.cancel()
        await answered.wait()
        with pytest.raises(asyncio.CancelledError):
            await call


@ERAS
async def test_an_agent_that_fails_is_a_result_that_says_so(mode: Era, tmp_path: Path) -> None:
    tools = load_targets([], agents=["coder"], workspace=tmp_path, options={"server": "http://127.0.0.1:9/v1"})
    async with asyncio.timeout(50), Client(ToolServer(tools, workspace=tmp_path), mode=mode) as client:
        result = await client.call_tool("ask_coder", {"task": "Anything"})
        empty = await client.call_tool("ask_coder", {"task": " "})
    assert result.is_error
    assert "127.0.0.1:9" in text(result)
    assert "Traceback" not in text(result)
    assert empty.is_error
    assert '"task" is empty' in text(empty)


async def test_a_run_that_reaches_a_limit_gives_what_there_was(tmp_path: Path) -> None:
    file = tmp_path / "short.toml"
    file.write_text('description = "Soon done."\ntools = ["calculator"]\n[limits]\nturns = 1\n')
    sums = Turn(text="Let me see.", calls=[Call("calculator", {"expression": "1+1"})])
    async with (
        asyncio.timeout(30),
        ScriptedServer(sums, "Two.") as model,
        Client(agent_server(model, tmp_path, str(file))) as client,
    ):
        (listed,) = (await client.list_tools()).tools
        result = await client.call_tool("ask_short", {"task": "Add"})
    assert (listed.name, listed.description) == ("ask_short", "Soon done.")
    assert result.is_error
    assert "limit" in str(result.content).casefold()
    assert result.structured_content is not None
    assert result.structured_content["finish"] == "limit"


@tool
async def order(dish: str, context: Context) -> str:
    """Order something.

    Args:
        dish: what.
    """
    size = await context.ask(f"How much {dish}?", ("small", "large"))
    schema = {"type": "object", "properties": {"street": {"type": "string"}}, "required": ["street"]}
    where = await context.ask("Where to?", schema=schema)
    return f"{size} {dish} to {where}"


@ERAS
async def test_a_tool_asks_twice(mode: Era, tmp_path: Path) -> None:
    person = Person(says(answer="large"), says(street="南京路"))
    server = ToolServer([order], workspace=tmp_path, sandbox="off")
    async with asyncio.timeout(30), Client(server, elicitation_callback=person, mode=mode) as client:
        result = await client.call_tool("order", {"dish": "noodles"})
    assert text(result) == "large noodles to {'street': '南京路'}"
    first = person.asked[0]
    assert isinstance(first, types.ElicitRequestFormParams)
    assert first.requested_schema["properties"]["answer"]["enum"] == ["small", "large"]


@ERAS
async def test_a_question_that_nobody_hears_is_a_failed_call(mode: Era, tmp_path: Path) -> None:
    server = ToolServer([order], workspace=tmp_path, sandbox="off")
    async with asyncio.timeout(30), Client(server, mode=mode) as client:
        result = await client.call_tool("order", {"dish": "noodles"})
    assert result.is_error
    assert "nobody is there" in text(result)


async def test_only_the_client_that_was_asked_can_go_on(tmp_path: Path) -> None:
    server = ToolServer([order], workspace=tmp_path, sandbox="off")
    person = Person()
    async with asyncio.timeout(30), Client(server, elicitation_callback=person) as client:

        async def ask(state: str | None, dish: str = "noodles", **given: Any) -> Any:
            answers: types.InputResponses = {key: says(**value) for key, value in given.items()}
            params = types.CallToolRequestParams(
                name="order", arguments={"dish": dish}, request_state=state, input_responses=answers or None
            )
            request = types.CallToolRequest(params=params)
            return await client.session.send_request(request, RESULT)

        first = await ask(None)
        assert list(first.input_requests) == ["question_1"]
        for state, dish in (("made up", "noodles"), (first.request_state, "rice")):
            with pytest.raises(MCPError, match="requestState"):
                await ask(state, dish, question_1={"answer": "small"})
        again = await ask(first.request_state, unknown={"answer": "small"})
        assert list(again.input_requests) == ["question_1"]
        second = await ask(again.request_state, question_1={"answer": "small"})
        assert list(second.input_requests) == ["question_2"]
        assert len({first.request_state, again.request_state, second.request_state}) == 3
        with pytest.raises(MCPError, match="requestState"):
            await ask(first.request_state, question_1={"answer": "large"})
        done = await ask(second.request_state, question_2={"street": "a"})
    assert done.content[0].text == "small noodles to {'street': 'a'}"
