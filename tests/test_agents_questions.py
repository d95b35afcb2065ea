"""Tools that ask the user: by an event, by a callback, with nobody there, in a thread, and again after a stop."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent, Context, tool
from qianda.agents.journal import MemoryJournal
from qianda.models.events import CallFailed, CallFinished, QuestionAsked, from_json, to_json
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools import Answer, ApprovalRequest, Decision, Question, ask_user
from qianda.tools.effects import Effects
from qianda.tools.questions import asked_at_once

FORM = {
    "type": "object",
    "properties": {"seats": {"type": "integer"}, "note": {"type": "string"}},
    "required": ["seats"],
}


@tool(idempotent=True)
async def paint(context: Context) -> str:
    """Paint the wall."""
    return f"painted {await context.ask('Which colour?', ['red', 'blue'])}"


@tool
def paint_in_a_thread(context: Context) -> str:
    """Paint the wall."""
    return f"painted {asyncio.run(context.ask('Which colour?', ['red', 'blue']))}"


@tool
async def book(context: Context) -> Any:
    """Book seats."""
    return await context.ask("Your seats?", schema=FORM)


def calling(name: str, arguments: dict[str, Any] | None = None) -> ScriptedServer:
    return ScriptedServer(Turn(calls=[Call(name, arguments or {})]), Turn("Done."))


def told(server: ScriptedServer) -> str:
    return server.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("made", "given", "content"),
    [
        (paint, "blue", "painted blue"),
        (paint, None, "painted None"),
        (paint_in_a_thread, "green", "painted green"),
        (book, {"seats": "2"}, '{"seats":2}'),
        (book, '{"seats": 2}', '{"seats":2}'),
        (book, None, "done"),
    ],
)
async def test_an_event_asks_and_the_watcher_answers(made: Any, given: Answer, content: str) -> None:
    asked: list[QuestionAsked] = []
    async with (
        calling(made.name) as server,
        asyncio.timeout(50),
        Agent(server=server.url, tools=[made]).stream("go") as run,
    ):
        async for event in run:
            if isinstance(event, QuestionAsked):
                asked.append(event)
                run.answer(event.request_id, given)
    assert told(server) == content
    (event,) = asked
    assert from_json(to_json(event)) == event
    assert (event.name, event.run_id) == (made.name, run.id)
    assert event.options == (() if made is book else ("red", "blue"))
    assert event.schema == (FORM if made is book else None)


async def test_a_form_that_is_not_filled_in_fails_the_call() -> None:
    async def answer(question: Question) -> Answer:
        return {"note": "window"}

    async with calling("book") as server:
        await Agent(server=server.url, tools=[book], ask=answer).run("go")
    assert 'the user\'s answer: "seats" is missing' in told(server)


@pytest.mark.parametrize("watched", [True, False])
async def test_where_nobody_answers_the_model_is_told(watched: bool) -> None:
    async with calling("paint") as server:
        agent = Agent(server=server.url, tools=[paint])
        async with asyncio.timeout(50):
            if watched:
                async with agent.stream("go") as run:
                    assert [event for event in [event async for event in run] if isinstance(event, CallFailed)]
            else:
                await agent.run("go")
    assert told(server).startswith("nobody is there to answer questions; go on with your best judgement")


async def test_the_callback_gets_the_question_and_its_failure_is_one_sentence() -> None:
    seen: list[Question] = []

    async def answer(question: Question) -> Answer:
        seen.append(question)
        if len(seen) == 2:
            raise ValueError("no screen")
        return "red"

    turns = [Turn(calls=[Call("paint"), Call("paint")]), Turn("Done.")]
    async with ScriptedServer(*turns) as server:
        await Agent(server=server.url, tools=[paint], ask=answer).run("go")
    contents = {message["content"] for message in server.requests[1]["messages"][-2:]}
    assert contents == {"painted red", "nobody could be asked, as ask= failed (ValueError: no screen)"}
    assert (seen[0].question, seen[0].options) == ("Which colour?", ("red", "blue"))
    assert seen[0].request_id != seen[1].request_id


async def test_the_time_of_a_call_stands_still_while_the_user_thinks() -> None:
    @tool(timeout=0.05)
    async def slow(context: Context) -> str:
        return f"{await context.ask('Well?')}"

    late = asyncio.Event()

    async def answer(question: Question) -> Answer:
        asyncio.get_running_loop().call_later(0.2, late.set)
        await late.wait()
        return "yes"

    async with calling("slow") as server:
        await Agent(server=server.url, tools=[slow], ask=answer).run("go")
    assert told(server) == "yes"


async def test_an_answer_of_the_wrong_kind_is_an_error_and_the_question_stays_open() -> None:
    async with calling("paint") as server, Agent(server=server.url, tools=[paint]).stream("go") as run:
        async for event in run:
            if isinstance(event, QuestionAsked):
                with pytest.raises(TypeError, match="questions text, dict or None"):
                    run.answer(event.request_id, True)
                run.answer(event.request_id, "red")
    assert told(server) == "painted red"


async def test_what_was_answered_is_not_asked_again_by_a_call_that_runs_again() -> None:
    journal, asked = MemoryJournal(), list[Question]()

    async def answer(question: Question) -> Answer:
        asked.append(question)
        return "blue"

    @tool(idempotent=True)
    async def twice(context: Context) -> str:
        first, second = await context.ask("Which?"), await context.ask("Which?")
        return f"{first} {second} {await context.ask('And now?')}"

    async with ScriptedServer(default=Turn("Hi.")) as server:
        agent = Agent(server=server.url, ask=answer, journal=journal)
        async with agent, agent.opened() as resources:
            from qianda.agents.questions import Questions

            run = agent.stream("go")
            for _ in range(2):
                questions = Questions(run, resources, "twice", "turn/0/call/0")
                result = await twice.call({}, Context(run_id=run.id, asking=questions.ask))
                assert result.content == "blue blue blue"
    assert [question.question for question in asked] == ["Which?", "Which?", "And now?"]


async def test_the_model_asks_the_user() -> None:
    async def answer(question: Question) -> Answer:
        return question.options[1] if question.options else None

    turns = [
        Turn(calls=[Call("ask_user", {"question": "Tea?", "options": ["yes", "no"]})]),
        Turn(calls=[Call("ask_user", {"question": "Why?"})]),
        Turn("Ok."),
    ]
    async with ScriptedServer(*turns) as server:
        agent = Agent(server=server.url, tools=[ask_user], ask=answer, permissions="read-only")
        async with agent.stream("go") as run:
            done = [event.content async for event in run if isinstance(event, CallFinished)]
    assert done == ["no", "(the user did not answer; go on without it)"]


@tool(consent=False, effects=lambda given: Effects(urls=(given["url"],)))
async def visit(url: str) -> str:
    """Visit a page.

    Args:
        url: its address
    """
    return f"been at {url}"


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_front_end_with_a_queue_is_asked_at_once_and_others_one_by_one(tmp_path: Path, at_once: bool) -> None:
    waiting: list[ApprovalRequest] = []
    most = 0
    both = asyncio.Event()

    async def approve(request: ApprovalRequest) -> Decision:
        nonlocal most
        waiting.append(request)
        most = max(most, len(waiting))
        if len(waiting) == 2 or not at_once:
            both.set()
        async with asyncio.timeout(10):
            await both.wait()
        waiting.remove(request)
        assert request.effects.urls == (request.arguments["url"],)
        assert request.workspace == tmp_path
        return Decision.allow()

    calls = [Call("visit", {"url": f"https://example.org/{number}"}) for number in range(2)]
    async with ScriptedServer(Turn(calls=calls), Turn("Done.")) as server:
        given = asked_at_once(approve) if at_once else approve
        await Agent(server=server.url, tools=[visit], workspace=tmp_path, approve=given, permissions="ask").run("go")
    assert most == (2 if at_once else 1)
