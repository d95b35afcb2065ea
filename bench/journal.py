"""What the record costs, and how fast it answers: ``python bench/journal.py [--kills 200]`` prints a line each.

CPU of runs with and without a record (64 at once, each side in processes of its own, best of three), resuming a session
of 1,000 steps, listing and searching 10,000 sessions; with ``--kills`` also that many killed processes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from qianda import Agent, open_journal, tool
from qianda.agents.journal_index import index_text, list_sessions, search
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.agents.limits import Limits
from qianda.models.messages import ToolCall
from qianda.models.reply import Reply
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools.results import ToolResult

AT_ONCE, WAVES, TURNS = 64, 4, 5
SESSIONS, STEPS, SEARCHES = 10_000, 1_000, 5
WORDS = "读取 文件 杭州 天气 report table budget harbour violet engine marble copper signal 模型 计划 meeting".split()  # noqa: SIM905 -- to be read


@tool(idempotent=True)
async def add(first: int, second: int) -> int:
    """Add two numbers.

    Args:
        first: one.
        second: the other.
    """
    return first + second


def reply(body: dict[str, Any]) -> Turn:
    """Four calls, then an answer."""
    results = sum(message["role"] == "tool" for message in body["messages"])
    return Turn(calls=[Call("add", {"first": results, "second": 1})]) if results < TURNS - 1 else Turn("done")


async def serve() -> None:
    """A server in a process of its own, so that its CPU is not counted."""
    async with ScriptedServer(*[reply] * (AT_ONCE * (WAVES + 1) * TURNS), model="qwen3-8b") as server:
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def measure(server: str, record: str) -> None:
    """CPU seconds of so many runs at once, after a first wave."""
    journal = open_journal(record) if record != "none" else None
    async with Agent(server=server, model="qwen3-8b", tools=[add], journal=journal) as agent:
        await asyncio.gather(*(agent.run("Add.") for _ in range(AT_ONCE)))
        before = time.process_time()
        for _ in range(WAVES):
            await asyncio.gather(*(agent.run("Add.") for _ in range(AT_ONCE)))
        print(time.process_time() - before)


def cost(folder: Path) -> None:
    """Runs with and without a record."""
    best = {"none": float("inf"), "record": float("inf")}
    for attempt in range(3):
        for side in ("none", "record"):
            command = [sys.executable, __file__, "--serve"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
                assert server.stdout is not None
                url = server.stdout.readline().strip()
                record = "none" if side == "none" else str(folder / f"cost{attempt}.db")
                done = subprocess.run(
                    [sys.executable, __file__, "--measure", url, record], capture_output=True, text=True, check=True
                )
                best[side] = min(best[side], float(done.stdout))
                assert server.stdin is not None
                server.stdin.close()
    runs = AT_ONCE * WAVES
    none, record = best["none"] * 1e3 / runs, best["record"] * 1e3 / runs
    print(
        f"a run of {TURNS} replies, {AT_ONCE} at once: {none:.2f} ms CPU, recorded {record:.2f}: {record / none:.2f}×"
    )


def fill(journal: SQLiteJournal) -> None:
    """Sessions with a prompt, a call, its result and an answer."""
    chance = random.Random(1)

    def text(words: int) -> str:
        return " ".join(chance.choices(WORDS, k=words)) + f" {chance.randrange(10**9)}"

    for first in range(0, SESSIONS, 500):
        with journal.batch():
            for number in range(first, first + 500):
                run_id = f"run-{number}"
                start = {"session": f"session-{number}", "workspace": f"folder-{number % 40}", "model": "qwen3-8b"}
                journal.note(run_id, "start", start)
                journal.note(run_id, "input", text(12))
                call = Reply(calls=(ToolCall("a", "read_file", '{"path": "a"}'),), finish="tool_calls")
                journal.finish(run_id, "turn/0", "model", call)
                journal.finish(run_id, "turn/0/call/0", "tool", ToolResult(text(60)))
                journal.finish(run_id, "turn/1", "model", Reply(text=text(40), finish="stop"))
                journal.note(run_id, "finish", {"finish": "done", "message": ""})


def timed(what: str, bound: float, work: Any) -> None:
    """Print the best of some times."""
    best = float("inf")
    for _ in range(SEARCHES):
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    print(f"{what}: {best * 1e3:.1f} ms (at most {bound:.0f})")


def lists(folder: Path) -> None:
    """Listing and searching."""
    journal = SQLiteJournal(folder / "many.db")
    fill(journal)
    print(f"{SESSIONS:,} sessions: {journal.path.stat().st_size / 1e6:.0f} MB", end=", ")
    before = time.perf_counter()
    index_text(journal)
    print(
        f"with the index {journal.path.stat().st_size / 1e6:.0f} MB, made once in {time.perf_counter() - before:.1f} s"
    )
    timed("list of all", 200, lambda: list_sessions(journal))
    timed("list of 30", 200, lambda: list_sessions(journal, limit=30))
    for words in ("harbour violet", "杭州 天气", "engine 计划", "nowhere at all", "无有"):
        timed(f"search {words}", 300, lambda words=words: search(journal, words))


async def resume(folder: Path) -> None:
    """A run of many steps that was interrupted at its end, and a session of it."""
    path = folder / "long.db"
    turns = [Turn(calls=[Call("add", {"first": number, "second": 1})]) for number in range(STEPS // 2)]
    async with ScriptedServer(*turns, *["done"] * 9, model="qwen3-8b") as server:
        limits = Limits(turns=STEPS, tool_calls=STEPS)
        agent = Agent(server=server.url, model="qwen3-8b", tools=[add], journal=path, limits=limits)
        async with agent, agent.stream("Add.") as run:
            async for event in run:
                if event.type == "call_finished" and event.content == str(STEPS // 2):
                    run.cancel()
    async with ScriptedServer(*["done"] * 9, model="qwen3-8b") as server:
        agent = Agent(server=server.url, model="qwen3-8b", tools=[add], journal=path, limits=limits)
        async with agent:
            await agent.endpoint()
            await agent.run("Warm.")
            best = float("inf")
            for _ in range(SEARCHES):
                copy = run.fork()
                before = time.perf_counter()
                async with agent.resume(copy.id) as again:
                    await again.wait()
                best = min(best, time.perf_counter() - before)
            print(f"resume of a run of {STEPS:,} steps: {best * 1e3:.1f} ms (at most 300)")
            timed(f"opening its session of {STEPS:,} messages", 300, lambda: agent.session(run.id).messages)


def kill(folder: Path, number: int) -> None:
    """The tests' killed runs, until so many processes were killed."""
    options = ["-qs", "-p", "no:cacheprovider", "--timeout=900", f"--basetemp={folder / 'kills'}"]
    command = [sys.executable, "-m", "pytest", *options]
    program = Path(__file__).resolve().parent.parent / "tests/test_agents_journal_killed.py"
    environment = os.environ | {"KILLS": str(number)}
    subprocess.run([*command, str(program)], env=environment, check=True)
    print(f"{number} processes killed: nothing repeated, nothing lost")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--measure", nargs=2)
    chosen = parser.parse_args()
    if chosen.serve:
        asyncio.run(serve())
    elif chosen.measure:
        asyncio.run(measure(*chosen.measure))
    else:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            cost(folder)
            asyncio.run(resume(folder))
            lists(folder)
            if chosen.kills:
                kill(folder, chosen.kills)


if __name__ == "__main__":
    main()
