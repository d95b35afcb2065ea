"""Connections that the runs of one agent share: opened for the first, closed after the last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """What ``connect`` opens, for any number of users in one event loop.

    Args:
        connect: opens it; what has to be closed goes onto the stack.
    """

    def __init__(self, connect: Callable[[AsyncExitStack], Awaitable[T]]) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self._connect = connect
        self._opened: tuple[T, AsyncExitStack] | None = None

    @property
    def now(self) -> T | None:
        """What is open, or None."""
        return self._opened[0] if self._opened else None

    async def acquire(self) -> T:
        """Begin to use it; opened now if nobody else does."""
        async with self.lock:
            if self._opened is None:
                async with AsyncExitStack() as stack:
                    self._opened = (await self._connect(stack), stack.pop_all())
            self.users += 1
            return self._opened[0]

    async def release(self) -> None:
        """End to use it; closed now if nobody else does."""
        # Counted before anything is awaited, as whoever is cancelled there has left all the same.
        self.users -= 1
        if self.users == 0 and self._opened is not None:
            (_, stack), self._opened = self._opened, None
            await stack.aclose()
