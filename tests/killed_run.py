"""A run of thirty steps that leave a line on disk each, with a plan and another agent, in processes that are killed.

Reads from stdin, a line of JSON each, ``[folder, server, kind, ticks, spin]``: a child begins the run of that kind, or
goes on with it, and is killed by ``kill -9`` when it has come past so many ticks, and so many seconds more. A tick is
the beginning or the end of a write to the record, or of a step. Answers each with the child's status.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from qianda import Agent, Context, tool
from qianda.agents.as_tool import Task
from qianda.agents.definition import AgentDefinition
from qianda.agents.journal import Record
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.agents.limits import Limits
from qianda.agents.resumed import is_done
from qianda.agents.wishes import Wishes
from qianda.models.tokens import count_text
from qianda.tools.builtin.plan import plan

PROMPT = "The vault's code is 7391. Do all steps, then say the code."


class Ticking(SQLiteJournal):
    """A record that says when it is written."""

    tick: Callable[[], int]

    def append(self, record: Record) -> None:
        """Write, between two ticks."""
        self.tick()
        super().append(record)
        self.tick()


async def work(folder: Path, server: str, kind: str, tick: Callable[[], int]) -> None:
    """Run, or resume."""

    @tool(idempotent=kind == "safe")
    async def step(number: int, context: Context) -> str:
        """Do a step.

        Args:
            number: which.
        """
        tick()
        # One write: it happened or it did not.
        handle = os.open(folder / f"{kind}.done", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{number} {context.idempotency_key}\n".encode())
        os.close(handle)
        tick()
        return f"step {number} done" + ", and there is little to say of it" * 15

    journal = Ticking(folder / "journal.db")
    journal.tick = tick
    limits = Limits(turns=None, tool_calls=None)
    helper = AgentDefinition(
        name="helper", source="user", path=folder, description="Does steps", wishes=Wishes(agent="helper")
    )
    task = Task(agents={"helper": helper}, load=lambda _: Agent(tools=[step], limits=limits))
    tools = [step, plan, task]
    async with Agent(server=server, model="qwen3-8b", tools=tools, journal=journal, limits=limits) as agent:
        session = agent.session(kind)
        runs = journal.runs(kind)
        if runs and is_done(journal, runs[-1]):
            return
        # A run that was killed before its prompt was recorded never began.
        began = runs and any(record.kind == "input" for record in journal.records(runs[-1]))
        async with session.resume() if began else session.stream(PROMPT) as run:
            await run.wait()


async def warm() -> None:
    """Import what a run imports, and read the vocabulary."""
    from qianda.models.family import find_family
    from qianda.testing import Call, ScriptedServer, Turn

    count_text("warm", find_family("qwen3-8b"))
    with TemporaryDirectory() as folder:
        async with ScriptedServer(Turn(calls=[Call("plan", {"steps": ["a", "b"]})]), default="end") as server:
            await work(Path(folder), server.url, "safe", lambda: 0)


def main() -> None:
    """Make a child for each line, and kill it."""
    asyncio.run(warm())
    for line in sys.stdin:
        folder, server, kind, ticks, spin = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            asyncio.run(work(Path(folder), server, kind, partial(os.write, writing, b".")))
            os._exit(0)
        os.close(writing)
        while ticks and (heard := len(os.read(reading, ticks))):
            ticks -= heard
        if not ticks:
            until = time.perf_counter() + spin
            while time.perf_counter() < until:
                pass
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        os.close(reading)
        print(status, flush=True)


main()
