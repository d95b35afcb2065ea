"""How an MCP server is reached: a child process, an address, or an object in this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from qianda.tools.mcp.failures import first_cause
from qianda.tools.mcp.logins import with_login
from qianda.tools.mcp.process import ServerProcess, server_environment
from qianda.tools.mcp.spec import MCPServer

if TYPE_CHECKING:
    from mcp import Client

_HTTP_TIMEOUT = 30.0  # seconds to connect and to send; an answer may take as long as the call
_NOT_THIS_WAY = ("Not Found", "Server returned an error response", "Session terminated", "Unexpected content type")


class Opening:
    """One attempt to reach a server.

    Args:
        server: which one.
        cwd: the folder that it starts in.
        stderr: where its stderr goes.
        on_end: called when its output has ended.
    """

    def __init__(self, server: MCPServer, *, cwd: Path, stderr: IO[bytes] | None, on_end: Callable[[], None]) -> None:
        self.process: ServerProcess | None = None
        self._server = server
        self._cwd = cwd
        self._stderr = stderr
        self._on_end = on_end

    async def open(self, stack: AsyncExitStack, *, legacy: bool, **callbacks: Any) -> Client:
        """Open the SDK's client.

        Args:
            stack: what has to be closed goes onto it.
            legacy: it is known to be of the handshake era, so it is not asked.
            callbacks: for the client.

        Raises:
            Exception: it cannot be reached; of many kinds, in groups.
        """
        server = self._server
        if server.command:
            assert self._stderr is not None
            environment = server_environment(server.env)
            self.process = ServerProcess(
                server, env=environment, cwd=self._cwd, stderr=self._stderr, on_end=self._on_end
            )
            await stack.enter_async_context(self.process)
        # The server starts meanwhile; a thread, because these imports would stop the screen for a second.
        await asyncio.to_thread(import_sdk)
        self._server = server = await asyncio.to_thread(with_login, server)
        if self.process is not None:
            return await self._enter(stack, self.process.transport(), legacy, callbacks)
        if server.server is not None:
            return await self._enter(stack, server.server, legacy, callbacks)
        if server.transport != "":
            return await self._enter(stack, await self._remote(stack, server.transport), legacy, callbacks)
        try:
            return await self._enter(stack, await self._remote(stack, "http"), legacy, callbacks)
        except Exception as error:
            if not any(words in str(first_cause(error)) for words in _NOT_THIS_WAY):
                raise
            try:
                return await self._enter(stack, await self._remote(stack, "sse"), legacy, callbacks)
            except Exception:
                raise error from None

    async def _remote(self, stack: AsyncExitStack, transport: str) -> Any:
        import httpx2

        server = self._server
        if transport == "sse":
            from mcp.client.sse import sse_client

            return sse_client(server.url, dict(server.headers), auth=server.auth, sse_read_timeout=24 * 3600)
        from mcp.client.streamable_http import streamable_http_client

        timeout = httpx2.Timeout(_HTTP_TIMEOUT, read=None)
        http = httpx2.AsyncClient(headers=dict(server.headers), auth=server.auth, timeout=timeout)
        return streamable_http_client(server.url, http_client=await stack.enter_async_context(http))

    async def _enter(self, stack: AsyncExitStack, target: Any, legacy: bool, callbacks: dict[str, Any]) -> Client:
        from mcp import Client
        from mcp_types import Implementation

        about = Implementation(name="qianda", version=_version())
        mode = "legacy" if legacy else "auto"
        return await stack.enter_async_context(
            Client(target, client_info=about, mode=mode, log_level="info", **callbacks)
        )


@cache
def _version() -> str:
    return version("qianda")


def import_sdk() -> None:
    """Import the SDK, and keep it from writing to the screen."""
    import mcp

    # Without any handler Python prints the SDK's warnings to stderr, across whatever is on the screen.
    for name in (mcp.__name__, "client"):
        logging.getLogger(name).addHandler(logging.NullHandler())
