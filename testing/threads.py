"""The servers of this package in a thread, for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from qianda.testing.http_server import LoopbackServer

_Server = TypeVar("_Server", bound=LoopbackServer)


@contextmanager
def serving(server: _Server) -> Generator[_Server]:
    """Keep a server open in a thread of its own.

    Use it as ``with serving(ScriptedServer("Hi")) as server``. Its ``wait_…`` methods
    belong to that thread's loop and are not to be used from outside.

    Raises:
        OSError: the port cannot be had.
    """
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    done: Future[None] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with server:
            ready.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            (done if ready.done() else ready).set_exception(error)
        else:
            done.set_result(None)

    thread = threading.Thread(target=run, name="qianda-testing", daemon=True)
    thread.start()
    loop, stop = ready.result()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
    done.result()
