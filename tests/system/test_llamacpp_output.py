"""Answers of a type from a real llama.cpp: its grammar holds even the demo model to the schema."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field

from qianda import Agent, AssistantMessage, Sampling, ToolCall, ToolMessage, UserMessage
from qianda.models.events import RunFinished

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(300)]


class Stop(BaseModel):
    place: str = Field(max_length=20)
    kind: Literal["museum", "park", "café"]


class Trip(BaseModel):
    """A day in a city."""

    city: str = Field(max_length=20)
    days: int = Field(ge=1, le=9)
    stops: list[Stop] = Field(min_length=1, max_length=2)


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_grammar_holds_the_first_answer_to_the_schema(streaming: bool) -> None:
    sampling = Sampling(temperature=0, max_tokens=300)
    agent = Agent(server="embedded", output_type=Trip, streaming=streaming, sampling=sampling)
    async with agent, agent.stream("Plan two days in Hangzhou.") as run:
        events = [event async for event in run]
    trip = run.result.output
    assert 1 <= trip.days <= 9
    assert all(stop.kind in ("museum", "park", "café") for stop in trip.stops)
    assert run.result.usage.requests == 1
    assert isinstance(events[-1], RunFinished)
    assert Trip.model_validate_json(events[-1].output) == trip


async def test_a_choice_and_a_number_are_held_too() -> None:
    async with Agent(server="embedded", output_type=Literal["yes", "no"], sampling=Sampling(max_tokens=50)) as agent:
        endpoint = await agent.endpoint()
        assert (await agent.run("Is Hangzhou a city?")).output in ("yes", "no")
        result = await Agent(server=endpoint, output_type=int, sampling=Sampling(max_tokens=50)).run(
            "How much is 2 + 2?"
        )
    assert isinstance(result.output, int)
    assert result.usage.requests == 1


async def test_a_schema_holds_after_calls_when_no_tools_are_offered() -> None:
    history = [
        UserMessage("How much is 6 * 7?"),
        AssistantMessage(tool_calls=(ToolCall("a", "calculator", '{"expression": "6 * 7"}'),)),
        ToolMessage("a", "calculator", "42"),
        AssistantMessage("It is 42."),
    ]
    async with Agent(server="embedded", output_type=int, sampling=Sampling(max_tokens=50)) as agent:
        result = await agent.run("Give me the number.", history=history)
    assert isinstance(result.output, int)
    assert result.usage.requests == 1
