"""What a function gives while it runs: progress from generators, and the way from its thread back to the run."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from contextlib import aclosing, closing, suppress
from dataclasses import replace
from typing import Any, Self, cast

from qianda.tools.context import Context
from qianda.tools.questions import Answer, Question


async def result_of(value: Any, progress: Callable[[str], None]) -> Any:
    """What a call comes to: awaited where it has to be; of an async generator the last value, its texts as progress."""
    if inspect.isawaitable(value):
        value = await value
    if not inspect.isasyncgen(value):
        return value
    last: Any = None
    async with aclosing(cast("AsyncGenerator[Any]", value)) as stream:
        async for last in stream:
            if isinstance(last, str):
                progress(last)
    return last


def last_of(stream: Generator[Any, None, Any], inside: ThreadContext) -> Any:
    """What a generator returns, else what it yielded last; it ends early when nobody waits for it any more."""
    last: Any = None
    with closing(stream):
        while not inside.over:
            try:
                last = next(stream)
            except StopIteration as end:
                return last if end.value is None else end.value
            if isinstance(last, str):
                inside.context.progress(last)
    return last


class ThreadContext:
    """A ``Context`` for a function in a thread, until the call is over.

    Args:
        context: the call's own, which belongs to the event loop.

    Attributes:
        context: the one for the thread.
        over: nobody waits for the thread any more.
    """

    def __init__(self, context: Context) -> None:
        self.context = replace(context, progress=self._progress, asking=self._ask)
        self.over = False
        self._outside = context
        self._loop = asyncio.get_running_loop()
        self._questions: list[Future[Answer]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.over = True
        for question in self._questions:
            question.cancel()

    def _progress(self, text: str) -> None:
        with suppress(RuntimeError):  # the loop may be closed by then
            self._loop.call_soon_threadsafe(self._deliver, text)

    def _deliver(self, text: str) -> None:
        if not self.over:  # a thread that was given up has nothing to say any more
            self._outside.progress(text)

    async def _ask(self, question: Question) -> Answer:
        """Ask from any event loop of any thread."""

        async def ask() -> Answer:
            return await self._outside.asking(question)

        asked = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        self._questions.append(asked)
        return await asyncio.wrap_future(asked)
