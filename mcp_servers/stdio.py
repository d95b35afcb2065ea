"""Serves tools over standard input and output, for one client, until it goes away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qianda.mcp_servers.server import build_server
from qianda.mcp_servers.targets import load_targets
from qianda.models.errors import ConfigurationError
from qianda.tools.sandbox import Sandbox, SandboxMode

_GRACE = 3.0  # seconds that running calls have to end after a signal


async def serve_stdio(
    targets: Sequence[str],
    *,
    workspace: Path | None = None,
    read_only: bool = False,
    sandbox: Sandbox | SandboxMode = "auto",
) -> None:
    """Serve until the client closes our input; what tools print goes to stderr.

    Handles SIGINT and SIGTERM, so it is for a process of its own. Serving is consent: nobody is asked.

    Args:
        targets: names of built-in toolsets, and paths of Python files with ``@tool`` functions.
        workspace: the folder that the tools work in; the current one by default.
        read_only: offer only the tools that change nothing.
        sandbox: what their commands run in, as for ``Agent``.

    Raises:
        ConfigurationError: there is nothing to serve, or the workspace is not a folder.
    """
    folder = (workspace or Path.cwd()).resolve()
    if not folder.is_dir():
        raise ConfigurationError(f"The workspace {folder} is not a folder")
    # Before the user's file, whose folder goes in front of the import path.
    from mcp.server.stdio import stdio_server

    tools = load_targets(targets, read_only=read_only)

    async def serve(incoming: Any, outgoing: Any) -> None:
        async with contextlib.AsyncExitStack() as closing:
            server = build_server(tools, workspace=folder, sandbox=sandbox, closing=closing)
            await server.run(incoming, outgoing, server.create_initialization_options())

    try:
        # The SDK keeps stdout for itself while it serves; what a print leaves in the buffer must not come out after it.
        async with stdio_server() as (incoming, outgoing):
            with contextlib.redirect_stdout(sys.stderr):
                serving = asyncio.create_task(serve(incoming, outgoing))
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
