"""The events of a run, with those of the runs inside it among them, on their way to whoever watches."""

from __future__ import annotations

import asyncio
from collections import deque

from qianda.models.events import Event, RunFinished


class EventStream:
    """Events in the order in which they were given out; ``RunFinished`` of the outermost run is the last."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._wake = asyncio.Event()
        self._ended = self._over = False

    def put(self, event: Event) -> None:
        """Give out an event; whatever leftovers still have to say after the end is dropped."""
        if not self._ended:
            self._events.append(event)
            self._ended = event.parent_run_id is None and isinstance(event, RunFinished)
            self._wake.set()

    def close(self) -> None:
        """No more will come."""
        self._over = True
        self._wake.set()

    async def next(self) -> Event:
        """The next one, once it is there.

        Raises:
            StopAsyncIteration: there is none any more.
        """
        while not self._events:
            if self._over:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()
