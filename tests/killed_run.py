"""A scripted run of thirty steps that leave a line on disk each, in processes that die at any instant.

Reads from stdin, a line of JSON each, ``[folder, server, kind, run, seconds]``: a child begins a run, or goes on with
one, and the system ends it after so many seconds of its CPU time (0: never). Answers each with the child's status.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from qianda import Agent, Context, open_journal, tool
from qianda.agents.limits import Limits

STEPS = 30


async def work(folder: Path, server: str, kind: str, run_id: str, seconds: float) -> None:
    """Run, or resume, under a timer."""

    @tool(idempotent=kind == "safe")
    async def step(number: int, context: Context) -> str:
        """Do a step.

        Args:
            number: which.
        """
        # One write: it happened or it did not.
        handle = os.open(folder / "done", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{number} {context.idempotency_key}\n".encode())
        os.close(handle)
        return f"step {number} done"

    limits = Limits(turns=2 * STEPS)
    journal = open_journal(folder / "journal.db")
    async with Agent(server=server, model="qwen3-8b", tools=[step], journal=journal, limits=limits) as agent:
        await agent.endpoint()
        # Its signal is not handled: the process is gone at once, as with kill -9.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        async with agent.resume(run_id) if run_id else agent.stream("Do all steps.") as run:
            await run.wait()


async def warm() -> None:
    """Import what a run imports."""
    from qianda.testing import Call, ScriptedServer, Turn

    turns = [Turn(calls=[Call("none", {})]), "end"]
    async with (
        ScriptedServer(*turns) as server,
        Agent(server=server.url, model="qwen3-8b", journal=open_journal(None)) as agent,
    ):
        async with agent.stream("go") as run:
            await run.wait()
        async with run.fork() as again:
            await again.wait()


def main() -> None:
    """Make a child for each line."""
    asyncio.run(warm())
    for line in sys.stdin:
        folder, server, kind, run_id, seconds = json.loads(line)
        child = os.fork()
        if child == 0:
            asyncio.run(work(Path(folder), server, kind, run_id, seconds))
            os._exit(0)
        print(os.waitpid(child, 0)[1], flush=True)


main()
