"""A recorded conversation for the chat to open, made by the program's own agent.

``python bench/tui_record.py NAME TURNS PROMPT`` in the environment of the chat that will open it.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack

from qianda.cli.opening import Choices, open_agent


async def record(name: str, turns: int, prompt: str) -> None:
    """Send a prompt again and again in one conversation."""
    with ExitStack() as stack:
        async with await open_agent(Choices(), stack=stack, notify=print) as agent:
            conversation = agent.session(name)
            for _ in range(turns):
                await conversation.run(prompt)


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
