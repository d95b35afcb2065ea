"""Models that go in circles: told, calmed and told to plan anew, stopped; also where several calls take turns."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest

from qianda import Agent, ModelOutputError, tool
from qianda.agents.ladder import UNCHANGED
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools.builtin import plan


@tool
async def look(at: str) -> str:
    """Looks."""
    return f"{at} is as it was"


def looking(*places: str) -> Any:
    turns = cycle([Turn(calls=[Call("look", {"at": place})]) for place in places])
    return lambda body: next(turns)


def results(server: ScriptedServer) -> list[str]:
    return [message["content"] for message in server.requests[-1]["messages"] if message["role"] == "tool"]


async def test_two_calls_in_turns_are_a_circle() -> None:
    async with ScriptedServer(default=looking("a", "b")) as server:
        with pytest.raises(ModelOutputError, match="the same call of look 8 times in turns with others, and nothing"):
            await Agent(server=server.url, tools=[look]).run("go")
    told = results(server)
    assert [index for index, text in enumerate(told) if UNCHANGED in text] == [4, 5]
    assert told[12].startswith("This was not run again")
    thinks = [body.get("chat_template_kwargs") for body in server.requests]
    assert thinks[7:9] == [{"enable_thinking": False}] * 2  # after the fourth time
    assert thinks[6] is None


async def test_something_new_starts_the_count_over() -> None:
    places = [place for number in range(6) for place in ("a", f"new {number}")]
    async with ScriptedServer(*[Turn(calls=[Call("look", {"at": place})]) for place in places], "Seen.") as server:
        assert (await Agent(server=server.url, tools=[look]).run("go")).output == "Seen."
    assert not any(UNCHANGED in text for text in results(server))


async def test_a_circle_in_a_plan_is_planned_anew() -> None:
    turns: list[Any] = [Turn(calls=[Call("plan", {"steps": ["look", "say"]})])]
    turns += [Turn(calls=[Call("look", {"at": "a"})])] * 4
    turns += [Turn(calls=[Call("plan", {"steps": ["say so"]})]), "It is as it was."]
    async with ScriptedServer(*turns) as server:
        outcome = await Agent(server=server.url, tools=[look, plan]).run("go")
    assert "call plan with other steps that remain" in results(server)[4]
    assert outcome.plan is not None
    assert [step.text for step in outcome.plan.steps] == ["say so"]
