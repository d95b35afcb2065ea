"""MCP servers as one set of tools: all started together, each alone in its troubles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qianda.models.errors import ToolError
from qianda.models.messages import Content
from qianda.tools.mcp.connection import MCPConnection
from qianda.tools.mcp.mcp_tool import MCPTool, model_name
from qianda.tools.mcp.offers import attach
from qianda.tools.mcp.orphans import sweep
from qianda.tools.mcp.resource_tools import resource_tools
from qianda.tools.mcp.spec import MCPServer
from qianda.tools.tool import Tool

if TYPE_CHECKING:
    from qianda.models.client import Client


class MCPToolset:
    """The tools of several MCP servers.

    Args:
        servers: what to start; a name that comes twice gets a number.
        workspace: the folder that the servers start in, unless they say another.
        notify: told, one line each, what is wrong with which server.
        model: answers what servers ask of a model, where they may.

    Attributes:
        tools: what the servers offer now; another list after each change.
        watchers: called when a server comes up, fails, is lost, or offers something else.
    """

    def __init__(
        self,
        servers: Sequence[MCPServer],
        *,
        workspace: Path,
        notify: Callable[[str], None],
        model: Client | None = None,
    ) -> None:
        self._servers = _named_apart(servers)
        self._workspace = workspace
        self._notify = notify
        self._model = model
        self._connections: dict[str, MCPConnection] = {}
        self._met: set[MCPConnection] = set()  # whose tools are among these
        self._made: dict[str, tuple[object, MCPTool]] = {}
        self.tools: tuple[Tool, ...] = ()
        self.watchers: set[Callable[[], None]] = set()

    def begin(self) -> None:
        """Start all servers, without waiting for them; a server that does not come up is one line to ``notify``."""
        if self._connections:
            return
        sweep()
        for server in self._servers:
            self._begin(server)

    def _begin(self, server: MCPServer) -> None:
        connection = self._connections[server.name] = MCPConnection(
            server,
            workspace=self._workspace,
            notify=self._notify,
            changed=self._collect,
            moved=self._collect,
            model=self._model,
        )
        connection.begin()

    async def put(self, server: MCPServer) -> None:
        """Start a server, in the place of the one of its name, without waiting for it."""
        await self.drop(server.name)
        self._servers.append(server)
        self._begin(server)
        self._tell()

    async def drop(self, name: str) -> None:
        """Stop a server and take its tools away; nothing where there is none of this name."""
        self._servers = [server for server in self._servers if server.name != name]
        if (connection := self._connections.pop(name, None)) is None:
            return
        self._met.discard(connection)
        self._collect()
        connection.stop()
        await connection.ended()

    async def start(self) -> None:
        """Start all servers at the same time, and wait until each runs or has failed."""
        self.begin()
        try:
            await self.ready()
        except BaseException:
            await self.close()
            raise

    async def ready(self) -> None:
        """Wait until each server runs or has failed."""
        new = [connection for connection in self._connections.values() if connection not in self._met]
        if not new:
            return
        await asyncio.gather(*(connection.settled() for connection in new))
        for connection in new:
            if connection.is_empty:
                self._notify(f"MCP server {connection.server.name!r} runs, but it has no tools")
        self._met.update(new)
        self._collect()

    async def close(self) -> None:
        """Stop all servers and everything that they started."""
        self.tools = ()
        connections, self._connections = list(self._connections.values()), {}
        self._met.clear()
        # Before anything is awaited: we may be cancelled at the first await.
        for connection in connections:
            connection.stop()
        try:
            await asyncio.gather(*(connection.ended() for connection in connections))
        except asyncio.CancelledError:
            for connection in connections:
                connection.kill()
            raise

    @property
    def servers(self) -> list[MCPServer]:
        """The servers, by the names that they have here."""
        return list(self._servers)

    async def attached(self, prompt: Content) -> Content:
        """A prompt with the resources that it mentions as ``@server:uri``.

        Raises:
            ToolError: one of them cannot be read.
        """
        return await attach(self, prompt)

    def connection(self, server: str) -> MCPConnection:
        """The connection to a server.

        Raises:
            ToolError: there is none of this name.
        """
        if server not in self._connections:
            names = ", ".join(self._connections) or "none"
            raise ToolError(f"there is no MCP server {server!r}; there are: {names}")
        return self._connections[server]

    @property
    def connections(self) -> list[MCPConnection]:
        """All connections, also those that failed."""
        return list(self._connections.values())

    def _collect(self) -> None:
        """Make the tools of what the servers list; those that are what they were stay the same objects."""
        tools: dict[str, Tool] = {}
        made: dict[str, tuple[object, MCPTool]] = {}
        for connection in self._connections.values():
            for wire in connection.tools:
                name = model_name(connection.server.name, wire.name, tools)
                before = self._made.get(name)
                tool = before[1] if before and before[0] == wire else MCPTool.of(wire, connection, name=name)
                tools[name], made[name] = tool, (wire, tool)
        self._made = made
        if any(connection.has_resources for connection in self._connections.values()):
            tools |= {tool.name: tool for tool in resource_tools(self)}
        self.tools = tuple(tools.values())
        self._tell()

    def _tell(self) -> None:
        for watcher in tuple(self.watchers):
            watcher()


def _named_apart(servers: Sequence[MCPServer]) -> list[MCPServer]:
    """The servers with names that differ: ``time``, ``time_2``."""
    apart: dict[str, MCPServer] = {}
    for server in servers:
        name, number = server.name, 1
        while name in apart:
            number += 1
            name = f"{server.name}_{number}"
        apart[name] = replace(server, name=name)
    return list(apart.values())
