"""One measurement in a process of its own: CPU seconds of this process for one scenario, as a line of JSON.

``python bench/measure.py SIDE SCENARIO SERVER`` with side ``floor``, ``floor-bytes`` or ``qianda``. All sides have the
same instructions, tool and server; imports, connecting and a first run are not counted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

MODEL = "qwen3-8b"
INSTRUCTIONS = "You are a helpful assistant. Use the tools that you are given; answer in one sentence."
PROMPT = "What is 17 and 25 together? Add them with the tool."
TURNS, RUNS = 5, 40
TOKENS, ANSWERS = 20_000, 2
LONG = 500
EARLY, LATE = range(40, 60), range(480, 500)
SCHEMA = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two whole numbers.",
        "parameters": {
            "type": "object",
            "properties": {
                "first": {"type": "integer", "description": "the first number."},
                "second": {"type": "integer", "description": "the second number."},
            },
            "required": ["first", "second"],
        },
    },
}

Ask = Callable[[str], Awaitable[Any]]
clock: list[float] = []


async def add(first: int, second: int) -> int:
    """Add two whole numbers.

    Args:
        first: the first number.
        second: the second number.
    """
    clock.append(time.process_time())
    return first + second


async def open_side(stack: AsyncExitStack, side: str, server: str, *, streaming: bool) -> Ask:
    """Something that runs a prompt, by hand or by an agent."""
    if side != "qianda":
        from floor import Floor

        by_hand = await stack.enter_async_context(
            Floor(
                server=server,
                model=MODEL,
                instructions=INSTRUCTIONS,
                tools=[SCHEMA],
                functions={"add": add},
                streaming=streaming,
                split_bytes=side == "floor-bytes",
            )
        )
        return by_hand.run
    from qianda import Agent, Limits

    agent = await stack.enter_async_context(
        Agent(
            server=server,
            model=MODEL,
            instructions=INSTRUCTIONS,
            tools=[add],
            limits=Limits(turns=None, tool_calls=None),
            streaming=streaming,
        )
    )
    return agent.run


async def repeated(ask: Ask, times: int) -> float:
    """CPU seconds of so many runs, after one that is not counted."""
    await ask(PROMPT)
    start = time.process_time()
    for _ in range(times):
        await ask(PROMPT)
    return time.process_time() - start


async def measure(side: str, scenario: str, server: str) -> dict[str, float]:
    """The figures of one scenario, in CPU seconds."""
    paths = {"tokens": f"tokens/{TOKENS}", "long": f"turns/{LONG}"}
    address = f"{server}/{paths.get(scenario, f'turns/{TURNS}')}/v1"
    async with AsyncExitStack() as stack:
        ask = await open_side(stack, side, address, streaming=scenario != "json")
        if scenario == "tokens":
            return {"token": await repeated(ask, ANSWERS) / ANSWERS / TOKENS}
        if scenario == "long":
            await ask(PROMPT)
            turns = [later - earlier for earlier, later in pairwise(clock)]
            assert len(turns) == LONG - 1, f"{len(clock)} tool calls, not {LONG}"
            early, late = [turns[turn - 1] for turn in EARLY], [turns[turn - 1] for turn in LATE]
            return {"early": sum(early) / len(early), "late": sum(late) / len(late)}
        return {"request": await repeated(ask, RUNS) / RUNS / (TURNS + 1)}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(*sys.argv[1:4]))))
