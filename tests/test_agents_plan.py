"""Plans: written and updated by one tool, revised after a failed step, finished; accepted first in plan mode."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent, LimitReached, Limits, files, shell, tool
from qianda.models.events import CallDenied, Event, Notice, PlanChanged, QuestionAsked, RunFinished, from_json, to_json
from qianda.models.plan import Plan, PlanStep, plan_text, step_texts
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools.builtin import plan as plan_tool


def planning(**arguments: Any) -> Turn:
    return Turn(calls=[Call("plan", arguments)])


def write(name: str) -> Turn:
    return Turn(calls=[Call("write_file", {"path": name, "content": "x"})])


def states(plan: Plan | None) -> list[str]:
    assert plan is not None
    return [step.state for step in plan.steps]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def result(server: ScriptedServer, request: int) -> str:
    return server.requests[request]["messages"][-1]["content"]


def agent(server: ScriptedServer, **options: Any) -> Agent:
    return Agent(server=server.url, tools=options.pop("tools", [plan_tool]), **options)


async def events_of(run: Any) -> list[Event]:
    async with asyncio.timeout(20), run:
        return [event async for event in run]


STEPS = [f"Write part {number}" for number in range(1, 11)]


async def test_ten_steps_of_which_two_fail_are_replanned_and_finished(tmp_path: Path) -> None:
    @tool
    async def produce(part: int, way: str = "fast") -> str:
        """Produce a part."""
        if part in (4, 7) and way == "fast":
            raise ValueError("the fast way is closed")
        (tmp_path / str(part)).write_text(way)
        return "produced"

    def produce_call(part: int, **more: str) -> Turn:
        return Turn(calls=[Call("produce", {"part": part, **more})])

    turns: list[Any] = [planning(steps=STEPS)]
    revised = {4: [f"{text} slowly" if text == STEPS[3] else text for text in STEPS[3:]], 7: None}
    number = 0  # of the step in the plan as it stands: failed steps stay in it
    for part in range(1, 11):
        number += 1
        turns.append(produce_call(part))
        if part in revised:
            turns.append(planning(step=number, state="failed", note="the fast way is closed"))
            number += 1
            turns.append(planning(steps=revised[part] or [f"Write part {part} slowly", *STEPS[part:]]))
            turns.append(produce_call(part, way="slow"))
        turns.append(planning(state="done"))
    async with ScriptedServer(*turns, "All parts are there.") as server:
        run = agent(server, tools=[plan_tool, produce], limits=Limits(turns=100)).stream("Write ten parts")
        events = await events_of(run)
    assert run.result.output == "All parts are there."
    assert names(tmp_path) == sorted(map(str, range(1, 11)))
    assert not server.remaining
    done = run.result.plan
    assert done is not None
    assert states(done).count("done") == 10
    assert [step for step in done.steps if step.state == "failed"] == [
        PlanStep(STEPS[3], "failed", "the fast way is closed"),
        PlanStep(STEPS[6], "failed", "the fast way is closed"),
    ]
    shown = [event for event in events if isinstance(event, PlanChanged)]
    assert [step.text for step in shown[0].plan.steps] == STEPS
    assert states(shown[0].plan) == ["doing"] + ["pending"] * 9
    assert shown[-1].plan == done
    assert from_json(to_json(shown[-1])) == shown[-1]
    told = [body["messages"][-1]["content"] for body in server.requests]
    assert sum("has failed. Call plan now with the steps that remain" in text for text in told) == 2


async def test_a_plan_is_optional_and_costs_no_request() -> None:
    async with ScriptedServer("It is 4.") as server:
        outcome = await agent(server).run("2 + 2?")
    assert (outcome.plan, len(server.requests)) == (None, 1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state": "done"}, "there is no plan yet; write it with steps"),
        ({"steps": ["a", "b"], "step": 7, "state": "done"}, "there is no step 7; the plan has 2"),
        ({"steps": ["a", "b"], "step": 1, "state": "done"}, "1 of 2 over. Now 2. b"),
        ({"steps": ["1. a", "2) [ ] b", "- c", "a"]}, "The plan:\n1. [doing] a\n2. [ ] b\n3. [ ] c"),
        ({"steps": ["a"], "state": "skipped", "note": "not needed"}, "All steps are over."),
    ],
)
async def test_what_the_model_reads(change: dict[str, Any], told: str) -> None:
    async with ScriptedServer(planning(**change), "ok", "ok") as server:
        await agent(server).run("go")
    assert result(server, 1) == told


async def test_steps_that_are_left_open_are_asked_for_once() -> None:
    async with ScriptedServer(planning(steps=["a", "b", "c"]), "Done.", "Really done.") as server:
        run = agent(server).stream("go")
        events = await events_of(run)
    assert result(server, 2).startswith("Steps of your plan are open: 1, 2, 3.")
    assert run.result.output == "Really done."
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert notices == [
        "The model answered with open steps in its plan (1, 2, 3); it is asked to go on",
        "The model answered with open steps in its plan (1, 2, 3)",
    ]


async def test_the_answer_is_the_last_step_itself() -> None:
    async with ScriptedServer(planning(steps=["look", "say"]), planning(state="done"), "It is so.") as server:
        outcome = await agent(server).run("go")
    assert states(outcome.plan) == ["done", "done"]
    assert len(server.requests) == 3


async def test_a_limit_gives_the_plan_as_far_as_it_came() -> None:
    async with ScriptedServer(planning(steps=["a", "b"]), planning(state="done"), "x") as server:
        with pytest.raises(LimitReached) as caught:
            await agent(server, limits=Limits(turns=2)).run("go")
    assert caught.value.result is not None
    assert states(caught.value.result.plan) == ["done", "doing"]


def test_what_is_over_stays_when_a_plan_is_revised() -> None:
    plan = Plan().revised(["a", "b", "c"]).begun().moved(1, "done", "note").moved(2, "failed")
    assert states(plan.revised(["d", "e"])) == ["done", "failed", "pending", "pending"]
    assert [step.text for step in plan.revised(["a", "b", "x"]).steps] == ["a", "b", "x"]  # b is tried again
    assert states(plan.revised(["a", "b", "x"])) == ["done", "pending", "pending"]
    assert plan_text(plan) == "1. [x] a (note)\n2. [failed] b\n3. [ ] c"
    assert step_texts(plan_text(plan).splitlines()) == ["a (note)", "b", "c"]
    assert step_texts(["2.5 litres of milk", "-", " * eggs"]) == ["2.5 litres of milk", "eggs"]


# Plan mode

WRITES = [write("early.txt"), planning(steps=["look", "write it"])]


async def answering(server: ScriptedServer, folder: Path, *answers: Any, **options: Any) -> Any:
    """Run in plan mode; each question is answered by the next answer."""
    left = list(answers)
    events: list[Event] = []
    run = Agent(
        server=server.url, tools=[*files(), *shell()], plan=True, workspace=folder, permissions="auto", **options
    ).stream("go")
    async with asyncio.timeout(20), run:
        async for event in run:
            events.append(event)
            if isinstance(event, QuestionAsked):
                assert not names(folder)
                run.answer(event.request_id, left.pop(0))
    return run, events


@pytest.mark.parametrize("answer", ["Accept the plan", "yes", "1. look\n2. write it", {"steps": ["look", "write it"]}])
async def test_in_plan_mode_nothing_is_written_before_the_plan_is_accepted(tmp_path: Path, answer: Any) -> None:
    command = Turn(calls=[Call("run_command", {"command": "touch early"}), Call("run_command", {"command": "ls"})])
    turns = [*WRITES[:1], command, *WRITES[1:], planning(state="done"), write("late.txt"), "Written."]
    async with ScriptedServer(*turns) as server:
        run, events = await answering(server, tmp_path, answer)
    assert names(tmp_path) == ["late.txt"]
    assert (run.result.finish, run.result.output) == ("done", "Written.")
    assert [event.rule for event in events if isinstance(event, CallDenied)] == ["plan mode"] * 2
    assert "until the user has accepted your plan" in server.requests[0]["messages"][0]["content"]
    assert "accepted the plan. Carry it out:\n1. [doing] look\n2. [ ] write it" in result(server, 3)
    shown = [event.plan for event in events if isinstance(event, PlanChanged)]
    assert [plan.accepted for plan in shown] == [False, True, True, True]


async def test_a_plan_is_sent_back_with_words_then_changed_by_the_user(tmp_path: Path) -> None:
    turns = [*WRITES[1:], planning(steps=["look twice", "write it"]), write("late.txt"), "Said.", "Said."]
    mine = Plan((PlanStep("look"), PlanStep("write late.txt")))
    async with ScriptedServer(*turns) as server:
        run, _ = await answering(server, tmp_path, "Look twice!", mine)
    assert "does not accept the plan, and says: Look twice!" in result(server, 1)
    assert result(server, 2).startswith("The user has changed and accepted the plan. Carry it out:\n1. [doing] look\n")
    assert [step.text for step in run.result.plan.steps] == ["look", "write late.txt"]


@pytest.mark.parametrize("answer", ["Reject", None])
async def test_a_rejected_plan_is_not_carried_out(tmp_path: Path, answer: Any) -> None:
    async with ScriptedServer(*WRITES[1:], write("late.txt"), "Nothing was done.") as server:
        run, _ = await answering(server, tmp_path, answer)
    assert result(server, 1) == "The user does not accept the plan. Change nothing, and end."
    assert not names(tmp_path)
    assert run.result.output == "Nothing was done."


async def test_where_nobody_can_accept_the_plan_is_the_answer(tmp_path: Path) -> None:
    async with ScriptedServer(*WRITES) as server:
        one = Agent(server=server.url, tools=files(), plan=True, workspace=tmp_path, permissions="auto")
        outcome = await one.run("go")
    assert (outcome.finish, outcome.output) == ("plan", "1. [ ] look\n2. [ ] write it")
    assert not names(tmp_path)
    async with ScriptedServer(*WRITES) as server:
        one = Agent(server=server.url, tools=files(), plan=True, workspace=tmp_path, permissions="auto")
        events = await events_of(one.stream("go"))
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert (last.reason, last.output) == ("plan", outcome.output)


async def test_in_plan_mode_an_answer_without_a_plan_is_asked_for_one_once(tmp_path: Path) -> None:
    async with ScriptedServer("I would write it.", "There is nothing to change.") as server:
        run, _ = await answering(server, tmp_path)
    assert result(server, 1).startswith("There is no plan yet.")
    assert run.result.output == "There is nothing to change."


async def test_tools_of_the_user_wait_for_the_plan_too(tmp_path: Path) -> None:
    ran: list[str] = []

    @tool
    async def deploy() -> str:
        """Deploys."""
        ran.append("deploy")
        return "deployed"

    @tool(read_only=True)
    async def look() -> str:
        """Looks."""
        ran.append("look")
        return "seen"

    turns = [Turn(calls=[Call("deploy"), Call("look")]), planning(steps=["deploy"]), Turn(calls=[Call("deploy")]), "ok"]
    async with ScriptedServer(*turns) as server:

        async def ask(question: Any) -> str:
            assert ran == ["look"]
            return "Accept"

        one = Agent(server=server.url, tools=[deploy, look], plan=True, ask=ask, workspace=tmp_path)
        await one.run("go")
    assert ran == ["look", "deploy"]


async def test_the_next_run_of_a_session_goes_on_with_the_plan(tmp_path: Path) -> None:
    record = tmp_path / "journal.db"
    async with ScriptedServer(planning(steps=["a", "b", "c"]), planning(state="done"), "So far.", "So far.") as server:
        await agent(server, journal=record).session("trip").run("Begin")
    turns = [planning(state="done"), planning(state="skipped", note="no need"), "All done.", "And now?", "Well."]
    async with ScriptedServer(*turns) as server:
        session = agent(server, journal=record).session("trip")
        assert session.plan is not None
        outcome = await session.run("Go on")
        assert states(outcome.plan) == ["done", "done", "skipped"]
        assert session.plan is None  # it is carried out
        assert (await session.run("Thanks")).output == "And now?"


async def test_a_run_that_goes_on_knows_its_plan_and_that_it_was_accepted(tmp_path: Path) -> None:
    asked: list[str] = []

    async def ask(question: Any) -> str:
        asked.append(question.question)
        return "Accept"

    def one(server: ScriptedServer) -> Agent:
        return agent(server, tools=files(), plan=True, ask=ask, journal=record, permissions="auto", workspace=folder)

    record, folder = tmp_path / "journal.db", tmp_path / "work"
    folder.mkdir()
    async with ScriptedServer(planning(steps=["look", "write it"]), planning(state="done")) as server:
        run = one(server).stream("go")
        async with asyncio.timeout(20), run:
            async for event in run:
                if isinstance(event, PlanChanged) and states(event.plan) == ["done", "doing"]:
                    run.cancel()
    assert states(run.result.plan) == ["done", "doing"]
    async with ScriptedServer(write("late.txt"), "Written.") as server:
        resumed = one(server).resume(run.id)
        await events_of(resumed)
    assert states(resumed.result.plan) == ["done", "done"]
    assert (names(folder), len(asked)) == (["late.txt"], 1)


async def test_plan_mode_holds_in_a_run_that_is_resumed_without_it(tmp_path: Path) -> None:
    async def nobody(question: Any) -> None:
        run.cancel()

    record, folder = tmp_path / "journal.db", tmp_path / "work"
    folder.mkdir()
    options: dict[str, Any] = {"journal": record, "permissions": "auto", "workspace": folder}
    async with ScriptedServer(planning(steps=["write it"])) as server:
        run = agent(server, tools=files(), plan=True, ask=nobody, **options).stream("go")
        await events_of(run)
    async with ScriptedServer(write("early.txt"), "No.", "No.", "No.") as server:
        resumed = agent(server, tools=files(), **options).resume(run.id)
        events = await events_of(resumed)
    assert "until the user has accepted your plan" in server.requests[0]["messages"][0]["content"]
    assert "plan" in [tool["function"]["name"] for tool in server.requests[0]["tools"]]
    assert names(folder) == []
    assert [event.name for event in events if isinstance(event, CallDenied)] == ["write_file"]


async def test_a_plan_outlives_the_summary_of_a_long_conversation() -> None:
    async with ScriptedServer(planning(steps=["a", "b"]), "x", "y") as server:
        run = agent(server).stream("go")
        await events_of(run)
    assert [remind() for remind in run.reminders] == ["Your plan:\n1. [doing] a\n2. [ ] b"]
