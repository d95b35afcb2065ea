"""Serves over standard input and output, for one client, until it goes away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from mcp.server.stdio import stdio_server

from qianda.mcp_servers.server import ToolServer

_GRACE = 3.0  # seconds that running calls have to end after a signal


async def serve_stdio(server: ToolServer) -> None:
    """Serve until the client closes our input; what tools print goes to stderr.

    Handles SIGINT and SIGTERM, so it is for a process of its own.

    Args:
        server: what to serve.
    """
    try:
        # The SDK keeps stdout for itself while it serves; what a print leaves in the buffer must not come out after it.
        async with stdio_server() as (incoming, outgoing):
            with contextlib.redirect_stdout(sys.stderr):
                work = server.run(incoming, outgoing, server.create_initialization_options())
                serving = asyncio.create_task(work)
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, _leave, number, serving)
                await serving
    except* BrokenPipeError:
        pass  # the client has gone without closing our input first


def _leave(number: signal.Signals, serving: asyncio.Task[None]) -> None:
    """End the running calls, and what they started, then die of the signal.

    The interpreter cannot leave in the usual way: the SDK reads our input in a thread that nothing wakes.
    """
    loop = asyncio.get_running_loop()

    def die() -> None:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    serving.add_done_callback(lambda _task: die())
    loop.call_later(_GRACE, die)
    serving.cancel()
