"""Runs that go on after a stop: what was said is read, the plan is shown, plan mode may come later."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent, files, tool
from qianda.agents.journal import Journal, MemoryJournal, open_journal
from qianda.models.events import CallDenied, CallFinished, Event, InputReceived, Notice, PlanChanged
from qianda.models.messages import UserMessage
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools.builtin import plan as plan_tool


def planning(**arguments: Any) -> Turn:
    return Turn(calls=[Call("plan", arguments)])


def texts(run: Any) -> list[Any]:
    return [message.content for message in run.messages if isinstance(message, UserMessage)]


@pytest.fixture(params=["memory", "file"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return MemoryJournal() if request.param == "memory" else open_journal(tmp_path / "journal.db")


@tool(read_only=True)
async def look() -> str:
    """Look."""
    return "seen"


LOOK = Turn(calls=[Call("look")])


async def stopped(run: Any, *said: str) -> None:
    """A run that is told something, and stops before it can read that."""
    async with asyncio.timeout(20), run:
        async for event in run:
            if isinstance(event, CallFinished):
                for text in said:
                    run.steer(text)
                run.cancel()


async def events_of(run: Any) -> list[Event]:
    async with asyncio.timeout(20), run:
        return [event async for event in run]


async def test_what_was_said_and_not_read_before_a_stop_is_read_after_it(journal: Journal) -> None:
    async with ScriptedServer(LOOK, LOOK, "Done.", "Done.") as server:
        agent = Agent(server=server.url, tools=[look], journal=journal)
        run = agent.stream("go")
        run.steer("before it began")
        await stopped(run, "in French", "and short")
        assert texts(run) == ["go", "before it began"]
        again = agent.resume(run.id)
        await stopped(again)
        assert texts(again) == ["go", "before it began", "in French", "and short"]
        last = agent.resume(run.id)
        events = await events_of(last)
    assert last.result.output == "Done."
    assert texts(last) == ["go", "before it began", "in French", "and short"]  # once
    assert not [event for event in events if isinstance(event, InputReceived) and event.steering]
    sent = [message["content"] for message in server.requests[-1]["messages"]]
    assert sent.index("seen") < sent.index("in French") == sent.index("and short") - 1


async def test_what_is_said_while_a_run_takes_its_path_again_comes_after_it(journal: Journal) -> None:
    async with ScriptedServer(LOOK, LOOK, "Done.") as server:
        agent = Agent(server=server.url, tools=[look], journal=journal)
        run = agent.stream("go")
        await stopped(run)
        again = agent.resume(run.id)
        again.steer("mind the step")
        await events_of(again)
    roles = [message["role"] for message in server.requests[-1]["messages"]]
    assert roles[:4] == ["user", "assistant", "tool", "user"]


async def test_a_fork_from_before_does_not_hear_it(journal: Journal) -> None:
    async with ScriptedServer(LOOK, "Done.", "Done.") as server:
        agent = Agent(server=server.url, tools=[look], journal=journal)
        session = agent.session("trip")
        await stopped(session.stream("go"), "in French")
        fork = session.fork("other", at="1.1").resume()
        await events_of(fork)
    assert texts(fork) == ["go"]


async def test_the_plan_is_shown_when_a_run_goes_on(journal: Journal) -> None:
    turns = [planning(steps=["a", "b"]), planning(state="done"), planning(state="done"), "Done."]
    async with ScriptedServer(*turns) as server:
        agent = Agent(server=server.url, tools=[plan_tool], journal=journal)
        run = agent.stream("go")
        async with asyncio.timeout(20), run:
            async for event in run:
                if isinstance(event, PlanChanged) and event.plan.open == [2]:
                    run.cancel()
        events = await events_of(agent.resume(run.id))
    shown = [event.plan.open for event in events if isinstance(event, PlanChanged)]
    assert shown == [[2], []]
    [first] = [index for index, event in enumerate(events) if isinstance(event, Notice) and "Resumed" in event.text]
    assert isinstance(events[first + 1], PlanChanged)


async def test_a_plan_of_the_session_that_the_run_did_not_touch_is_not_asked_for(journal: Journal) -> None:
    """Whether the run goes on after a stop or not."""
    async with ScriptedServer(planning(steps=["a", "b", "c"]), "So far.", "So far.", LOOK, "It is noon.") as server:
        session = Agent(server=server.url, tools=[plan_tool, look], journal=journal).session("trip")
        await session.run("Begin")
        run = session.stream("What time is it?")
        await stopped(run)
        again = session.resume()
        events = await events_of(again)
    assert again.result.output == "It is noon."
    assert len(server.requests) == 5
    assert not [event for event in events if isinstance(event, Notice) and "open steps" in event.text]
    [shown] = [event.plan for event in events if isinstance(event, PlanChanged)]
    assert shown.open == [1, 2, 3]


async def test_a_plan_that_the_run_changed_before_the_stop_is_asked_for(journal: Journal) -> None:
    async with ScriptedServer(planning(steps=["a", "b"]), LOOK, "Done.", "Really.") as server:
        agent = Agent(server=server.url, tools=[plan_tool, look], journal=journal)
        run = agent.stream("go")
        async with asyncio.timeout(20), run:
            async for event in run:
                if isinstance(event, CallFinished) and event.name == "look":
                    run.cancel()
        again = agent.resume(run.id)
        await events_of(again)
    assert "Steps of your plan are open" in server.requests[-1]["messages"][-1]["content"]


async def test_plan_mode_can_begin_when_a_run_goes_on(journal: Journal, tmp_path: Path) -> None:
    write = Turn(calls=[Call("write_file", {"path": "new.txt", "content": "x"})])
    async with ScriptedServer("Hm.", LOOK, write, planning(steps=["write it"]), write, "Written.") as server:

        def agent(*, plan: bool, **more: Any) -> Agent:
            options: dict[str, Any] = {"permissions": "auto", "journal": journal, "workspace": tmp_path, **more}
            return Agent(server=server.url, tools=[look, *files()], plan=plan, **options)

        asked: list[str] = []

        async def ask(question: Any) -> str:
            assert not (tmp_path / "new.txt").exists()
            asked.append(question.question)
            return "Accept"

        run = agent(plan=False).stream("go")
        async with asyncio.timeout(20), run:
            async for event in run:
                if event.type == "text_delta" and not run.has_steering:
                    run.steer("go on")  # so that its first answer is none
                elif isinstance(event, CallFinished):
                    run.cancel()
        again = agent(plan=True, ask=ask).resume(run.id)
        events = await events_of(again)
    assert [event.name for event in events if isinstance(event, CallDenied)] == ["write_file"]
    assert len(asked) == 1
    assert (tmp_path / "new.txt").exists()
    assert texts(again) == ["go", "go on"]  # what was answered without a plan is not asked for one afterwards
