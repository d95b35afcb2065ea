"""Pictures of the screens, over a record that was written for them: 80×24 in the dark, 120×40 in the light."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from qianda import Agent, tool
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.models.config import data_dir
from qianda.models.events import (
    CallDenied,
    CallFinished,
    CallStarted,
    Event,
    InputReceived,
    PlanChanged,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    UsageReported,
)
from qianda.models.messages import Usage
from qianda.models.plan import Plan, PlanStep
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.tools.undo_steps import Steps
from qianda.tui.app import QiandaApp
from qianda.tui.commands import command_named
from qianda.tui.conversation import Approve, Ask, Changes, Notify
from qianda.tui.screens.listing import ListScreen

HOUR = 3600.0


@tool(read_only=True)
async def look(where: str) -> str:
    """Look somewhere.

    Args:
        where: a place.
    """
    return f"{where} is fine"


SESSIONS = (
    (
        "chat-20260101-100000",
        "done",
        50.0,
        ("Plan a trip to Hangzhou", "Four days: West Lake, 灵隐寺, tea."),
    ),
    ("prices", "interrupted", 5.0, ("Write prices.py", "Written."), ("Add types to it", "It has types now.")),
    ("chat-20260102-100000", "cancelled", 0.0, ("Why is the build slow?", "It compiles everything twice.")),
)


PLAN = Plan(
    (
        PlanStep("Run the tests", "done", "12 passed"),
        PlanStep("Fix what fails", "skipped", "nothing does"),
        PlanStep("Write a report", "doing"),
        PlanStep("Tag it"),
    )
)


def write_record(workspace: Path) -> None:
    """Three sessions; the middle one changed a file, twice."""
    file = workspace / "prices.py"
    contents = iter(("def triple(x):\n    return x * 3\n", "def triple(x: float) -> float:\n    return x * 3\n"))
    with closing(SQLiteJournal(data_dir() / "journal.db")) as journal:
        for name, state, _, *exchanges in SESSIONS:
            for number, (prompt, answer) in enumerate(exchanges):
                run = f"{name}-{number}"
                start = {"session": name, "server": "vLLM", "model": "qwen3-8b", "plan": False}
                journal.note(run, "start", start | {"workspace": str(workspace)})
                journal.note(run, "input", prompt)
                if name == "prices":
                    steps = Steps(run, workspace, lambda _: None)
                    step = steps.begin("write_file", scanned=False)
                    step.changing(file)
                    file.write_text(next(contents), encoding="utf-8")
                    step.end()
                    journal.note(run, "files", {"call": "turn/0/call/0", "run": run, "step": step.number})
                journal.finish(run, "turn/0", "model", {"text": answer, "reasoning": "", "calls": [], "finish": "stop"})
                if state != "interrupted":
                    journal.note(run, "finish", {"finish": state})
        with journal.batch(), journal.reading() as db:
            for name, _, hours, *_rest in SESSIONS:
                then = time.time() - hours * HOUR
                db.execute("UPDATE run SET updated = ?, owner = 0 WHERE session = ?", (then, name))
                db.execute("UPDATE record SET time = ? WHERE run_id LIKE ? || '-%'", (then, name))


def feed(app: QiandaApp) -> None:
    """What a run did."""
    at = 1_767_225_600.0  # midnight, UTC
    asked = {"name": "run_command", "arguments": '{"command": "make test"}'}
    passed = {"content": "12 passed", "seconds": 2.0, "rule": "run_command(make:*)"}
    denied = {"reason": "It lies outside the workspace", "by": "rule"}
    events: list[tuple[type[Event], float, dict[str, Any]]] = [
        (RunStarted, 0.0, {"server": "vLLM", "model": "qwen3-8b", "why": "it answers at port 8000"}),
        (InputReceived, 0.0, {"content": "Test the prices"}),
        (Retrying, 0.5, {"cause": "The server says: busy", "attempt": 2, "wait": 0.5, "discard": False}),
        (TextDelta, 1.5, {"text": "I"}),
        (UsageReported, 3.5, {"request": Usage(1_204, 96, cached_tokens=1_024), "total": Usage()}),
        (CallStarted, 3.5, {"call_id": "a", **asked}),
        (CallFinished, 5.5, {"call_id": "a", "name": "run_command", **passed}),
        (CallStarted, 5.6, {"call_id": "b", "name": "write_file", "arguments": '{"path": "/etc/hosts"}'}),
        (CallDenied, 5.6, {"call_id": "b", "name": "write_file", **denied}),
        (PlanChanged, 5.7, {"plan": PLAN}),
        (RunFinished, 6.0, {"reason": "limit", "which": "turns", "message": "The limit of 2 turns is reached"}),
    ]
    for seq, (kind, seconds, fields) in enumerate(events):
        app.chat.trace.note(kind(run_id="run", seq=seq, time=at + seconds, **fields))


def opened(
    command: str, *keys: str, light: bool
) -> tuple[QiandaApp, Callable[[Pilot[Any]], Coroutine[Any, Any, None]]]:
    """The app, and what opens a screen in it."""
    workspace = Path.home() / "project"
    workspace.mkdir()
    write_record(workspace)
    endpoint = Endpoint(
        url="http://127.0.0.1:9/v1", kind=server_kinds()["vllm"], model="qwen3-8b", why="test", window=32_768
    )

    async def open_agent(approve: Approve, ask: Ask, notify: Notify, changes: Changes) -> Agent:
        del approve, ask, notify, changes
        journal = data_dir() / "journal.db"
        return Agent(server=endpoint, tools=[look], workspace=workspace, journal=journal, instructions="Be brief.")

    app = QiandaApp(open_agent, session="prices", workspace=workspace)

    async def play(pilot: Pilot[Any]) -> None:
        if light:
            app.theme = "qianda-light"
        found = command_named(command)
        assert found is not None
        async with asyncio.timeout(10):
            while app.chat.conversation is None:
                await pilot.pause()
            feed(app)
            app.do(found)
            while not isinstance(app.screen, ListScreen) or not app.screen.items:
                await pilot.pause()
            await pilot.press(*keys)
            await app.workers.wait_for_complete()
            await pilot.pause()

    return app, play


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


DARK = [
    ("sessions", ("down",)),
    ("rewind", ()),
    ("changes", ()),
    ("plan", ()),
    ("trace", ("up", "up", "up", "up", "up")),
    ("context", ()),
    ("palette", (*"rewind",)),
]


@pytest.mark.parametrize(("command", "keys"), DARK)
def test_in_the_dark(command: str, keys: tuple[str, ...], snap_compare: Any) -> None:
    app, play = opened(command, *keys, light=False)
    assert snap_compare(app, terminal_size=(80, 24), run_before=play)


@pytest.mark.parametrize("command", ["sessions", "changes", "trace"])
def test_in_the_light(command: str, snap_compare: Any) -> None:
    app, play = opened(command, light=True)
    assert snap_compare(app, terminal_size=(120, 40), run_before=play)
