"""``kill -9`` at any instant: nothing committed is repeated, nothing unsafe happens twice, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from qianda.agents.compaction import SUMMARY_PROMPT
from qianda.agents.conversation import UNKNOWN_OUTCOME, from_records
from qianda.agents.journal import Record
from qianda.agents.journal_index import list_sessions, search
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.agents.plan import latest_plan
from qianda.models.messages import AssistantMessage, Message, ToolMessage
from qianda.testing import Call, ScriptedServer, Turn

STEPS, KILLS = 30, int(os.environ.get("KILLS", "20"))  # bench/journal.py kills more
SEED = int(os.environ.get("KILLS_SEED") or random.randrange(10**6))
PROGRAM = Path(__file__).with_name("killed_run.py")
PLAN = ["The first ten steps", "The next ten", "The others, and the code"]
WINDOW, TICKS, NEVER, SPIN = 2_500, 150, 100_000, 0.003  # tokens, ticks, seconds; a whole run has 380 ticks


def reply(body: dict[str, Any]) -> Turn:
    """A model that plans, does steps, gives some to another agent and answers, by what is in the conversation alone."""
    messages = body["messages"]
    calls = [call["function"] for message in messages for call in message.get("tool_calls") or ()]
    text = "\n".join([*(str(one["content"]) for one in messages), *(call["arguments"] for call in calls)])
    numbers = [int(number) for number in re.findall(r'"number": (\d+)', text)]
    if SUMMARY_PROMPT[:40] in str(messages[-1]["content"]):
        return Turn(f'Done up to "number": {max(numbers)}.')
    if task := re.match(r"Do the steps (\d+) to (\d+)", str(messages[-1 - 2 * len(calls)]["content"])):
        first, end = map(int, task.groups())
        at = max([first, *(number + 1 for number in numbers)])
        return Turn(calls=[Call("step", {"number": at})]) if at <= end else Turn("They are done.")
    at = max([0, *(int(number) + 1 for number in re.findall(r'(?:"number":|Do the steps \d+ to) (\d+)', text))])
    if at == 0 and not calls:
        return Turn(calls=[Call("plan", {"steps": PLAN})])
    if at in (10, 20) and calls[-1]["name"] == "step":
        return Turn(calls=[Call("plan", {"state": "done"})])
    if at == 12:
        return Turn(calls=[Call("task", {"agent": "helper", "task": "Do the steps 12 to 16."})])
    if at < STEPS:
        together = [at, at + 1] if at == 22 else [at]
        return Turn(calls=[Call("step", {"number": number}) for number in together])
    return Turn(f"7391: {'7391' in text}")


def steps(folder: Path, kind: str) -> Counter[str]:
    """How often each call took effect."""
    done = folder / f"{kind}.done"
    return Counter(done.read_text().splitlines()) if done.exists() else Counter()


def runs(journal: SQLiteJournal, kind: str) -> list[list[Record]]:
    """The records of a run, and of the agents that it gave tasks to."""
    (main,) = journal.runs(kind)[-1:]
    with journal.reading() as db:
        ids = db.execute("SELECT run_id FROM run WHERE run_id LIKE ? ORDER BY run_id", (f"{main}%",)).fetchall()
    return [list(journal.records(run_id)) for (run_id,) in ids]


def said(messages: Sequence[Message]) -> list[Any]:
    """A conversation without the ids that the server chose."""
    made = [one.tool_calls if isinstance(one, AssistantMessage) else () for one in messages]
    names = [[(call.name, call.arguments) for call in some] for some in made]
    return [(one.role, one.content, some) for one, some in zip(messages, names, strict=True)]


@pytest.fixture
async def nurseries() -> AsyncIterator[list[Process]]:
    """Two processes that make processes and kill them."""
    command = [sys.executable, str(PROGRAM)]
    processes = [await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE) for _ in range(2)]
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):  # of its own fault, which the test has told
            process.kill()
        await process.wait()


class Runs:
    """Runs of one kind, in processes that are killed.

    Args:
        kind: whether their steps are "safe" to repeat.
        server: answers.
        nursery: a process that makes the processes, and kills them.
        kills: how many processes are to be killed.
    """

    def __init__(self, kind: str, server: ScriptedServer, nursery: Process, kills: int) -> None:
        self.kind = kind
        self.left = kills
        self._nursery = nursery
        self._server = server
        self._chance = random.Random(f"{SEED} {kind}")

    async def whole(self, folder: Path) -> list[list[Record]]:
        """One run, in as many processes as it takes; its records, and those of the agents that worked for it."""
        nursery = self._nursery
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        journal = SQLiteJournal(folder / "journal.db")
        status, killed = -1, 0
        while status:
            with journal.reading() as db:
                finished = db.execute("SELECT run_id || '/' || key FROM record WHERE state = 'finished'").fetchall()
            before = steps(folder, self.kind)
            # At no tick it dies while it opens the record.
            ticks = max(0, self._chance.randint(-TICKS // 10, TICKS)) if self.left else NEVER
            order = [str(folder), self._server.url, self.kind, ticks, self._chance.uniform(0, SPIN)]
            nursery.stdin.write(json.dumps(order).encode() + b"\n")
            status = int(await nursery.stdout.readline())
            assert status in (0, signal.SIGKILL)
            killed += status != 0
            self.left -= status != 0
            again = {line.split()[1] for line in steps(folder, self.kind) - before} & {key for (key,) in finished}
            assert not again, "committed calls were repeated"
        records = runs(journal, self.kind)
        self._check(folder, records, killed)
        return records

    def _check(self, folder: Path, records: list[list[Record]], killed: int) -> None:
        """What the run came to."""
        messages = from_records(records[0])
        assert messages[-1].content == "7391: True"
        plan = latest_plan(records[0])
        assert plan is not None
        assert [step.state for step in plan.steps] == ["done"] * len(PLAN)
        happened = Counter(line.split()[0] for line in steps(folder, self.kind).elements())
        every = [message for run in records for message in from_records(run)]
        calls = {call.id: call for one in every if isinstance(one, AssistantMessage) for call in one.tool_calls}
        told = {
            json.loads(calls[one.call_id].arguments)["number"]: str(one.content)
            for one in every
            if isinstance(one, ToolMessage) and one.name == "step"
        }
        assert set(told) == set(range(STEPS))
        unknown = {number for number, text in told.items() if text == UNKNOWN_OUTCOME}
        assert all(happened[str(number)] for number in set(told) - unknown)
        assert all(text.startswith(f"step {number} done") for number, text in told.items() if number not in unknown)
        if self.kind == "safe":
            assert not unknown
        else:
            assert max(happened.values()) == 1
            assert len(unknown) <= 2 * killed  # two calls run side by side


async def test_runs_that_are_killed_again_and_again(tmp_path: Path, nurseries: list[Process]) -> None:
    print(f"KILLS_SEED={SEED}")
    async with ScriptedServer(default=reply, model="qwen3-8b", window=WINDOW) as server, asyncio.timeout(50 + KILLS):
        (folder := tmp_path / "whole").mkdir()
        whole = await Runs("safe", server, nurseries[0], 0).whole(folder)
        assert len(whole) == 2
        assert {b'"summary"' in one.data[:200] for run in whole for one in run if one.kind == "compaction"} == {
            True,
            False,
        }
        asked = len(server.requests)
        kinds = [
            Runs("safe", server, nurseries[0], KILLS - KILLS // 2),
            Runs("unsafe", server, nurseries[1], KILLS // 2),
        ]
        number = 0
        while any(kind.left for kind in kinds):
            (folder := tmp_path / f"{(number := number + 1)}").mkdir()
            # Two processes on one record.
            safe, _ = await asyncio.gather(*(kind.whole(folder) for kind in kinds))
            assert [said(from_records(run)) for run in safe] == [said(from_records(run)) for run in whole]
            journal = SQLiteJournal(folder / "journal.db")
            assert {one.state for one in list_sessions(journal)} == {"done"}
            assert {one.session for one in search(journal, "vault")} == {"safe", "unsafe"}
            assert sqlite3.connect(journal.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)
        # Committed replies were not asked for again: each process that died lost one at most.
        assert len(server.requests) <= (1 + 2 * number) * asked + KILLS
    print(f"{KILLS} processes killed in {2 * number} runs of {asked} requests, {len(server.requests)} in all")
