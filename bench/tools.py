"""What tools cost: the way of one call from its text to its recorded result, and the schemas of a hundred tools.

``python bench/tools.py`` prints seconds of CPU as JSON; with ``search`` the seconds of a search in 50,000 files by grep
and by ripgrep itself, with ``output`` what a command with 100 MB of output takes, and how many bytes more memory.
``bench/overhead.py`` runs them.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

from qianda import Agent, tool
from qianda.agents.calls import run_calls
from qianda.agents.ladder import Ladder
from qianda.agents.run import Run
from qianda.models.messages import AssistantMessage, ToolCall
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.tools import Context, Tool, grep, run_command

CALLS = 3_000
TOOLS = 100
FILES = 50_000
OUTPUT = 100_000_000  # bytes


def made(number: int) -> Tool:
    """One of many tools: four parameters, described."""

    async def look_up(
        city: str, days: int = 1, units: Literal["metric", "imperial"] = "metric", tags: list[str] | None = None
    ) -> str:
        """Weather forecast of a service.

        Args:
            city: name of the city, in any language.
            days: how many days ahead, 1 to 7.
            units: of the temperatures.
            tags: what else is wanted.
        """
        return f"{city} {days} {units} {tags}"

    return tool(name=f"look_up_{number}")(look_up)


def schemas() -> float:
    """CPU of the schemas of 100 tools."""
    tools = [made(number) for number in range(TOOLS)]
    start = time.process_time()
    for item in tools:
        _ = item.schema
    return time.process_time() - start


async def dispatch() -> float:
    """CPU of one call of a trivial tool: read, validated, permitted, run, recorded in memory."""
    endpoint = Endpoint(
        url="http://127.0.0.1:9/v1", kind=server_kinds()["vllm"], model="qwen3-8b", why="", window=8_192
    )
    agent = Agent(server=endpoint, tools=[made(0)])
    run: Run[str] = Run(agent, "go", history=(), context=None, watched=False)
    async with agent.opened() as resources:

        async def call(number: int) -> None:
            arguments = json.dumps({"city": "杭州", "days": number})
            message = AssistantMessage("", tool_calls=(ToolCall(f"call-{number}", "look_up_0", arguments),))
            run.conversation.append(message)
            await run_calls(run, resources, message, (), number, ladder=ladder)

        ladder: Any = Ladder()
        for number in range(100):
            await call(number)
        start = time.process_time()
        for number in range(100, 100 + CALLS):
            await call(number)
        return (time.process_time() - start) / CALLS


async def search(folder: Path) -> dict[str, float]:
    """Seconds of a search in many files: ours, and ripgrep's own."""
    for number in range(FILES):
        path = folder / f"{number // 100:03}" / f"{number % 100:02}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f"def function_{number}(x):\n    return x + {number}\n" * 20 + "needle\n" * (number % 1_000 == 0)
        )
    context = Context(workspace=folder)
    spent: dict[str, list[float]] = {"ours": [], "ripgrep": []}
    for _ in range(5):  # in turns, so that a busy moment meets both; the first time the files come from the disk
        start = time.perf_counter()
        result = await grep.call({"pattern": "needle"}, context)
        spent["ours"].append(time.perf_counter() - start)
        assert str(result.content).count("needle") == FILES // 1_000
        start = time.perf_counter()
        command = ["rg", "--line-number", "needle"]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True)  # noqa: ASYNC221 - a measure
        spent["ripgrep"].append(time.perf_counter() - start)
        assert done.stdout.count(b"needle") == FILES // 1_000
    return {name: min(times) for name, times in spent.items()}


async def output(folder: Path) -> dict[str, float]:
    """Seconds of a command with much output, and the memory that it added."""
    context = Context(workspace=folder)
    await run_command.call({"command": "true"}, context)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    result = await run_command.call({"command": f"yes 0123456789abcde | head -c {OUTPUT}"}, context)
    seconds = time.perf_counter() - start
    assert f"{OUTPUT:,} characters" in str(result.content)
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": seconds, "memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit}


async def measured(what: str) -> dict[str, float]:
    """The figures."""
    with tempfile.TemporaryDirectory() as folder:
        match what:
            case "search":
                return await search(Path(folder))
            case "output":
                return await output(Path(folder))
            case _:
                return {"schemas": schemas(), "dispatch": await dispatch()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measured(*sys.argv[1:] or [""]))))
