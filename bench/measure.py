"""One measurement in a process of its own: CPU seconds of this process for one scenario, as a line of JSON.

``python bench/measure.py SIDE SCENARIO SERVER`` with side ``floor``, ``floor-bytes`` or ``qianda``. All sides have the
same instructions, tool and server; imports, connecting and a first run are not counted. ``waiting`` gives bytes of
memory, ``parsers`` bytes per CPU second.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MODEL = "qwen3-8b"
INSTRUCTIONS = "You are a helpful assistant. Use the tools that you are given; answer in one sentence."
PROMPT = "What is 17 and 25 together? Add them with the tool."
TURNS, RUNS = 5, 40
TOKENS, ANSWERS = 20_000, 2
AT_ONCE, WAVES = 64, 3
WAITING, AT_A_TIME = 1000, 100
ARGUMENT = 2_000_000
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


async def keep(text: str) -> int:
    """Keep a text.

    Args:
        text: of any length.
    """
    return len(text)


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
            tools=[add, keep] if f"/argument/{ARGUMENT}" in server else [add],
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


async def waves(ask: Ask) -> float:
    """CPU seconds of some times so many runs at once, after one time that is not counted."""
    await asyncio.gather(*(ask(PROMPT) for _ in range(AT_ONCE)))
    start = time.process_time()
    for _ in range(WAVES):
        await asyncio.gather(*(ask(PROMPT) for _ in range(AT_ONCE)))
    return time.process_time() - start


def memory() -> int:
    """Bytes of this process's memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


async def waiting_at(address: str) -> int:
    """How many requests wait for the hanging server."""
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(f"GET {where.path}/waiting HTTP/1.1\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    count = int(await reader.read(16))
    writer.close()
    return count


async def waiting(ask: Ask, address: str) -> float:
    """Bytes of memory of a run that waits for the server's first byte; one waits already before we count."""
    runs: list[asyncio.Task[Any]] = []
    before = 0
    for number in range(1, WAITING + 2, AT_A_TIME):  # all together they might wait too long for their connections
        before = before or (memory() if runs else 0)
        runs += [asyncio.ensure_future(ask(PROMPT)) for _ in range(number - len(runs))]
        while await waiting_at(address) < number:
            await asyncio.sleep(0.05)
            for run in runs:
                if run.done():
                    run.result()
                    raise AssertionError("a run that should wait is over")
    used = (memory() - before) / WAITING
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)
    return used


def parsed(form: str) -> float:
    """Bytes of text with calls that are read per CPU second, given in pieces of 4 KB."""
    from qianda.models.messages import ToolSchema
    from qianda.models.reader import ReplyReader

    code = "".join(f"def step_{number}(value: int) -> int:\n    return value * {number}\n\n" for number in range(30))
    arguments = json.dumps({"path": "src/steps.py", "content": code}, ensure_ascii=False)
    calls = {
        "hermes": f'<tool_call>\n{{"name": "write", "arguments": {arguments}}}\n</tool_call>\n',
        "xml": "<tool_call>\n<function=write>\n<parameter=path>\nsrc/steps.py\n</parameter>\n"
        f"<parameter=content>\n{code}\n</parameter>\n</function>\n</tool_call>\n",
    }
    text = ("I write the next file, and then I look at what the tests say about it.\n" + calls[form]) * 100
    pieces = [text[at : at + 4096] for at in range(0, len(text), 4096)]
    field = {"type": "string"}
    schema = {"type": "object", "properties": {"path": field, "content": field}, "required": ["path", "content"]}
    tools = [ToolSchema("write", "Write a file.", schema)]
    start = 0.0
    for number in range(21):
        start = time.process_time() if number == 1 else start
        reader = ReplyReader(tools=tools, thinking_open=False)
        found = [piece for part in pieces for piece in reader.feed({"choices": [{"delta": {"content": part}}]})]
        found += reader.close()
        assert sum(type(piece).__name__ == "WholeCall" for piece in found) == 100
    return 20 * len(text.encode()) / (time.process_time() - start)


async def measure(side: str, scenario: str, server: str) -> dict[str, float]:
    """The figures of one scenario, in CPU seconds."""
    if scenario == "parsers":
        return {form: parsed(form) for form in ("hermes", "xml")}
    paths = {
        "tokens": f"tokens/{TOKENS}",
        "long": f"turns/{LONG}",
        "argument": f"argument/{ARGUMENT}",
        "waiting": f"hang/{os.getpid()}",
    }
    turns = 1 if scenario.endswith("-1") else TURNS
    address = f"{server}/{paths.get(scenario, f'turns/{turns}')}/v1"
    async with AsyncExitStack() as stack:
        ask = await open_side(stack, side, address, streaming=not scenario.startswith("json"))
        if scenario == "tokens":
            return {"token": await repeated(ask, ANSWERS) / ANSWERS / TOKENS}
        if scenario == "many":
            return {"request": await waves(ask) / WAVES / AT_ONCE / (TURNS + 1)}
        if scenario == "argument":
            return {"run": await repeated(ask, 1)}
        if scenario == "waiting":
            return {"memory": await waiting(ask, address)}
        if scenario == "long":
            start = time.process_time()
            await ask(PROMPT)
            total = time.process_time() - start
            spent = [later - earlier for earlier, later in pairwise(clock)]
            assert len(spent) == LONG - 1, f"{len(clock)} tool calls, not {LONG}"
            early, late = [spent[turn - 1] for turn in EARLY], [spent[turn - 1] for turn in LATE]
            return {"early": sum(early) / len(early), "late": sum(late) / len(late), "total": total}
        return {"request": await repeated(ask, RUNS) / RUNS / (turns + 1)}


if __name__ == "__main__":
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], min(4096, limits[1])), limits[1]))
    print(json.dumps(asyncio.run(measure(*sys.argv[1:4]))))
