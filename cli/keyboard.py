"""Lines from the keyboard, without stopping the event loop."""

from __future__ import annotations

import asyncio
import os
import sys

from qianda.cli.terminal import is_terminal

PASTE_SECONDS = 0.05
"""The lines of a paste come within this time of each other."""


async def read_line(waiting: asyncio.Future[str]) -> str:
    """What the terminal hands over next: a line with its end, or "" at the end of the input.

    Args:
        waiting: set it from elsewhere to stop waiting.
    """
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def arrived() -> None:
        # The terminal hands over whole lines; b"" is the end of the input.
        if not waiting.done():
            waiting.set_result(os.read(descriptor, 65_536).decode(errors="replace"))

    loop.add_reader(descriptor, arrived)
    try:
        return await waiting
    finally:
        loop.remove_reader(descriptor)


async def read_prompt() -> str | None:
    """A prompt: one line, all lines of a paste, or a line of a file or pipe; None at the end."""
    if not is_terminal(sys.stdin):
        return (await asyncio.to_thread(sys.stdin.readline)) or None
    loop = asyncio.get_running_loop()
    text = await read_line(loop.create_future())
    if not text:
        return None
    while True:
        more: asyncio.Future[str] = loop.create_future()
        late = loop.call_later(PASTE_SECONDS, lambda done=more: done.done() or done.set_result(""))
        line = await read_line(more)
        late.cancel()
        if not line:
            return text
        text += line
