"""The chat's event loop: under a fast stream it wakes some eighty times a second, not for every token.

A wake-up costs far more than a token. Once they come densely, the loop sleeps a few milliseconds before it looks at its
sockets, so that what arrived meanwhile is read at once; a stream of 2,000 tokens a second needs a quarter of the CPU.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque

NAP = 0.012
"""Seconds that the loop sleeps between wake-ups while they are dense."""
DENSE = 60, 0.2
"""So many wake-ups within so many seconds begin the naps: a stream, not the exchanges of one tool call."""
SPARSE = 20, 0.35
"""When so many take longer, the naps end: naps alone leave more."""


class PacedSelector(selectors.DefaultSelector):
    """Waits as any selector does, and a little longer while there is much to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self._wakes: deque[float] = deque([float("-inf")] * DENSE[0], maxlen=DENSE[0])
        self._napping = False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready; see ``selectors.BaseSelector.select``."""
        if timeout is None or timeout > 0:  # else there is work to do at once
            now = time.monotonic()
            count, seconds = SPARSE if self._napping else DENSE
            self._napping = now - self._wakes[-count] < seconds
            self._wakes.append(now)
            if self._napping:
                nap = NAP if timeout is None else min(NAP, timeout)
                time.sleep(nap)
                timeout = None if timeout is None else timeout - nap
        return super().select(timeout)


def paced_loop() -> asyncio.AbstractEventLoop:
    """A new event loop that paces itself."""
    return asyncio.SelectorEventLoop(PacedSelector())
