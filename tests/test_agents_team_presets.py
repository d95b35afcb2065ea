"""The ready-made agents load, are small, and do a scripted task."""

from __future__ import annotations

import pytest

from qianda import load_agent
from qianda.agents.library import list_agents
from qianda.models.events import Notice
from qianda.testing import Call, ScriptedServer, Turn

READY = ["data-analyst", "math", "planner", "researcher", "role-play", "translator"]


def test_they_are_all_there() -> None:
    from pathlib import Path

    found = {agent.name: agent for agent in list_agents(Path.cwd()) if agent.source == "built-in"}
    assert sorted({"assistant", "coder", *READY}) == sorted(found)
    assert all(agent.description and not agent.problem for agent in found.values())


@pytest.mark.parametrize("name", READY)
async def test_each_runs(name: str) -> None:
    async with ScriptedServer("Done.") as server:
        agent = load_agent(name, server=server.url)
        async with agent.stream("Go") as run:
            notices = [event.text async for event in run if isinstance(event, Notice)]
        assert run.result.output == "Done."
    assert notices == []
    prompt = server.requests[0]["messages"][0]["content"]
    assert prompt == agent.instructions
    assert len(prompt) < 1_500
    assert "{folder}" not in prompt


@pytest.mark.parametrize("name", ["planner", "researcher"])
async def test_those_that_only_look_cannot_write(name: str) -> None:
    agent = load_agent(name, permissions="auto")
    assert agent.permissions.mode == "read-only"
    assert "write_file" not in agent.tools


async def test_math_reasons_and_runs_programs_in_turn() -> None:
    program = Turn("I count them.", calls=[Call("python", {"code": "print(sum(n % 7 == 0 for n in range(1, 100)))"})])
    check = Turn("99 / 7, without the rest:", calls=[Call("calculator", {"expression": "99 // 7"})])
    async with ScriptedServer(program, check, "\\boxed{14}") as server:
        agent = load_agent("math", server=server.url, permissions="auto", sandbox="off")
        assert (await agent.run("How many multiples of 7 are below 100?")).output == "\\boxed{14}"
    told = [request["messages"][-1]["content"] for request in server.requests[1:]]
    assert ["14" in text for text in told] == [True, True]
