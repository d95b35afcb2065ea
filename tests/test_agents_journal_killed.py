"""A process that dies at any instant: nothing committed is repeated, nothing unsafe happens twice, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from qianda.agents.conversation import UNKNOWN_OUTCOME, from_records
from qianda.agents.journal_index import list_sessions
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.models.messages import ToolMessage
from qianda.testing import Call, ScriptedServer, Turn

STEPS, KILLS = 30, int(os.environ.get("KILLS", "10"))  # bench/journal.py kills more
PROGRAM = Path(__file__).with_name("killed_run.py")


def reply(body: dict[str, Any]) -> Turn:
    """What a model says that does the steps in order, one a turn, by what is in the conversation alone."""
    results = [message for message in body["messages"] if message["role"] == "tool"]
    if len(results) < STEPS:
        return Turn(calls=[Call("step", {"number": len(results)})])
    return Turn("All done.")


@pytest.fixture
async def nursery() -> AsyncIterator[Process]:
    """A process that makes the processes that die."""
    process = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), stdin=PIPE, stdout=PIPE)
    yield process
    process.kill()
    await process.wait()


def steps(folder: Path) -> Counter[str]:
    """How often each call took effect."""
    done = folder / "done"
    return Counter(done.read_text().splitlines()) if done.exists() else Counter()


def state(folder: Path) -> str:
    """The state of the run; "" when not even its beginning was recorded."""
    sessions = list_sessions(SQLiteJournal(folder / "journal.db"))
    return sessions[0].state if sessions else ""


@pytest.mark.parametrize("kind", ["safe", "unsafe"])
async def test_runs_that_are_killed_again_and_again(tmp_path: Path, nursery: Process, kind: str) -> None:
    chance = random.Random(kind)
    kills = jobs = 0
    async with ScriptedServer(*[reply] * 100 * KILLS, model="qwen3-8b") as server, asyncio.timeout(50 + KILLS):
        while kills < KILLS:
            jobs += 1
            folder = tmp_path / str(jobs)
            folder.mkdir()
            while state(folder) != "done":
                seconds = chance.uniform(0.001, 0.03) if kills < KILLS else 0
                kills += await killed(nursery, folder, server.url, kind, seconds)
            check(folder, kind)


async def killed(nursery: Process, folder: Path, server: str, kind: str, seconds: float) -> bool:
    """Begin a run or go on with it in a process that dies after so many seconds of CPU; whether it died."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    journal = SQLiteJournal(folder / "journal.db")
    sessions = list_sessions(journal)
    run_id = sessions[0].last_run if sessions else ""
    assert state(folder) in ("", "interrupted")
    finished = {record.key for record in journal.records(run_id) if record.state == "finished"}
    before = steps(folder)
    nursery.stdin.write(json.dumps([str(folder), server, kind, run_id, seconds]).encode() + b"\n")
    status = int(await nursery.stdout.readline())
    assert status in (0, signal.SIGPROF)
    for line in steps(folder) - before:
        assert line.split()[1].removeprefix(f"{run_id}/") not in finished, "a committed call was repeated"
    return status != 0


def check(folder: Path, kind: str) -> None:
    """What a run came to that was killed some times on its way."""
    journal = SQLiteJournal(folder / "journal.db")
    happened = Counter(line.split()[0] for line in steps(folder).elements())
    (session,) = list_sessions(journal)
    messages = from_records(journal.records(session.last_run))
    assert messages[-1].content == "All done."
    told = [message.content for message in messages if isinstance(message, ToolMessage)]
    sure = [f"step {number} done" for number in range(STEPS)]
    if kind == "safe":
        assert told == sure
    else:
        assert max(happened.values()) == 1
        assert all(text in (wanted, UNKNOWN_OUTCOME) for text, wanted in zip(told, sure, strict=True))
        assert all(happened[str(number)] for number, text in enumerate(told) if text != UNKNOWN_OUTCOME)
    assert sqlite3.connect(journal.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
