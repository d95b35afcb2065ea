"""Runs blocking functions in daemon threads, so that one that hangs never holds up the loop or the process's exit."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import NoReturn, TypeVar

T = TypeVar("T")


async def run_in_thread(function: Callable[[], T], *, name: str) -> T:
    """Run a function in a new daemon thread, with the caller's context variables.

    Cancellation leaves the thread behind: Python cannot stop it. ``asyncio.to_thread`` would then make the
    interpreter wait for it at exit.

    Args:
        function: takes nothing; what it returns or raises is passed on.
        name: the thread's name.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Callable[[], T]] = loop.create_future()
    variables = contextvars.copy_context()

    def finish(outcome: Callable[[], T]) -> None:
        if not done.done():
            done.set_result(outcome)

    def work() -> None:
        outcome: Callable[[], T]
        try:
            value = variables.run(function)
        except BaseException as error:
            outcome = _raiser(error)
        else:

            def outcome() -> T:
                return value

        try:
            loop.call_soon_threadsafe(finish, outcome)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=work, name=name, daemon=True).start()
    return (await done)()


def _raiser(error: BaseException) -> Callable[[], NoReturn]:
    def outcome() -> NoReturn:
        raise error

    return outcome
