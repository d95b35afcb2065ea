"""What a call of a served tool costs: ours beside the SDK's bare low-level server, in memory and over stdio.

``python bench/mcp_serving.py``; the smallest of several rounds, the two taking turns.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client, StdioServerParameters, stdio_client
from mcp.server import Server
from mcp.server.stdio import stdio_server

from qianda import tool
from qianda.mcp_servers.server import ToolServer
from qianda.mcp_servers.stdio import serve_stdio

CALLS, ROUNDS = 200, 7
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}


@tool(read_only=True)
async def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def bare() -> Server[Any]:
    """A server of a few lines, which checks nothing."""

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[types.Tool(name="add", description="Add.", input_schema=SCHEMA)])

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        given = params.arguments or {}
        return types.CallToolResult(content=[types.TextContent(text=str(given["a"] + given["b"]))])

    return Server("bare", on_list_tools=list_tools, on_call_tool=call_tool)


def ours() -> ToolServer:
    """Ours, with the same tool."""
    return ToolServer([add], workspace=Path(tempfile.gettempdir()), sandbox="off")


async def timed(client: Client) -> float:
    """Seconds of one call, as the mean of a round."""
    started = time.perf_counter()
    for number in range(CALLS):
        await client.call_tool("add", {"a": number, "b": 1})
    return (time.perf_counter() - started) / CALLS


async def compare(name: str, first: Any, second: Any) -> None:
    """Print what a call costs at two servers."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client(target, mode="legacy")) for target in (first, second)]
        for client in clients:
            await client.list_tools()
            await timed(client)
        rounds = [[await timed(client) for client in clients] for _ in range(ROUNDS)]
    bare_cost, our_cost = (min(times) * 1e3 for times in zip(*rounds, strict=True))
    print(f"{name:10} bare {bare_cost:.3f} ms  ours {our_cost:.3f} ms  {our_cost / bare_cost:.2f}x", flush=True)


async def serve_bare() -> None:
    """The bare server over stdio."""
    server = bare()
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def over_stdio(which: str) -> Any:
    """A server in a process of its own."""
    return stdio_client(StdioServerParameters(command=sys.executable, args=[__file__, which]))


async def main() -> None:
    """Compare both ways."""
    await compare("in memory", bare(), ours())
    await compare("stdio", over_stdio("bare"), over_stdio("ours"))


if __name__ == "__main__":
    asyncio.run(serve_bare() if "bare" in sys.argv else serve_stdio(ours()) if "ours" in sys.argv else main())
