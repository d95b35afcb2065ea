"""Runs whose record is on a disk that gets full: ``full_disk.py FOLDER SIZE…``, in a namespace in which it may mount.

Prints a line of JSON for each size in KiB: what the run said when the disk was full, how long the record was then, and
what the run came to that went on when there was room.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from qianda import Agent, JournalError, tool
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.testing import Call, ScriptedServer, Turn

STEPS = 30
done: list[int] = []


@tool
async def step(number: int) -> str:
    """Do a step.

    Args:
        number: which.
    """
    done.append(number)
    return f"step {number} done {os.urandom(2_000).hex()}"


def reply(body: dict[str, Any]) -> Turn:
    """A model that does all steps."""
    at = sum(message["role"] == "tool" for message in body["messages"])
    return Turn(calls=[Call("step", {"number": at})]) if at < STEPS else Turn("All done.")


def mount(*words: object) -> None:
    """Mount a file system in memory, or change the one that is there."""
    subprocess.run(["mount", *map(str, words)], check=True)


async def once(folder: Path, size: int) -> dict[str, Any]:
    """One run."""
    done.clear()
    folder /= str(size)  # whoever closes a record late removes its files by name
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}k", "none", folder)
    path, said, output, run_id = folder / "journal.db", "", "", ""
    async with ScriptedServer(default=reply, model="qwen3-8b") as server:
        options: dict[str, Any] = {"server": server.url, "model": "qwen3-8b", "tools": [step], "journal": path}
        try:
            async with Agent(**options) as agent, agent.stream("Do all steps.") as run:
                run_id = run.id
                output = (await run.wait()).output
        except JournalError as error:
            said = str(error)
        before = len(done)
        mount("-o", "remount,size=8m", folder)
        whole = sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()[0]
        began = any(record.kind == "input" for record in SQLiteJournal(path).records(run_id))
        if said:
            agent = Agent(**options)
            async with agent, agent.resume(run_id) if began else agent.stream("Do all steps.") as again:
                output = (await again.wait()).output
    return {
        "size": size,
        "said": said,
        "before": before,
        "began": began,
        "whole": whole,
        "output": output,
        "done": done,
    }


async def main() -> None:
    """All sizes."""
    for size in sys.argv[2:]:
        print(json.dumps(await once(Path(sys.argv[1]), int(size))), flush=True)


asyncio.run(main())
