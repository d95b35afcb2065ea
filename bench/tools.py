"""What tools cost: the way of one call from its text to its recorded result, and the schemas of a hundred tools.

``python bench/tools.py`` prints seconds of CPU as JSON; ``bench/overhead.py`` runs it.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, Literal

from qianda import Agent, tool
from qianda.agents.calls import run_calls
from qianda.agents.ladder import Ladder
from qianda.agents.run import Run
from qianda.models.messages import AssistantMessage, ToolCall
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.tools import Tool

CALLS = 3_000
TOOLS = 100


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


if __name__ == "__main__":
    print(json.dumps({"schemas": schemas(), "dispatch": asyncio.run(dispatch())}))
