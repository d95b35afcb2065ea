"""The chat by a person's keys, against an agent whose events the test gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from textual import events
from textual.pilot import Pilot

from qianda.models.errors import ServerUnreachable
from qianda.models.events import (
    ApprovalAsked,
    ArgumentsDelta,
    CallDenied,
    CallFailed,
    CallFinished,
    CallProgress,
    CallStarted,
    Compacted,
    Event,
    InputReceived,
    Notice,
    PlanChanged,
    Retrying,
    RunFinished,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from qianda.models.messages import AssistantMessage, Content, Message, ToolCall, ToolMessage, Usage, UserMessage
from qianda.models.plan import Plan
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.tools.permissions import ApprovalRequest, Decision, Permissions
from qianda.tools.questions import Answer, Question
from qianda.tui.app import QiandaApp
from qianda.tui.conversation import Approve, Ask, Changes, Notify
from qianda.tui.screen import ChatScreen


class FakeRun:
    """A run whose events the test puts in."""

    def __init__(self, prompt: Content) -> None:
        self.prompt = prompt
        self.steered: list[Content] = []
        self.cancelled = False
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._seq = 0
        self._last = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._last:
            raise StopAsyncIteration
        event = await self._events.get()
        self._last = isinstance(event, RunFinished) and event.parent_run_id is None
        return event

    def steer(self, content: Content) -> None:
        self.steered.append(content)

    def cancel(self) -> None:
        self.cancelled = True
        self.emit(RunFinished, reason="cancelled")

    def emit(self, kind: type[Event], **fields: Any) -> None:
        given: dict[str, Any] = {"run_id": "run", "seq": self._seq, "time": 0.0, **fields}
        self._events.put_nowait(kind(**given))
        self._seq += 1

    def done(self) -> None:
        self.emit(UsageReported, request=Usage(1000, 234), total=Usage(1000, 234))
        self.emit(RunFinished, reason="done")


class FakeConversation:
    def __init__(self, messages: tuple[Message, ...] = ()) -> None:
        self.messages = messages
        self.plan = None
        self.runs: list[FakeRun] = []

    def stream(self, prompt: Content) -> FakeRun:
        self.runs.append(FakeRun(prompt))
        return self.runs[-1]

    def compact(self) -> None:
        raise NotImplementedError

    def resume(self) -> FakeRun:
        return self.stream("")


class FakeAgent:
    """An agent that opens when it is told to."""

    def __init__(self, *, demo: bool = False, messages: tuple[Message, ...] = ()) -> None:
        self.demo = demo
        self.workspace = Path.cwd()
        self.permissions = Permissions("ask")
        self.resources = None
        self.conversation = FakeConversation(messages)
        self.sessions: list[str] = []
        self.may_open = asyncio.Event()
        self.may_open.set()
        self.failures: list[Exception] = []
        self.approve: Approve
        self.ask: Ask
        self.notify: Notify
        self.closed = False

    async def open(self, approve: Approve, ask: Ask, notify: Notify, changes: Changes) -> FakeAgent:
        self.changes = changes
        self.approve, self.ask, self.notify = approve, ask, notify
        await self.may_open.wait()
        if self.failures:
            raise self.failures.pop(0)
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.closed = True

    async def endpoint(self) -> Endpoint:
        return Endpoint(
            url="http://127.0.0.1:8000/v1",
            kind=server_kinds()["vllm"],
            model="qwen3-8b",
            why="test",
            window=32_768,
            demo=self.demo,
        )

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Any]:
        yield SimpleNamespace(mcp=None)

    def session(self, name: str) -> FakeConversation:
        self.sessions.append(name)
        return self.conversation


class Person:
    """Someone at the keyboard."""

    def __init__(self, app: QiandaApp, pilot: Pilot[int], agent: FakeAgent) -> None:
        self.app, self.pilot, self.agent = app, pilot, agent
        self.kept: list[asyncio.Task[Any]] = []  # a task needs a reference

    @property
    def chat(self) -> ChatScreen:
        return self.app.chat_screen

    @property
    def run(self) -> FakeRun:
        return self.agent.conversation.runs[-1]

    def screen(self) -> str:
        self.chat.transcript.flush()
        return "\n".join(strip.text.rstrip() for strip in self.app.screen._compositor.render_strips())

    def line(self, part: str) -> str:
        return next((line for line in self.screen().splitlines() if part in line), "")

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(50):
            while not condition():
                await self.pilot.pause()

    async def sees(self, text: str) -> None:
        try:
            await self.until(lambda: text in self.screen())
        except TimeoutError:
            pytest.fail(f"{text!r} is not on the screen:\n{self.screen()}")

    async def sees_no(self, text: str) -> None:
        await self.until(lambda: text not in self.screen())

    async def says(self, text: str) -> FakeRun:
        before = len(self.agent.conversation.runs)
        await self.types(text)
        await self.pilot.press("enter")
        await self.until(lambda: len(self.agent.conversation.runs) > before)
        return self.run

    async def types(self, text: str) -> None:
        assert self.app.focused is self.chat.editor
        self.chat.editor.insert(text)
        await self.pilot.pause()

    def asks(self, arguments: dict[str, Any] | None = None, name: str = "write_file") -> asyncio.Task[Decision]:
        request = ApprovalRequest(
            request_id="q1",
            run_id="run",
            call_id="c1",
            name=name,
            arguments=arguments or {"path": "result.txt", "content": "391"},
            description="Write a file.",
            reason="it changes something",
        )

        async def ask() -> Decision:
            return await self.agent.approve(request)

        return asyncio.create_task(ask())

    def is_asked(self, question: Question) -> asyncio.Task[Answer]:
        async def ask() -> Answer:
            return await self.agent.ask(question)

        return asyncio.create_task(ask())


@asynccontextmanager
async def chatting(
    agent: FakeAgent | None = None, *, size: tuple[int, int] = (80, 24), **options: Any
) -> AsyncGenerator[Person]:
    agent = agent or FakeAgent()
    app = QiandaApp(agent.open, **options)
    async with app.run_test(size=size) as pilot:
        person = Person(app, pilot, agent)
        if agent.may_open.is_set() and not agent.failures:
            await person.until(lambda: agent.sessions)
        yield person


def answer(run: FakeRun, text: str) -> None:
    for at in range(0, len(text), 7):
        run.emit(TextDelta, text=text[at : at + 7])


async def test_a_prompt_is_sent_and_the_answer_streams() -> None:
    async with chatting() as person:
        run = await person.says("What is 6*7?")
        assert run.prompt == "What is 6*7?"
        await person.sees("› What is 6*7?")
        run.emit(TextDelta, text="\n\nIt is **4")
        await person.sees("It is **4")
        assert "answering" in person.screen()
        run.emit(TextDelta, text="2**.")
        await person.sees("It is 42.")
        run.done()
        await person.sees("1,234/32,768 tokens")
        assert "answering" not in person.screen()
        assert person.chat.editor.text == ""


async def test_the_status_line_names_model_and_server_and_a_demo_model_is_called_so() -> None:
    async with chatting() as person:
        await person.sees("qwen3-8b · vLLM")
        assert "demo" not in person.screen()
    async with chatting(FakeAgent(demo=True)) as person:
        await person.sees("qwen3-8b · vLLM · demo model")
        await person.sees("not a Qwen")


async def test_new_lines_do_not_send() -> None:
    async with chatting() as person:
        await person.pilot.press("a", "ctrl+j", "b", "shift+enter", "c")
        assert person.chat.editor.text == "a\nb\nc"
        assert not person.agent.conversation.runs


async def test_up_and_down_go_through_what_was_sent_and_keep_the_draft() -> None:
    async with chatting() as person:
        for text in ("one", "two"):
            (await person.says(text)).done()
            await person.until(lambda: not person.app.chat.busy)
        await person.types("draft")
        editor = person.chat.editor
        shown: list[str] = []
        for key in ("up", "up", "up", "down", "down", "down"):
            await person.pilot.press(key)
            shown.append(editor.text)
        assert shown == ["two", "one", "one", "two", "draft", "draft"]


async def test_typing_works_before_there_is_a_model_and_the_prompt_waits() -> None:
    agent = FakeAgent()
    agent.may_open.clear()
    async with chatting(agent) as person:
        await person.pilot.press(*"early", "enter")
        await person.sees("› early")
        assert "looking for a model" in person.screen()
        agent.may_open.set()
        await person.until(lambda: agent.conversation.runs)
        assert person.run.prompt == "early"
        assert person.screen().count("early") == 1


async def test_a_waiting_prompt_can_be_taken_back() -> None:
    agent = FakeAgent()
    agent.may_open.clear()
    async with chatting(agent) as person:
        await person.types("early")
        await person.pilot.press("enter")
        await person.sees("› early")
        await person.pilot.press("escape")
        await person.until(lambda: person.chat.editor.text == "early")
        agent.may_open.set()
        await person.until(lambda: agent.sessions)
        assert not agent.conversation.runs


async def test_a_failed_opening_is_one_line_and_can_be_tried_again() -> None:
    agent = FakeAgent()
    agent.failures = [ServerUnreachable("Nothing answers at port 8000", cure="Start the server"), OSError("odd")]
    async with chatting(agent) as person:
        await person.sees("✗ Nothing answers at port 8000. Start the server. Ctrl+R tries again")
        assert "Traceback" not in person.screen()
        await person.pilot.press("ctrl+r")
        await person.sees("✗ odd. Ctrl+R tries again")
        run = await person.says("hello")
        assert run.prompt == "hello"


async def test_a_first_prompt_is_sent_at_once() -> None:
    async with chatting(prompt="from the command line") as person:
        await person.until(lambda: person.agent.conversation.runs)
        assert person.run.prompt == "from the command line"


async def test_enter_while_it_works_steers() -> None:
    async with chatting() as person:
        run = await person.says("go")
        await person.types("faster")
        await person.pilot.press("enter")
        assert run.steered == ["faster"]
        await person.sees("1 waiting to be read")
        run.emit(InputReceived, content="faster", steering=True)
        await person.sees("» faster")
        await person.sees_no("waiting to be read")
        run.done()
        await person.until(lambda: not person.app.chat.busy)
        assert len(person.agent.conversation.runs) == 1


async def test_steering_that_came_too_late_becomes_the_next_prompt() -> None:
    async with chatting() as person:
        run = await person.says("go")
        await person.types("more")
        await person.pilot.press("enter")
        run.done()
        await person.until(lambda: len(person.agent.conversation.runs) == 2)
        assert person.run.prompt == "more"


async def test_esc_stops_and_the_prompt_comes_back_into_an_empty_editor() -> None:
    async with chatting() as person:
        run = await person.says("long task")
        run.emit(TextDelta, text="Half an ans")
        await person.sees("Half an ans")
        await person.pilot.press("escape")
        assert run.cancelled
        await person.sees("! Stopped")
        assert "Half an ans" in person.screen()
        assert person.chat.editor.text == "long task"


async def test_a_stopped_prompt_does_not_mix_with_what_is_being_typed() -> None:
    async with chatting() as person:
        await person.says("long task")
        await person.types("next")
        await person.pilot.press("escape")
        await person.sees("! Stopped")
        assert person.chat.editor.text == "next"


async def test_a_stopped_call_does_not_look_done() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(CallStarted, call_id="c1", name="run_command", arguments='{"command": "sleep 100"}')
        await person.sees("◐ running")
        await person.pilot.press("escape")
        await person.sees("✗ stopped")
        assert "running" not in person.line("run_command")


async def test_thinking_is_open_while_it_runs_and_a_line_afterwards() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(ThinkingDelta, text="\nFirst I look.\nThen I")
        await person.sees("▾ Thinking…")
        await person.sees("Then I")
        run.emit(TextDelta, text="Done.")
        await person.sees("▸ Thought for")
        assert "First I look." not in person.screen()
        await person.pilot.press("ctrl+t")
        await person.sees("First I look.")
        await person.pilot.press("ctrl+t")
        await person.sees_no("First I look.")


async def test_a_click_opens_thinking() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(ThinkingDelta, text="Secret thought")
        run.emit(TextDelta, text="Done.")
        run.done()
        await person.sees("▸ Thought for")
        y = next(at for at, line in enumerate(person.screen().splitlines()) if "▸ Thought" in line)
        await person.pilot.click(offset=(3, y))
        await person.sees("Secret thought")


async def test_calls_say_what_became_of_them() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(ArgumentsDelta, index=0, name="read_file", text='{"path": ')
        await person.sees("◌ writing")
        run.emit(ArgumentsDelta, index=0, name="", text='"price.txt"}')
        run.emit(CallStarted, call_id="a", name="read_file", arguments='{"path": "price.txt"}')
        await person.sees("◐ running")
        assert "read_file price.txt" in person.line("read_file")
        assert "◌" not in person.screen()
        run.emit(CallProgress, call_id="a", name="read_file", text="half of it\n")
        await person.sees("└ half of it")
        run.emit(CallFinished, call_id="a", name="read_file", content="14\nsecond\nthird", seconds=0.25)
        await person.sees("✓ done")
        assert "0.2 s" in person.line("✓ done")
        assert "14 (+2 lines)" in person.screen()
        assert "second" not in person.screen()
        run.emit(CallStarted, call_id="b", name="read_file", arguments='{"path": "no.txt"}')
        run.emit(CallFailed, call_id="b", name="read_file", error="no.txt is not there.\nTry price.txt", seconds=0.1)
        await person.sees("✗ failed")
        assert "Try price.txt" in person.screen()
        run.emit(CallStarted, call_id="c", name="run_command", arguments='{"command": "rm -rf x"}')
        run.emit(CallDenied, call_id="c", name="run_command", reason="The user said no: use make", by="person")
        await person.sees("⊘ denied")
        assert "by you" in person.line("⊘ denied")
        assert "use make" in person.screen()
        await person.pilot.press("ctrl+o")
        await person.sees("second")
        await person.pilot.press("ctrl+o")
        await person.sees_no("second")
        assert "Try price.txt" in person.screen()
        assert "use make" in person.screen()


async def test_the_states_of_calls_have_colours_of_their_own() -> None:
    async with chatting() as person:
        style = person.chat.transcript.painter.style
        states = [f"call-{state}" for state in ("running", "done", "failed", "denied")]
        assert len({(style(name).color, style(name).reverse) for name in states}) == len(states)


async def test_a_discarded_reply_disappears_and_the_cause_stays() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(CallStarted, call_id="a", name="calculator", arguments="{}")
        run.emit(CallFinished, call_id="a", name="calculator", content="7", seconds=0.1)
        run.emit(ThinkingDelta, text="void thought")
        answer(run, "# Void\n\n```py\nvoid = 1\n```\nvoid again")
        run.emit(ArgumentsDelta, index=0, name="void_call", text="{")
        await person.sees("void_call")
        run.emit(Retrying, cause="The connection broke", attempt=2, wait=0.5, discard=True)
        await person.sees("! The connection broke; attempt 2 in 0.5 s")
        assert "oid" not in person.screen().replace("avoid", "")
        assert "✓ done" in person.screen()
        answer(run, "The real answer")
        await person.sees("The real answer")
        assert person.screen().index("connection broke") < person.screen().index("The real answer")


async def test_a_compaction_is_one_line() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(Compacted, stage="summary", before=6_176, after=1_645, dropped=54)
        await person.sees("· Context compacted: 6,176 to 1,645 tokens (54 messages summarised)")
        answer(run, "On it goes")
        await person.sees("On it goes")


async def test_a_notice_waits_for_the_end_of_the_text_and_is_said_once() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(TextDelta, text="```\ncode")
        run.emit(Notice, text="The MCP server is slow")
        run.emit(TextDelta, text=" goes on\n```\n")
        run.emit(Notice, text="The MCP server is slow")
        run.done()
        await person.sees("· The MCP server is slow")
        assert "code goes on" in person.screen()
        assert person.screen().count("is slow") == 1


async def test_a_plan_a_compaction_and_an_agent_with_a_task_are_shown_and_harm_nothing() -> None:
    async with chatting() as person:
        run = await person.says("go")
        plan = Plan().revised(["look around", "say it"]).begun()
        run.emit(PlanChanged, plan=plan)
        await person.sees("◐ 1. look around")
        run.emit(Compacted, stage="summary", before=6_012, after=2_100, dropped=31)
        await person.sees("Context compacted: 6,012 to 2,100 tokens")
        run.emit(CallStarted, call_id="c", name="list_files", arguments="{}", parent_run_id="run")
        await person.sees("an agent runs list_files")
        run.emit(TextDelta, text="of the inner agent", parent_run_id="run")
        run.emit(CallFailed, call_id="c", name="list_files", error="no", seconds=0.1, parent_run_id="run")
        run.emit(RunFinished, reason="error", which="x", message="inner", parent_run_id="run")
        run.emit(PlanChanged, plan=plan.moved(1, "done"))
        answer(run, "All is said.")
        run.done()
        await person.sees("All is said.")
        await person.sees_no("of the inner agent")


async def test_the_end_of_a_run_with_an_error_is_one_line() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(RunFinished, reason="error", which="ServerUnreachable", message="The server went away. Start it")
        await person.sees("✗ The server went away. Start it")
        assert not person.app.chat.busy


async def test_approval_takes_the_prompts_place_with_no_in_focus() -> None:
    async with chatting() as person:
        run = await person.says("go")
        run.emit(CallStarted, call_id="c1", name="write_file", arguments='{"path": "result.txt"}')
        run.emit(
            ApprovalAsked,
            call_id="c1",
            name="write_file",
            request_id="q1",
            arguments="{}",
            description="",
            reason="",
        )
        asked = person.asks()
        await person.sees("Run write_file?")
        await person.sees("? asking")
        assert person.app.focused is not None
        assert person.app.focused.id == "no"
        assert "+ 391" in person.screen()
        assert not person.chat.editor.display
        await person.pilot.press("enter")
        assert await asked == Decision.deny()
        await person.until(lambda: person.app.focused is person.chat.editor)


@pytest.mark.parametrize(
    ("keys", "decision"),
    [
        (["down", "down", "enter"], Decision.allow()),
        (["down", "down", "down", "enter"], Decision.allow(scope="session")),
        (["down", "down", "down", "down", "up", "enter"], Decision.allow()),
        (["down", "enter", *"not now", "enter"], Decision.deny("not now")),
        (["down", "enter", "x", "escape", "enter"], Decision.deny()),
        (["up", "enter"], Decision.deny()),
    ],
)
async def test_answers_to_an_approval(keys: list[str], decision: Decision) -> None:
    async with chatting() as person:
        await person.says("go")
        asked = person.asks()
        await person.sees("Run write_file?")
        await person.pilot.press(*("space" if key == " " else key for key in keys))
        async with asyncio.timeout(50):
            assert await asked == decision
        await person.sees_no("Run write_file?")
        assert not person.run.cancelled


async def test_keys_in_a_burst_answer_like_keys_one_by_one() -> None:
    async with chatting() as person:
        await person.says("go")
        asked = person.asks()
        await person.sees("Run write_file?")
        for key in ("down", "down", "enter"):
            person.app.post_message(events.Key(key, None))
        async with asyncio.timeout(50):
            assert await asked == Decision.allow()


async def test_a_fault_of_the_chat_shows_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    agent = FakeAgent()
    app = QiandaApp(agent.open)

    async def fail() -> None:
        async with app.run_test() as pilot:
            app.call_later(lambda: 1 // 0)
            await pilot.pause()

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert isinstance(app.failure, ZeroDivisionError)
    assert "Traceback" not in "".join(capsys.readouterr())


async def test_letters_do_not_answer_an_approval() -> None:
    async with chatting() as person:
        await person.says("go")
        asked = person.asks()
        await person.sees("Run write_file?")
        await person.pilot.press(*"yes1", "space")
        assert not asked.done()
        asked.cancel()


async def test_the_draft_outlives_an_approval() -> None:
    async with chatting() as person:
        await person.says("go")
        await person.types("half a tho")
        asked = person.asks()
        await person.sees("Run write_file?")
        await person.pilot.press("down", "up", "enter")
        await asked
        await person.types("ught")
        assert person.chat.editor.text == "half a thought"


async def test_a_command_shows_whole_with_nothing_hidden() -> None:
    async with chatting() as person:
        await person.says("go")
        asked = person.asks({"command": "echo ok\x1b[2K\rrm -rf ~\n# [red]more[/red]"}, name="run_command")
        await person.sees("$ echo ok␛[2K␍rm -rf ~")
        await person.sees("# [red]more[/red]")
        asked.cancel()


async def test_two_approvals_wait_for_each_other() -> None:
    async with chatting() as person:
        await person.says("go")
        first = person.asks({"path": "first"})
        await person.sees("path: first")
        second = person.asks({"path": "second"})
        await person.pilot.press("enter")
        assert not (await first).allowed
        await person.sees("path: second")
        await person.pilot.press("down", "down", "enter")
        assert (await second).allowed


async def test_stopping_takes_the_approval_away() -> None:
    async with chatting() as person:
        run = await person.says("go")
        asked = person.asks()
        await person.sees("Run write_file?")
        await person.pilot.press("escape")
        assert run.cancelled
        asked.cancel()
        await person.sees_no("Run write_file?")
        await person.until(lambda: person.app.focused is person.chat.editor)


async def test_help_lists_the_keys_and_closes() -> None:
    async with chatting() as person:
        await person.pilot.press("f1")
        await person.sees("stop the run")
        await person.pilot.press("escape")
        await person.sees_no("stop the run")
        await person.types("/help")
        await person.pilot.press("enter")
        await person.sees("a new conversation")


async def test_clear_begins_a_new_conversation() -> None:
    async with chatting() as person:
        run = await person.says("old")
        answer(run, "old answer")
        run.done()
        await person.sees("old answer")
        await person.types("/clear")
        await person.pilot.press("enter")
        await person.sees_no("old answer")
        assert len(person.agent.sessions) == 2
        await person.says("new")
        await person.sees("› new")


async def test_an_unknown_command_is_named_and_a_path_is_a_prompt() -> None:
    async with chatting() as person:
        await person.types("/frobnicate")
        await person.pilot.press("enter")
        await person.sees("There is no command /frobnicate")
        run = await person.says("/etc/hosts")
        assert run.prompt == "/etc/hosts"


async def test_ctrl_c_twice_quits_and_once_does_not() -> None:
    async with chatting() as person:
        await person.pilot.press("ctrl+c")
        await person.sees("Ctrl+C again quits")
        assert person.app.is_running
        await person.pilot.press("ctrl+c")
        await person.until(lambda: person.app.return_code is not None)
    assert person.agent.closed


async def test_ctrl_d_quits_only_with_an_empty_prompt() -> None:
    async with chatting() as person:
        await person.types("x")
        await person.pilot.press("ctrl+d")
        assert not person.agent.closed
        await person.pilot.press("backspace", "ctrl+d")
        await person.until(lambda: person.app.return_code is not None)


async def test_quitting_stops_the_run_and_closes_the_agent() -> None:
    async with chatting() as person:
        run = await person.says("go")
        await person.pilot.press("ctrl+c", "ctrl+c")
        await person.until(lambda: person.app.return_code is not None)
        assert run.cancelled
        assert person.agent.closed


async def test_a_session_shows_what_was_said_before() -> None:
    messages = (
        UserMessage("earlier question"),
        AssistantMessage(
            reasoning="hm", tool_calls=(ToolCall("c", "read_file", '{"path": "a"}'), ToolCall("d", "run_command", "{}"))
        ),
        ToolMessage("c", "read_file", "content of a"),
        ToolMessage("d", "run_command", "The user said no", "denied"),
        AssistantMessage("# Earlier\n\nanswer"),
    )
    async with chatting(FakeAgent(messages=messages), session="trip") as person:
        assert person.agent.sessions == ["trip"]
        await person.sees("› earlier question")
        await person.sees("▸ Thought")
        await person.sees("└ content of a")
        await person.sees("Earlier")
        assert "# Earlier" not in person.screen()
        assert "✓ done" in person.line("read_file")
        assert "⊘ denied" in person.line("run_command")


async def test_a_long_answer_scrolls_and_stays_where_it_is_read() -> None:
    async with chatting() as person:
        run = await person.says("go")
        answer(run, "".join(f"- line {number}\n" for number in range(100)))
        await person.sees("line 99")
        await person.pilot.press("pageup")
        await person.sees_no("line 99")
        first, before = person.screen().splitlines()[0], person.chat.transcript.stack.total
        answer(run, "".join(f"- line {number}\n" for number in range(100, 120)))
        await person.until(lambda: person.chat.transcript.stack.total > before + 18)
        assert person.screen().splitlines()[0] == first
        for _ in range(4):
            await person.pilot.press("pagedown")
        await person.sees("line 119")
        answer(run, "- line 120\n")
        await person.sees("line 120")


async def test_no_color_leaves_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with chatting() as person:
        run = await person.says("go")
        run.emit(TextDelta, text="`code` and [link](https://example.org)")
        await person.sees("code and link")
        colours = {
            segment.style.color.get_truecolor()
            for strip in person.app.screen._compositor.render_strips()
            for segment in strip
            if segment.style is not None and segment.style.color is not None
        }
        assert all(red == green == blue for red, green, blue in colours)


# Pictures


@pytest.mark.parametrize(
    ("options", "keys", "answer"),
    [
        (("red", "blue"), ["down", "enter"], "blue"),
        (("red", "blue"), ["up", *"green", "enter"], "green"),
        (("red", "blue"), ["down", "down", "enter"], None),
        ((), [*"green", "enter"], "green"),
        ((), ["enter"], None),
        ((), ["down", "enter"], None),
    ],
)
async def test_answers_to_a_question(options: tuple[str, ...], keys: list[str], answer: str | None) -> None:
    async with chatting() as person:
        await person.says("go")
        asked = person.is_asked(Question(question="Which [b]colour[/b]?", options=options))
        await person.sees("Which [b]colour[/b]?")
        assert not person.chat.editor.display
        await person.pilot.press(*keys)
        async with asyncio.timeout(50):
            assert await asked == answer
        await person.until(lambda: person.app.focused is person.chat.editor)
        await person.sees_no("Which")


async def test_stopping_takes_the_question_away() -> None:
    async with chatting() as person:
        run = await person.says("go")
        asked = person.is_asked(Question(question="Which?"))
        await person.sees("Which?")
        await person.pilot.press("escape")
        assert run.cancelled
        asked.cancel()
        await person.sees_no("Which?")
