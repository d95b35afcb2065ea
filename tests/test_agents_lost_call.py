"""A call that the server's stream lost is asked for again, in one document."""

from __future__ import annotations

import pytest

from qianda import Agent, ModelOutputError
from qianda.models.events import Retrying
from qianda.models.messages import Usage
from qianda.testing import Call, ScriptedServer, Turn


def weather(city: str) -> str:
    """The weather."""
    return f"It is sunny in {city}."


@pytest.mark.parametrize("reasoning", ["", "I look it up."])
async def test_what_a_stream_lost_is_asked_for_in_one_document(reasoning: str) -> None:
    # As vLLM streams a call in XML with its Hermes parser: nothing but the count of its tokens.
    lost = Turn(reasoning=reasoning, usage=Usage(300, 40, reasoning_tokens=6 if reasoning else 0))
    call = Turn(raw="<tool_call>\n<function=weather>\n<parameter=city>\nUlm\n</parameter>\n</function>\n</tool_call>")
    async with (
        ScriptedServer(lost, call, "sunny") as server,
        Agent(server=server.url, tools=[weather]).stream("go") as run,
    ):
        events = [event async for event in run]
    assert run.result.output == "sunny"
    assert [bool(request.get("stream")) for request in server.requests] == [True, False, False]
    assert "passed on nothing" in next(event for event in events if isinstance(event, Retrying)).cause
    assert server.requests[0]["messages"] == server.requests[1]["messages"]


async def test_what_a_document_lost_too_is_asked_for_by_force() -> None:
    lost = Turn(usage=Usage(300, 40))
    async with ScriptedServer(lost, lost, Turn(calls=[Call("weather", {"city": "Ulm"})]), "sunny") as server:
        result = await Agent(server=server.url, tools=[weather]).run("go")
    assert result.output == "sunny"
    assert ["tool_choice" in request for request in server.requests] == [False, False, True, False]


async def test_what_is_lost_again_and_again_ends_as_any_empty_answer() -> None:
    async with ScriptedServer(default=Turn(usage=Usage(300, 40))) as server:
        with pytest.raises(ModelOutputError, match="empty"):
            await Agent(server=server.url, tools=[weather]).run("go")
        assert len(server.requests) == 7
        with pytest.raises(ModelOutputError, match="empty"):
            await Agent(server=server.url).run("go")
    assert len(server.requests) == 11
