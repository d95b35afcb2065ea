"""Pictures of cards, panes and screens, each as it looks in a small dark terminal and in a large light one."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from test_tui_app import FakeAgent, Person
from test_tui_images import png
from test_tui_screen_pictures import opened
from textual.pilot import Pilot

from qianda.agents.plan import ASK, PLAN_ANSWERS
from qianda.models import embedded, resolve
from qianda.models.detection import FoundModel, FoundServer
from qianda.models.errors import NoServer
from qianda.models.events import (
    ApprovalAsked,
    ArgumentsDelta,
    CallDenied,
    CallFailed,
    CallFinished,
    CallProgress,
    CallStarted,
    PlanChanged,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from qianda.models.messages import AssistantMessage, MediaPart, TextPart, ToolCall, ToolMessage, Usage, UserMessage
from qianda.models.plan import Plan
from qianda.models.servers import server_kinds
from qianda.tools.permissions import ApprovalRequest, Decision
from qianda.tools.questions import Question
from qianda.tui.app import QiandaApp
from qianda.tui.transcript.blocks import ThinkingBlock
from qianda.tui.transcript.calls import CallBlock, Card
from qianda.tui.transcript.diff import compare

LOOKS = [((80, 24), "qianda-dark"), ((120, 40), "qianda-light")]
Scene = Callable[[Person], Awaitable[None]]


@pytest.fixture(autouse=True)
def stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine, and no clock."""

    async def nothing() -> list[FoundServer]:
        return []

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(resolve, "probe_local", nothing)
    monkeypatch.setattr(embedded, "available", lambda: True)
    monkeypatch.setattr(embedded, "weights_present", lambda: False)
    monkeypatch.setattr("qianda.models.config.saved_rules_path", lambda: Path("/home/me/.config/qianda/rules.toml"))


# Cards

ASKED = {"arguments": "{}", "description": "", "reason": "it changes something"}


def call(run: Any, call_id: str, name: str, arguments: dict[str, Any]) -> None:
    run.emit(CallStarted, call_id=call_id, name=name, arguments=json.dumps(arguments))


async def still(person: Person) -> None:
    """Let everything be drawn, and the spinner stand."""
    await person.pilot.pause()
    person.chat.status.idle()
    person.chat.transcript.flush()
    await person.pilot.pause()


async def calls_going_on(person: Person) -> None:
    run = await person.says("Build it")
    call(run, "a", "run_command", {"command": "make all"})
    run.emit(CallProgress, call_id="a", name="run_command", text="".join(f"cc part{n}.c\n" for n in range(12)))
    call(run, "b", "write_file", {"path": "notes/价格.txt", "content": "14"})
    run.emit(ApprovalAsked, call_id="b", name="write_file", request_id="q", **ASKED)
    run.emit(ArgumentsDelta, index=0, name="run_command", text='{"command": "git commit -m \\"The first')
    await person.sees("◌ writing")
    await person.sees("? asking")


async def calls_done(person: Person) -> None:
    run = await person.says("Test it")
    for name in "ab":
        call(run, name, "read_file", {"path": f"{name}.txt"})
        run.emit(CallFinished, call_id=name, name="read_file", content="x", seconds=0.1)
    call(run, "c", "grep", {"pattern": "price", "path": "src"})
    run.emit(CallFinished, call_id="c", name="grep", content="src/a.py:3: price", seconds=0.1)
    call(run, "d", "run_command", {"command": "make test", "timeout": 60})
    run.emit(CallFinished, call_id="d", name="run_command", content="12 passed\nin 3 s\n", seconds=3.2)
    call(run, "e", "run_command", {"command": "make lint"})
    error = "part1.py:1: unused import\npart2.py:7: line too long\nexit code 1"
    run.emit(CallFailed, call_id="e", name="run_command", error=error, seconds=1.0)
    call(run, "f", "write_file", {"path": "/etc/hosts", "content": "x"})
    run.emit(CallDenied, call_id="f", name="write_file", reason="It lies outside the workspace", by="rule")
    call(run, "g", "run_command", {"command": "rm -rf build"})
    run.emit(CallDenied, call_id="g", name="run_command", reason="The user said no: use make clean", by="person")
    call(run, "h", "run_command", {"command": "sleep 100"})
    run.emit(RunFinished, reason="cancelled")
    await person.sees("! Stopped")


OLD = 'def area(r):\n    """Of a circle."""\n    return 3.14 * r * r\n\n\ndef twice(x):\n    return x * 2\n'
NEW = "import math\n\n\n" + OLD.replace("3.14 * r * r", "math.pi * r**2").replace("x * 2", "x * 2  # 两倍")


async def differences(person: Person) -> None:
    run = await person.says("Be exact")
    person.chat.transcript.stack.look.split = person.app.size.width >= 120
    for call_id, name in (("a", "edit_file"), ("b", "run_command")):
        call(run, call_id, name, {"path": "area.py"} if name == "edit_file" else {"command": "make format"})
        await person.until(lambda: any(isinstance(block, CallBlock) for block in person.chat.transcript.stack.blocks))
    await person.until(lambda: sum(isinstance(one, CallBlock) for one in person.chat.transcript.stack.blocks) == 2)
    first, second = (block for block in person.chat.transcript.stack.blocks if isinstance(block, CallBlock))
    first.diffs = (compare(OLD, NEW, "area.py"),)
    second.diffs = (compare(OLD, NEW, "area.py"), compare(None, "x\n", "new.py"), compare("x\n", "", "old.py"))
    for call_id, name in (("a", "edit_file"), ("b", "run_command")):
        run.emit(CallFinished, call_id=call_id, name=name, content="done", seconds=0.2)
    run.done()
    await person.until(lambda: not person.app.chat.busy)


async def plan_and_agents(person: Person) -> None:
    run = await person.says("Do all of it")
    plan = Plan().revised(["Look around", "Change the prices", "Ask the shop", "Test it", "Tidy up"]).begun()
    run.emit(
        PlanChanged, plan=plan.moved(1, "done", "three files").moved(2, "failed", "no such table").moved(3, "skipped")
    )
    call(run, "t", "task", {"agent": "scout", "task": "find the prices"})
    inner: dict[str, Any] = {"run_id": "run.t", "parent_run_id": "run"}
    events = [
        (RunStarted, {"server": "", "model": "", "why": "", "call_id": "t"}),
        (CallStarted, {"call_id": "1", "name": "grep", "arguments": '{"pattern": "price"}'}),
        (CallFinished, {"call_id": "1", "name": "grep", "content": "x", "seconds": 0.2}),
        (CallStarted, {"call_id": "2", "name": "run_command", "arguments": '{"command": "rm -rf x"}'}),
        (CallDenied, {"call_id": "2", "name": "run_command", "reason": "no rule allows it", "by": "rule"}),
        (UsageReported, {"request": Usage(900, 34), "total": Usage(1200, 34)}),
        (ThinkingDelta, {"text": "Where else"}),
    ]
    for kind, fields in events:
        run.emit(kind, **fields, **inner)
    call(run, "u", "task", {"agent": "writer", "task": "write the report"})
    run.emit(
        CallFinished, call_id="u", name="task", content="The report is in report.md.\nIt has two parts.", seconds=12
    )
    await person.sees("report.md")


async def thinking_retry_limit(person: Person) -> None:
    run = await person.says("Think about it")
    run.emit(ThinkingDelta, text="First the easy part.\nThen the rest.")
    run.emit(TextDelta, text="Half an ans")
    run.emit(Retrying, cause="The server broke off the connection", attempt=2, wait=0.5, discard=True)
    run.emit(ThinkingDelta, text="Once more: 一步一步来。\nNow I know.")
    run.emit(TextDelta, text="It is *not* easy.")
    run.emit(ThinkingDelta, text="And what if\nit were?")
    await person.sees("it were?")
    thoughts = [block for block in person.chat.transcript.stack.blocks if isinstance(block, ThinkingBlock)]
    for block in thoughts[:-1]:
        block.seconds = 3.0
        block.changed()
    person.chat.transcript.action_toggle_block(thoughts[0].serial)
    run.emit(RunFinished, reason="limit", which="turns", message="The run stopped at its limit of 50 turns")
    await person.sees("limit of 50 turns")
    thoughts[-1].seconds = 1.0
    thoughts[-1].changed()


async def pending(person: Person) -> None:
    """A reply that is coming: thinking is open."""
    run = await person.says("Why?")
    run.emit(ThinkingDelta, text="Because of the first reason.\nOr the second.")
    await person.sees("the second")
    person.chat.editor.insert("[not sent yet] 写到一半")
    person.chat.status.say(waiting=1, queued=2, tokens=1234, thinking="thinks")


def picture(width: int, height: int) -> MediaPart:
    """Red above, blue below."""
    return MediaPart("image", f"data:image/png;base64,{base64.b64encode(png(width, height)).decode()}")


EARLIER = (
    UserMessage((TextPart("What is on it?"), picture(24, 16))),
    AssistantMessage("A red half, and a blue one.", tool_calls=(ToolCall("s", "view_image", '{"path": "a.png"}'),)),
    ToolMessage("s", "view_image", (TextPart("a.png"), picture(8, 8))),
    AssistantMessage("So it is."),
)


CARDS: list[Scene] = [calls_going_on, calls_done, differences, plan_and_agents, thinking_retry_limit, pending]


# Panes


def asks(person: Person, number: int = 1, **fields: Any) -> None:
    given: dict[str, Any] = {
        "name": "run_command",
        "arguments": {"command": "pip install left-pad && \\\n  ./configure --prefix=/usr"},
        "reason": "run_command (built-in) would run `pip install`, which no rule allows",
        "rule": "run_command(pip install:*)",
        "workspace": Path("/home/me/project"),
        **fields,
    }
    request = ApprovalRequest(request_id=f"q{number}", run_id="run", call_id=f"c{number}", description="", **given)

    async def ask() -> Decision:
        return await person.agent.approve(request)

    person.kept.append(asyncio.create_task(ask()))


async def approval_of_a_command(person: Person) -> None:
    await person.says("Install it")
    asks(person)
    await person.sees("Run run_command?")


async def approval_of_a_difference(person: Person) -> None:
    await person.says("Write it")
    arguments = {"path": "area.py", "content": NEW}
    folder = person.app.chat.workspace
    (folder / "area.py").write_text(OLD, encoding="utf-8")
    asks(person, name="write_file", arguments=arguments, reason="it changes a file", workspace=folder)
    await person.sees("Run write_file?")


async def approval_of_a_rule(person: Person) -> None:
    await approval_of_a_command(person)
    await person.pilot.press("down", "down", "down", "down", "enter")
    await person.sees("Save this rule?")


async def approval_of_three(person: Person) -> None:
    await person.says("Do three things")
    for number in range(1, 4):
        asks(
            person,
            number,
            name="fetch",
            arguments={"url": f"https://example.org/{number}"},
            agent="scout",
            reason="it asks",
            rule="",
        )
    await person.sees("1 of 3")
    await person.pilot.press("down", "enter")
    await person.sees("Why not?")


async def question(person: Person) -> None:
    await person.says("Paint it")
    person.kept.append(person.is_asked(Question(question="Which colour?", options=("red", "蓝色", "none at all"))))
    await person.sees("Which colour?")
    await person.pilot.press("down")


async def form(person: Person) -> None:
    await person.says("Book it")
    schema = {
        "type": "object",
        "properties": {
            "seats": {"type": "integer", "title": "Seats", "minimum": 1, "maximum": 9},
            "window": {"type": "boolean", "default": True},
            "class": {"oneOf": [{"const": "y", "title": "Economy"}, {"const": "c", "title": "Business"}]},
            "note": {"type": "string"},
        },
        "required": ["seats", "class"],
    }
    person.kept.append(person.is_asked(Question(question="Your flight", schema=schema)))
    await person.sees("Your flight")
    await person.pilot.press("enter", "down", "down")


async def plan_acceptance(person: Person) -> None:
    run = await person.says("Plan it")
    steps = ["Look at what is there", "Change the prices", "Test it"]
    run.emit(PlanChanged, plan=Plan().revised(steps))
    listed = "\n".join(f"{number}. [ ] {step}" for number, step in enumerate(steps, 1))
    person.kept.append(person.is_asked(Question(question=f"{listed}\n{ASK}", options=PLAN_ANSWERS)))
    await person.sees("Carry out this plan?")


async def completion(person: Person) -> None:
    person.chat.editor.insert("/")
    await person.sees("/clear")


PANES: list[Scene] = [
    approval_of_a_command,
    approval_of_a_difference,
    approval_of_a_rule,
    approval_of_three,
    question,
    form,
    plan_acceptance,
    completion,
]


def project(**files: str) -> Path:
    """The folder that the chat works in."""
    folder = Path.home() / "project"
    folder.mkdir()
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def played(scene: Scene, theme: str, agent: FakeAgent, workspace: Path, session: str | None = None) -> tuple[Any, Any]:
    """The app, and what brings it to the scene."""
    app = QiandaApp(agent.open, workspace=workspace, session=session)
    fails = bool(agent.failures)

    async def play(pilot: Pilot[Any]) -> None:
        app.theme = theme
        person = Person(app, pilot, agent)
        await person.until(lambda: not agent.failures if fails else agent.sessions)
        await scene(person)
        await still(person)

    return app, play


@pytest.mark.parametrize(("size", "theme"), LOOKS, ids=["dark", "light"])
@pytest.mark.parametrize("scene", CARDS + PANES)
def test_in_the_chat(scene: Scene, size: tuple[int, int], theme: str, snap_compare: Any) -> None:
    app, play = played(scene, theme, FakeAgent(), project())
    assert snap_compare(app, terminal_size=size, run_before=play)


@pytest.mark.parametrize(("size", "theme"), LOOKS, ids=["dark", "light"])
def test_images_of_an_earlier_conversation(size: tuple[int, int], theme: str, snap_compare: Any) -> None:
    async def scene(person: Person) -> None:
        await person.sees("So it is.")
        person.chat.transcript.fold_all(Card)

    app, play = played(scene, theme, FakeAgent(messages=EARLIER), project(), session="earlier")
    assert snap_compare(app, terminal_size=size, run_before=play)


@pytest.mark.parametrize(("size", "theme"), LOOKS, ids=["dark", "light"])
def test_what_a_folder_brings(size: tuple[int, int], theme: str, snap_compare: Any) -> None:
    async def scene(person: Person) -> None:
        await person.sees("None of it is used until you trust it")

    brings = {
        "AGENTS_md": "Use tabs",
        "_mcp_json": '{"mcpServers": {"weather": {"command": "uvx", "args": ["weather"]}}}',
        "_qianda__config_toml": '[rules]\nallow = ["run_command(make *)"]\n[hooks]\nbefore_tool = ["./check.sh"]\n',
    }
    app, play = played(scene, theme, FakeAgent(), project(**brings))
    assert snap_compare(app, terminal_size=size, run_before=play)


# Screens


@pytest.mark.parametrize(("size", "theme"), LOOKS, ids=["dark", "light"])
def test_first_run(size: tuple[int, int], theme: str, snap_compare: Any) -> None:
    agent = FakeAgent()
    agent.failures = [NoServer("No model server answers on this machine", cure="Start one")]

    async def scene(person: Person) -> None:
        await person.sees("No model server answers on the usual ports")

    app, play = played(scene, theme, agent, project())
    assert snap_compare(app, terminal_size=size, run_before=play)


@pytest.mark.parametrize(("size", "theme"), LOOKS, ids=["dark", "light"])
def test_a_difference_on_the_whole_screen(size: tuple[int, int], theme: str, snap_compare: Any) -> None:
    async def scene(person: Person) -> None:
        await approval_of_a_difference(person)
        await person.pilot.press("ctrl+f")
        await person.sees("previous change")

    app, play = played(scene, theme, FakeAgent(), project())
    assert snap_compare(app, terminal_size=size, run_before=play)


SERVERS = {
    "mcpServers": {
        "weather": {"command": "uvx", "args": ["weather"]},
        "notes": {"url": "https://notes.example/mcp", "headers": {"Authorization": "Bearer secret-of-notes"}},
    }
}


@pytest.mark.parametrize(("size", "theme"), LOOKS, ids=["dark", "light"])
@pytest.mark.parametrize("command", ["models", "mcp", "tools", "theme", "help"])
def test_screen(
    command: str, size: tuple[int, int], theme: str, snap_compare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, show = opened(command, light=False)
    if command == "mcp":
        (Path.home() / "project/.mcp.json").write_text(json.dumps(SERVERS), encoding="utf-8")
    if command == "models":
        model = FoundModel("qwen2.5-vl-7b", 131_072)
        found = FoundServer("http://127.0.0.1:8080/v1", server_kinds()["llamacpp"], (model,))

        async def probe() -> list[FoundServer]:
            return [found]

        monkeypatch.setattr(resolve, "probe_local", probe)

    async def play(pilot: Pilot[Any]) -> None:
        await show(pilot)
        app.theme = theme
        if command == "models":
            await Person(app, pilot, FakeAgent()).sees("qwen2.5-vl-7b")
            await pilot.press("home")
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=play)
