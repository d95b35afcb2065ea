"""MCP servers as one set of tools: all started together, each alone in its troubles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from qianda.models.errors import ToolError
from qianda.tools.mcp.connection import MCPConnection
from qianda.tools.mcp.mcp_tool import MCPTool, model_name
from qianda.tools.mcp.spec import MCPServer
from qianda.tools.tool import Tool


class MCPToolset:
    """The tools of several MCP servers.

    Args:
        servers: what to start; a name that comes twice gets a number.
        workspace: the folder that the servers start in, unless they say another.
        notify: told, one line each, what is wrong with which server.
    """

    def __init__(self, servers: Sequence[MCPServer], *, workspace: Path, notify: Callable[[str], None]) -> None:
        self._servers = _named_apart(servers)
        self._workspace = workspace
        self._notify = notify
        self._connections: list[MCPConnection] = []
        self.tools: list[Tool] = []

    async def start(self) -> None:
        """Start all servers at the same time; a server that does not come up is one line to ``notify``."""
        if self._connections:
            return
        self._connections = [MCPConnection(server, workspace=self._workspace) for server in self._servers]
        try:
            await asyncio.gather(*(self._start_one(connection) for connection in self._connections))
        except BaseException:
            await self.close()
            raise
        self.tools = self._collect()

    async def close(self) -> None:
        """Stop all servers and everything that they started."""
        self.tools = []
        connections, self._connections = self._connections, []
        # Before anything is awaited: we may be cancelled at the first await.
        for connection in connections:
            connection.stop()
        try:
            await asyncio.gather(*(connection.ended() for connection in connections))
        except asyncio.CancelledError:
            for connection in connections:
                connection.kill()
            raise

    async def _start_one(self, connection: MCPConnection) -> None:
        try:
            await connection.start()
        except ToolError as error:
            self._notify(str(error))
            return
        if not connection.wire_tools:
            self._notify(f"MCP server {connection.server.name!r} runs, but it has no tools")

    def _collect(self) -> list[Tool]:
        tools: dict[str, Tool] = {}
        for connection in self._connections:
            for wire in {tool.name: tool for tool in connection.wire_tools}.values():
                name = model_name(connection.server.name, wire.name, tools)
                tools[name] = MCPTool.of(wire, connection, name=name)
        return list(tools.values())


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
