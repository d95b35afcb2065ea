"""What becomes of a run's events in the transcript: cards of calls, plans, agents, retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from qianda import Agent, tool
from qianda.models.errors import ToolError
from qianda.models.events import (
    ArgumentsDelta,
    CallDenied,
    CallFailed,
    CallFinished,
    CallForced,
    CallProgress,
    CallRepaired,
    CallStarted,
    Discarded,
    Event,
    PlanChanged,
    QuestionAsked,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from qianda.models.messages import AssistantMessage, Message, ToolCall, ToolMessage, Usage, UserMessage
from qianda.models.plan import Plan
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tui import call_view
from qianda.tui.app import STYLES
from qianda.tui.run_view import RunView
from qianda.tui.status import StatusLine
from qianda.tui.transcript.blocks import NoticeBlock, ThinkingBlock
from qianda.tui.transcript.call_group import CallGroup
from qianda.tui.transcript.calls import CallBlock
from qianda.tui.transcript.diff import Diff, compare
from qianda.tui.transcript.restored import restored_blocks
from qianda.tui.transcript.view import Transcript


class Watched(App[None]):
    """A transcript and a status line that show one run."""

    def __init__(self) -> None:
        super().__init__(css_path=[*sorted(STYLES.glob("*.tcss"))])
        self.transcript, self.status = Transcript(), StatusLine()
        self.pilot: Pilot[None]
        self.view: RunView
        self._seq = 0

    def compose(self) -> ComposeResult:
        yield self.transcript
        yield self.status

    def on_mount(self) -> None:
        self.view = RunView(self.transcript, self.status, set())

    def emit(self, kind: type[Event], **fields: Any) -> None:
        self._seq += 1
        given: dict[str, Any] = {"run_id": "run", "seq": self._seq, "time": float(self._seq), **fields}
        self.view.show(kind(**given))

    def call(self, call_id: str, name: str, arguments: str = "{}", **fields: Any) -> None:
        self.emit(CallStarted, call_id=call_id, name=name, arguments=arguments, **fields)

    def done(self, call_id: str, name: str, content: str = "", **fields: Any) -> None:
        self.emit(CallFinished, call_id=call_id, name=name, content=content, seconds=0.25, **fields)

    def lines(self) -> list[str]:
        """What is visible."""
        self.transcript.flush()
        return [strip.text.rstrip() for strip in self.screen._compositor.render_strips()]

    def rows(self) -> list[str]:
        """The whole transcript."""
        self.transcript.flush()
        stack = self.transcript.stack
        return [row.text.rstrip() for block in stack.blocks for row in block.layout(stack.width)]

    def block(self, kind: type[Any], number: int = -1) -> Any:
        return [block for block in self.transcript.stack.blocks if isinstance(block, kind)][number]

    def toggle(self, kind: type[Any] = CallBlock, number: int = -1) -> None:
        self.transcript.action_toggle_block(self.block(kind, number).serial)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(50):
            while not condition():
                await self.pilot.pause()


@asynccontextmanager
async def watched(width: int = 81, height: int = 24) -> AsyncGenerator[Watched]:
    app = Watched()
    async with app.run_test(size=(width, height)) as pilot:
        app.pilot = pilot
        yield app


async def test_calls_are_told_in_readable_lines() -> None:
    async with watched() as app:
        app.emit(ArgumentsDelta, index=0, name="run_command", text='{"command": "git sta')
        assert app.rows()[-1] == "◌ writing  run_command $ git sta"
        app.call("a", "run_command", '{"command": "git status", "timeout": 5}')
        assert app.rows()[-1] == "◐ running  run_command $ git status (timeout=5)"
        app.call("b", "move_file", '{"path": "a\\u001b[31m.txt", "to": "b.txt"}')
        assert app.rows()[-1] == "◐ running  move_file a␛[31m.txt to=b.txt"
        app.call("c", "odd", "no JSON")
        assert app.rows()[-1] == "◐ running  odd no JSON"
        app.emit(CallRepaired, call_id="c", name="odd", reason="a bracket was missing")
        assert app.rows()[-1] == "◐ running  odd no JSON · mended"
        app.toggle()
        assert "mended: a bracket was missing" in app.rows()[-1]


async def test_output_shows_while_it_runs_and_only_its_end() -> None:
    async with watched() as app:
        app.call("a", "run_command", '{"command": "make"}')
        for number in range(20):
            app.emit(CallProgress, call_id="a", name="run_command", text="ste")
            app.emit(CallProgress, call_id="a", name="run_command", text=f"p {number}\n")
        assert app.rows()[2:] == ["  └ step 15", "    step 16", "    step 17", "    step 18", "    step 19"]
        app.emit(CallProgress, call_id="a", name="run_command", text="10 %\r20 %\r30 %")
        assert app.rows()[-1] == "    30 %"
        app.call("b", "slow")
        for share in ("1/3", "2/3"):
            app.emit(CallProgress, call_id="b", name="slow", text=share)
        assert app.rows()[-2:] == ["  └ 1/3", "    2/3"]


async def test_what_prints_without_end_costs_little() -> None:
    async with watched() as app:
        app.call("a", "run_command", '{"command": "yes"}')
        block = app.block(CallBlock)
        for _ in range(160):
            app.emit(CallProgress, call_id="a", name="run_command", text="y" * 65_536)
        app.transcript.flush()
        assert len(block._live) == call_view.LIVE_KEPT
        app.done("a", "run_command", "line of output\n" * 700_000)
        assert app.rows()[-1].startswith("  └ line of output (+699,999 lines)")
        app.toggle()
        assert len(block.layout(80)) < 1_100
        assert any("lines more" in row for row in app.rows())
        app.call("b", "run_command", '{"command": "no"}')
        app.emit(CallFailed, call_id="b", name="run_command", error="x\n" * 100_000 + "exit code 1", seconds=1.0)
        assert app.rows()[-1] == "    exit code 1"
        assert len(app.block(CallBlock).layout(80)) < 30


async def test_what_an_edit_changed_shows_with_its_count() -> None:
    result = "edited a.py, 1 replacement:\n@@ -4,2 +4,3 @@\n def f():\n-    return 1\n+    x = 2\n+    return x"
    arguments = '{"path": "a.py", "old_text": "    return 1", "new_text": "    x = 2\\n    return x"}'
    async with watched() as app:
        app.call("a", "edit_file", arguments)
        app.done("a", "edit_file", result)
        assert app.rows()[1:] == [
            "✓ done     edit_file a.py · +2 −1 · 0.2 s",
            "    4   def f():",
            "    5 -     return 1",
            "    5 +     x = 2",
            "    6 +     return x",
        ]
        app.call("b", "write_file", '{"path": "new.txt", "content": "' + "line\\n" * 40 + '"}')
        app.done("b", "write_file", "Wrote 200 bytes to new.txt (created)")
        assert "write_file new.txt · +40 −0 · 0.2 s" in app.rows()[6]
        assert len(app.rows()) == 20
        assert app.rows()[-1] == "    28 lines more"
        app.toggle()
        assert len(app.rows()) > 46
        app.call("c", "write_file", '{"path": "old.txt", "content": "x"}')
        app.done("c", "write_file", "Wrote 1 byte to old.txt (replaced)")
        assert app.rows()[-1] == "  └ Wrote 1 byte to old.txt (replaced)"


async def test_what_undo_keeps_shows_as_soon_as_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[int, tuple[Diff, ...]] = {1: (compare("one\ntwo\n", "one\n2\n", "old.txt"),)}
    kept[2] = (compare("a\n", "b\n", "a.py"), compare(None, "c\n", "c.py"))
    monkeypatch.setattr(call_view, "made", lambda run_id, step: kept[step] if run_id == "run" else ())
    async with watched(width=121) as app:
        app.call("a", "write_file", '{"path": "old.txt", "content": "one\\n2\\n"}')
        app.done("a", "write_file", "Wrote 6 bytes to old.txt (replaced)", step=1)
        await app.until(lambda: "+1 −1" in app.rows()[1])
        assert app.rows()[-3:] == ["    1   one", "    2 - two", "    2 + 2"]
        app.transcript.stack.look.split = True
        app.toggle()
        (row,) = (row for row in app.rows() if "two" in row)
        assert " │ " in row
        assert row.endswith("2 + 2")
        app.call("b", "run_command", '{"command": "make"}')
        app.done("b", "run_command", "made", step=2)
        await app.until(lambda: "+2 −1" in "".join(app.rows()))
        assert app.rows()[-3:] == ["  └ made", "    M a.py +1 −1", "    A c.py +1 −0"]


async def test_neighbours_that_only_look_share_a_line_and_no_failure_is_in_it() -> None:
    async with watched() as app:
        for number, name in enumerate(("read_file", "grep", "read_file", "read_file")):
            app.call(str(number), name, f'{{"path": "{number}"}}')
        app.done("0", "read_file", "text")
        app.done("1", "grep", "hit")
        assert len([row for row in app.rows() if row.startswith("✓")]) == 2
        app.emit(CallFailed, call_id="2", name="read_file", error="not there", seconds=0.1)
        app.done("3", "read_file", "more")
        assert app.rows() == [
            "",
            "▸ 2 files read, 1 search",
            "✗ failed   read_file 2 · 0.1 s",
            "  └ not there",
        ]
        app.toggle(CallGroup)
        assert len(app.rows()) == 10
        assert app.rows()[1] == "▾ 2 files read, 1 search"
        app.toggle(CallGroup)
        assert len(app.rows()) == 4


async def test_the_plan_is_one_list_that_changes_in_place() -> None:
    async with watched() as app:
        plan = Plan().revised(["look", "write", "check", "tidy"]).begun()
        app.call("p", "plan", '{"steps": ["look"]}')
        app.emit(PlanChanged, plan=plan)
        app.done("p", "plan", "The plan: …")
        app.call("a", "run_command", '{"command": "ls"}')
        app.call("q", "plan", '{"step": 1}')
        plan = plan.moved(1, "done", "three files").moved(2, "failed", "disk full").moved(3, "skipped")
        app.emit(PlanChanged, plan=plan)
        app.done("q", "plan", "3 of 4 over.")
        assert app.rows() == [
            "",
            "Plan · 3 of 4 over",
            "  ✓ 1. look · three files",
            "  ✗ 2. write · failed · disk full",
            "  – 3. check · skipped",
            "  ◐ 4. tidy",
            "",
            "◐ running  run_command $ ls",
        ]
        app.call("r", "plan", '{"step": 9}')
        app.emit(CallFailed, call_id="r", name="plan", error="there is no step 9", seconds=0.0)
        assert "there is no step 9" in app.rows()[-1]


async def test_a_proposed_plan_is_whole_and_says_that_it_waits() -> None:
    async with watched() as app:
        plan = Plan().revised([f"step number {number}" for number in range(30)])
        app.call("p", "plan")
        app.emit(PlanChanged, plan=plan)
        app.emit(QuestionAsked, call_id="p", name="plan", request_id="q", question="Carry out this plan?")
        assert app.rows()[2] == ""
        assert app.rows()[3] == "Plan, waiting for your yes"
        assert sum("step number" in row for row in app.rows()) == 30
        app.done("p", "plan", "The user does not accept the plan.")
        assert app.rows()[1] == "Plan, not accepted"
        app.call("q", "plan")
        app.emit(PlanChanged, plan=plan.begun())
        assert app.rows()[1] == "Plan · 0 of 30 over"


async def test_agents_at_work_are_nested_in_the_cards_of_their_calls() -> None:
    async with watched() as app:
        for call_id, who in (("a", "scout"), ("b", "writer")):
            app.call(call_id, "task", f'{{"agent": "{who}", "task": "do it"}}')
            child = {"run_id": f"run.{call_id}", "parent_run_id": "run"}
            app.emit(RunStarted, server="s", model="m", why="", call_id=call_id, **child)
        scout: dict[str, Any] = {"run_id": "run.a", "parent_run_id": "run"}
        app.emit(ThinkingDelta, text="hm", **scout)
        app.call("1", "read_file", '{"path": "a.txt"}', **scout)
        assert app.rows()[1:4] == [
            "◐ running  task scout task=do it",
            "  │ ◐ read_file a.txt",
            "◐ running  task writer task=do it",
        ]
        app.done("1", "read_file", "x", **scout)
        for number in range(2, 8):
            app.call(str(number), "grep", f'{{"pattern": "{number}"}}', **scout)
            app.done(str(number), "grep", "x", **scout)
        app.emit(CallDenied, call_id="2", name="grep", reason="not allowed", by="rule", **scout)
        app.call("8", "task", '{"agent": "deep", "task": "dig"}', **scout)
        deep = {"run_id": "run.a.8", "parent_run_id": "run.a"}
        app.emit(RunStarted, server="s", model="m", why="", call_id="8", **deep)
        app.emit(CallStarted, call_id="9", name="ls", arguments="{}", **deep)
        app.emit(UsageReported, request=Usage(1, 2), total=Usage(1000, 234), **scout)
        rows = app.rows()[: app.rows().index("◐ running  task writer task=do it")]
        assert "1,234 tokens" in rows[1]
        assert rows[2:] == [
            "  │ 3 calls more",
            "  │ ⊘ grep 2 · denied",
            "  │   not allowed",
            "  │ ✓ grep 5 · 0.2 s",
            "  │ ✓ grep 6 · 0.2 s",
            "  │ ✓ grep 7 · 0.2 s",
            "  │ ◐ task deep task=dig",
            "  │   │ ◐ ls",
        ]
        app.done("8", "task", "x", **scout)
        app.emit(TextDelta, text="So far\nI found that", **scout)
        assert "  │ ◐ answering: I found that" in app.rows()
        app.emit(RunFinished, reason="done", **scout)
        app.done("a", "task", "It is 42.\nBecause.")
        assert app.status._doing == "running task"  # the other one
        rows = app.rows()[: app.rows().index("◐ running  task writer task=do it")]
        assert rows[2:] == [
            "  │ 7 calls more",
            "  │ ⊘ grep 2 · denied",
            "  │   not allowed",
            "  └ It is 42. (+1 line)",
        ]
        app.emit(RunFinished, reason="error", message="The server went away", run_id="run.b", parent_run_id="run")
        app.emit(CallFailed, call_id="b", name="task", error="writer failed", seconds=2.0)
        assert app.rows()[-2:] == ["  │ ✗ The server went away", "  └ writer failed"]
        assert app.status._doing == "waiting for the model"
        app.toggle(number=0)
        assert sum("✓ grep" in row for row in app.rows()) == 5


async def test_the_events_of_a_real_agent_at_work_find_their_card() -> None:
    def asks(*tasks: str) -> Turn:
        return Turn(calls=[Call("scout", {"task": task}) for task in tasks])

    @tool
    def look(where: str) -> str:
        """Look."""
        if where == "down":
            raise ToolError("nothing is down there")
        return "seen"

    looks = {"up": Turn(calls=[Call("look", {"where": "up"})]), "down": Turn(calls=[Call("look", {"where": "down"})])}
    server = ScriptedServer(
        asks("up", "down"),
        lambda body: looks[body["messages"][-1]["content"]],
        lambda body: looks[body["messages"][-1]["content"]],
        "found",
        "found",
        "All found.",
    )
    async with watched() as app, server:
        scout = Agent(tools=[look], permissions="auto").as_tool(name="scout", description="Looks.")
        async with Agent(server=server.url, tools=[scout], permissions="auto").stream("go") as run:
            async for event in run:
                app.view.show(event)
        rows = app.rows()
        assert [row.split(" · ")[0] for row in rows if "scout" in row] == [
            "✓ done     scout up",
            "✓ done     scout down",
        ]
        assert all("tokens" in row for row in rows if "scout" in row)
        at = next(at for at, row in enumerate(rows) if "scout down" in row)
        assert [row.split(" · ")[0] for row in rows[at + 1 : at + 4]] == [
            "  │ ✗ look where=down",
            "  │   nothing is down there",
            "  └ found",
        ]


async def test_a_retry_is_one_line_with_cause_attempt_and_wait() -> None:
    async with watched() as app:
        app.emit(TextDelta, text="Half an ans")
        app.emit(Retrying, cause="The stream broke off", attempt=2, wait=0.5, discard=True)
        app.emit(Retrying, cause="The stream broke off", attempt=3, wait=4.0, discard=False)
        app.emit(Retrying, cause="HTTP 503", attempt=4, wait=0.0, discard=False)
        assert app.rows() == ["", "! The stream broke off; attempt 3 in 4.0 s", "", "! HTTP 503; attempt 4"]
        app.emit(TextDelta, text="<tool_call>")
        app.emit(Discarded, reason="a call was written as text")
        assert "<tool_call>" not in "".join(app.rows())
        assert app.rows()[-1] == "· The text is read again: a call was written as text"
        app.emit(CallForced, name="grep", how="required", reason="no pattern was given")
        assert app.rows()[-1] == "! A call of grep is asked for once more: no pattern was given"


async def test_a_limit_says_how_to_go_on() -> None:
    async with watched() as app:
        app.call("a", "run_command", '{"command": "sleep 9"}')
        app.emit(CallProgress, call_id="a", name="run_command", text="half of it")
        app.emit(RunFinished, reason="limit", which="turns", message="The run stopped at its limit of 50 turns")
        assert app.rows()[1:4] == [
            "✗ stopped  run_command $ sleep 9",
            "  └ half of it",
            "  └ It was interrupted; whether it took effect is unknown.",
        ]
        assert "your next message goes on from here" in " ".join(app.rows()[-2:]).replace("   ", " ")


async def test_a_card_that_changes_elsewhere_does_not_move_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = (compare("".join(f"{n}\n" for n in range(30)), "", "a.txt"),)
    monkeypatch.setattr(call_view, "made", lambda *_: changed)
    async with watched(height=12) as app:
        app.emit(PlanChanged, plan=Plan().revised(["one", "two"]).begun())
        app.call("a", "run_command", '{"command": "make"}')
        app.call("b", "task", '{"task": "dig"}')
        for number in range(40):
            app.transcript.add(NoticeBlock(f"line {number}"))
        app.transcript.go(app.transcript.stack.offset(15))
        read = app.lines()[:-1]
        assert "· line 12" in "".join(read)

        def same() -> bool:
            app.transcript.settle()
            return app.lines()[:-1] == read

        for number in range(9):
            app.emit(CallProgress, call_id="a", name="run_command", text=f"{number}\n")
            assert same()
        app.emit(PlanChanged, plan=Plan().revised(["one", "two", "three"]).begun())
        assert same()
        app.emit(RunStarted, server="", model="", why="", call_id="b", run_id="c", parent_run_id="run")
        app.call("1", "grep", run_id="c", parent_run_id="run")
        assert same()
        app.done("a", "run_command", "all\nof\nit", step=1)
        await app.until(lambda: app.block(CallBlock, 0).diffs)
        assert same()
        app.toggle(CallBlock, 0)
        assert same()


async def test_a_card_at_the_windows_top_that_changes_moves_nothing_below_it() -> None:
    async with watched(height=8) as app:
        app.call("a", "run_command", '{"command": "make"}')
        for number in range(5):
            app.emit(CallProgress, call_id="a", name="run_command", text=f"out {number}\n")
        for number in range(40):
            app.transcript.add(NoticeBlock(f"line {number}"))
        app.transcript.go(4)
        read = app.lines()
        assert "out 2" in read[0]
        app.done("a", "run_command", "done")
        app.transcript.settle()
        assert app.lines()[4:-1] == read[4:-1]


async def test_thinking_that_is_being_read_does_not_fold_when_it_ends() -> None:
    async with watched(height=8) as app:
        app.emit(ThinkingDelta, text="\n".join(f"thought {number}" for number in range(40)))
        app.lines()
        app.transcript.move(-20)
        read = [line.rstrip(" ▐") for line in app.lines()[:-1]]
        app.emit(TextDelta, text="Answer")
        assert [line.rstrip(" ▐") for line in app.lines()[:-1]] == read
        assert not app.block(ThinkingBlock).folded


async def test_thoughts_stay_open_once_they_were_all_opened() -> None:
    async with watched() as app:
        app.emit(ThinkingDelta, text="first")
        app.emit(TextDelta, text="x")
        assert app.block(ThinkingBlock).folded
        app.transcript.fold_all(ThinkingBlock)
        app.emit(ThinkingDelta, text="second")
        app.emit(TextDelta, text="y")
        assert not app.block(ThinkingBlock).folded
        app.transcript.fold_all(ThinkingBlock)
        app.emit(ThinkingDelta, text="third")
        app.emit(TextDelta, text="z")
        assert all(app.block(ThinkingBlock, number).folded for number in range(3))
        app.transcript.fold_all(ThinkingBlock)
        earlier = restored_blocks((UserMessage("go"), AssistantMessage("Answer", reasoning="before")))
        app.transcript.add(*earlier)
        assert "  before" in app.rows()


async def test_one_card_opens_by_a_key_and_shows_what_is_in_it() -> None:
    async with watched(height=12) as app:
        for number in range(20):
            app.call(str(number), "run_command", f'{{"command": "{number}"}}')
            app.done(str(number), "run_command", "\n".join(f"line {line} of {number}" for line in range(6)))
        app.emit(TextDelta, text="All is well.")
        app.lines()
        app.transcript.fold_lowest()
        assert "    line 5 of 19" in [line.rstrip(" ▐") for line in app.lines()]
        assert not app.block(CallBlock).folded
        assert app.block(CallBlock, -2).folded
        app.transcript.fold_lowest()
        assert app.block(CallBlock).folded
        assert app.lines()[-2].rstrip(" ▐") == "  All is well."


def test_a_restored_session_shows_the_same_cards() -> None:
    def plan(call_id: str, arguments: str) -> tuple[Message, Message]:
        call = ToolCall(call_id, "plan", arguments)
        return AssistantMessage(tool_calls=(call,)), ToolMessage(call_id, "plan", "The plan: …")

    looks = tuple(ToolCall(f"r{number}", "read_file", f'{{"path": "{number}"}}') for number in range(3))
    messages: tuple[Message, ...] = (
        UserMessage("go"),
        *plan("1", '{"steps": ["look", "say it"]}'),
        AssistantMessage(tool_calls=looks),
        *(ToolMessage(call.id, "read_file", "text") for call in looks),
        *plan("2", '{"step": 1, "state": "done", "note": "seen"}'),
        AssistantMessage(tool_calls=(ToolCall("e", "edit_file", '{"path": "a", "old_text": "x", "new_text": "y"}'),)),
        ToolMessage("e", "edit_file", "edited a, 1 replacement:\n@@ -7 +7 @@\n-x\n+y"),
        AssistantMessage(tool_calls=(ToolCall("u", "run_command", '{"command": "ls"}'),)),
        AssistantMessage("All said."),
    )
    rows = [row.text.rstrip() for block in restored_blocks(messages) for row in block.layout(80)]
    assert rows == [
        "",
        "› go",
        "",
        "Plan · 2 of 2 over",
        "  ✓ 1. look · seen",
        "  ✓ 2. say it",
        "",
        "▸ 3 files read",
        "✓ done     edit_file a · +1 −1",
        "    7 - x",
        "    7 + y",
        "✗ stopped  run_command $ ls",
        "  └",
        "",
        "  All said.",
    ]
