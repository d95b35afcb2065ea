"""A connection to one MCP server: one task owns the SDK's client, callers in any task use it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from qianda.models.config import data_dir
from qianda.models.errors import ToolError
from qianda.tools.mcp.failures import exit_words, first_cause, log_tail, start_failure
from qianda.tools.mcp.process import ServerProcess, server_environment
from qianda.tools.mcp.spec import MCPServer

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult
    from mcp_types import Tool as WireTool

_MAX_LOG = 1024 * 1024  # bytes; a longer log is begun anew
_MAX_PAGES = 100  # of tools; a list without end is cut here
_logger = logging.getLogger("qianda.tools.mcp")


class MCPConnection:
    """One server, from its start to its end.

    The SDK's client has to be entered and left in the same task, so a task of its own holds it open.

    Args:
        server: what to start.
        workspace: where it starts when the server says nothing else; a relative ``cwd`` begins here.
    """

    def __init__(self, server: MCPServer, *, workspace: Path) -> None:
        self.server = server
        self.wire_tools: list[WireTool] = []
        self._cwd = workspace / Path(server.cwd).expanduser() if server.cwd else workspace
        self._log = data_dir() / "logs" / f"mcp-{re.sub(r'[^A-Za-z0-9_-]', '_', server.name)}.log"
        self._log_start = 0
        self._process: ServerProcess | None = None
        self._client: Client | None = None
        self._stop = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the server and ask for its tools.

        Raises:
            ToolError: it did not start; one sentence that says why, and what to do.
        """
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._own(ready), name=f"mcp-{self.server.name}")
        try:
            await asyncio.shield(ready)
        except asyncio.CancelledError:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the server to go; ``ended`` waits until it has."""
        self._stop.set()

    def kill(self) -> None:
        """Make the server go, with everything that it started, as soon as the event loop comes to it."""
        if self._owner is not None:
            self._owner.cancel()

    async def ended(self) -> None:
        """Wait until nothing of the server runs; at most a few seconds after ``stop``."""
        if self._owner is not None:
            await asyncio.wait([self._owner])

    async def call(self, tool: str, arguments: dict[str, Any], on_progress: Callable[[str], None]) -> CallToolResult:
        """Call a tool by the name that the server gave it.

        Raises:
            ToolError: there was no result; one sentence for the model.
        """
        import anyio
        from mcp import MCPError
        from pydantic import ValidationError

        async def report(progress: float, total: float | None, message: str | None) -> None:
            share = f"{progress:g}/{total:g}" if total else f"{progress:g}"
            on_progress(f"{message} ({share})" if message and total else message or share)

        if self._client is None:
            raise ToolError(f"MCP server {self.server.name!r} is not running")
        try:
            return await self._client.call_tool(tool, arguments, progress_callback=report)
        except (MCPError, RuntimeError, ValidationError, anyio.BrokenResourceError, BaseExceptionGroup) as error:
            raise ToolError(self._call_failure(tool, error)) from error

    def _call_failure(self, tool: str, error: BaseException) -> str:
        from mcp_types import CONNECTION_CLOSED

        error = first_cause(error)
        name = self.server.name
        returncode = self._process.returncode if self._process else None
        if returncode is not None or getattr(error, "code", None) == CONNECTION_CLOSED:
            how = f" with {exit_words(returncode)}" if returncode is not None else ""
            fault = self._process.fault if self._process else ""
            why = (f"; {fault}" if fault else "") or (f"; its last words: {tail}" if (tail := self._tail()) else "")
            return f"MCP server {name!r} has ended{how}, so its tools cannot be used any more{why}"
        return f"MCP server {name!r} could not run {tool}: {' '.join(str(error).split())[:500] or type(error).__name__}"

    def _tail(self) -> str:
        return log_tail(self._log, self._log_start)

    async def _own(self, ready: asyncio.Future[None]) -> None:
        """Hold the server open until it has to stop; say through ``ready`` whether it came up."""
        try:
            with self._open_log() as stderr:
                await self._hold(ready, stderr)
        except (Exception, BaseExceptionGroup) as error:  # the SDK raises many kinds, in groups
            if ready.done():
                _logger.debug("MCP server %s failed while it ended", self.server.name, exc_info=True)
            else:
                ready.set_exception(self._start_failure(error))
        finally:
            self._client = None
            if not ready.done():
                ready.cancel()

    async def _hold(self, ready: asyncio.Future[None], stderr: IO[bytes]) -> None:
        environment = server_environment(self.server.env)
        self._process = ServerProcess(self.server.command, env=environment, cwd=self._cwd, stderr=stderr)
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(self.server.timeout):
                await stack.enter_async_context(self._process)
                # The server starts meanwhile; a thread, because these imports would stop the screen for a second.
                await asyncio.to_thread(_import_sdk)
                client = await stack.enter_async_context(_client(self._process))
                self.wire_tools = await _list_tools(client)
            self._client = client
            ready.set_result(None)
            await self._stop.wait()

    def _open_log(self) -> IO[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        fresh = not self._log.exists() or self._log.stat().st_size > _MAX_LOG
        log = self._log.open("wb" if fresh else "ab", buffering=0)
        self._log.chmod(0o600)  # servers print what they are given, keys too
        log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(self.server.command)}\n".encode())
        self._log_start = log.tell()
        return log

    def _start_failure(self, error: BaseException) -> ToolError:
        process = self._process
        return start_failure(
            self.server,
            error,
            cwd=self._cwd,
            returncode=process.returncode if process else None,
            fault=process.fault if process else "",
            tail=self._tail(),
            log=self._log,
        )


def _import_sdk() -> None:
    import mcp

    # Without any handler Python prints the SDK's warnings to stderr, across whatever is on the screen.
    logging.getLogger(mcp.__name__).addHandler(logging.NullHandler())


def _client(process: ServerProcess) -> Client:
    from mcp import Client
    from mcp_types import Implementation

    return Client(process.transport(), cache=None, client_info=Implementation(name="qianda", version=version("qianda")))


async def _list_tools(client: Client) -> list[WireTool]:
    if client.server_capabilities.tools is None:
        return []
    page = await client.list_tools()
    tools = list(page.tools)
    for _ in range(_MAX_PAGES):
        if page.next_cursor is None:
            break
        page = await client.list_tools(cursor=page.next_cursor)
        tools += page.tools
    return tools
