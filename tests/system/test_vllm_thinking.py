"""Thinking budgets and typed answers on a real vLLM."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

from qianda import Agent, AssistantMessage, Thinking
from qianda.models.budget import CLOSING

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

LONG = " ".join(f"Thought {number} of many." for number in range(200))
BUDGET = 20


def on(*configurations: str) -> Any:
    return pytest.mark.parametrize("vllm", configurations, indirect=True)


@on("hermes", "xml", "bare")
@pytest.mark.parametrize("streaming", [True, False], ids=["SSE", "JSON"])
async def test_a_budget_of_thinking_is_held(vllm: Any, streaming: bool) -> None:
    marker = vllm.say({"thought": LONG, "text": "All is done."})
    agent = Agent(server=vllm.url, model=vllm.models[0], thinking=Thinking(budget=BUDGET), streaming=streaming)
    result = await agent.run(f"Think. {marker}")
    assert result.output == "All is done."
    message = result.messages[-1]
    assert isinstance(message, AssistantMessage)
    thought, closing, _ = message.reasoning.partition(CLOSING)
    assert 0 < len(thought.split()) <= BUDGET
    assert thought.strip() in LONG
    # The server ends the thinking itself where it has a reasoning parser; else the client does, and goes on.
    assert bool(closing) == (vllm.configuration == "bare")


class Stop(BaseModel):
    place: str
    kind: Literal["museum", "park"]


class Trip(BaseModel):
    """A day in a city."""

    city: str
    stops: list[Stop]


TRIP = '{"city": "杭州", "stops": [{"place": "West Lake", "kind": "park"}]}'


@on("hermes", "xml")
@pytest.mark.parametrize("streaming", [True, False], ids=["SSE", "JSON"])
@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "not thinking"])
@pytest.mark.parametrize("text", [TRIP, TRIP.replace("park", "lake")], ids=["right", "held to the schema"])
async def test_a_typed_answer_is_held_by_the_grammar(vllm: Any, streaming: bool, thinking: bool, text: str) -> None:
    marker = vllm.say({"thought": "I plan.", "text": text})
    agent = Agent(server=vllm.url, model=vllm.models[0], output_type=Trip, thinking=thinking, streaming=streaming)
    result = await agent.run(f"Plan a day. {marker}")
    assert result.usage.requests == 1
    assert (result.output.city, len(result.output.stops)) == ("杭州", 1)
    assert result.output.stops[0].kind in (("park",) if text == TRIP else ("museum", "park"))
    message = result.messages[-1]
    assert isinstance(message, AssistantMessage)
    assert bool(message.reasoning) == thinking


@on("bare")
async def test_a_typed_answer_of_a_server_without_a_reasoning_parser(vllm: Any) -> None:
    marker = vllm.say({"text": TRIP})
    agent = Agent(server=vllm.url, model=vllm.models[0], output_type=Trip)
    result = await agent.run(f"Plan a day. {marker}")
    assert (result.output.city, result.usage.requests) == ("杭州", 1)


@on("hermes")
@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "not thinking"])
async def test_a_typed_answer_beside_tools_comes_by_a_call(vllm: Any, thinking: bool) -> None:
    def get_time() -> str:
        """The time."""
        return "Noon."

    clock = '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>'
    final = f'<tool_call>\n{{"name": "final_answer", "arguments": {TRIP}}}\n</tool_call>'
    marker = vllm.say({"thought": "First the time.", "text": clock}, {"thought": "Now.", "text": final})
    agent = Agent(server=vllm.url, model=vllm.models[0], tools=[get_time], output_type=Trip, thinking=thinking)
    result = await agent.run(f"Plan a day. {marker}")
    assert result.output.stops == [Stop(place="West Lake", kind="park")]
