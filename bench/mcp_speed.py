"""What MCP servers cost: our call beside the bare SDK's, many servers that start slowly, a thousand tools.

``python bench/mcp_speed.py`` prints JSON; a pair is measured in turns in one process, and the smallest medians count.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.server import Server

from qianda.tools import Context
from qianda.tools.mcp import MCPServer, MCPToolset
from qianda.tools.tool_search import fit

HERE = Path(__file__).resolve()
ROUNDS, CALLS = 7, 150
SERVERS, TOOLS = 20, 1_000
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
ARGUMENTS = {"text": "hello"}


def tool(name: str) -> types.Tool:
    """One of many tools."""
    return types.Tool(name=name, description=f"Looks up {name} in the archive of the city.", input_schema=SCHEMA)


def server(count: int = 1) -> Server[Any]:
    """A server that says what it hears."""
    tools = [tool("echo"), *(tool(f"look_up_{number}") for number in range(count - 1))]

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools)

    async def call_tool(_context: Any, params: Any) -> types.CallToolResult:
        return types.CallToolResult(content=[types.TextContent(type="text", text=params.arguments["text"])])

    return Server("echo", on_list_tools=list_tools, on_call_tool=call_tool)


async def timed(call: Callable[[], Awaitable[Any]]) -> float:
    """Seconds of one call, in the middle of many."""
    spent: list[float] = []
    for _ in range(CALLS):
        start = time.perf_counter()
        await call()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


async def pair(ours: MCPServer, bare: Any) -> dict[str, float]:
    """Seconds of one call, ours and the SDK's."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(bare))
        await client.list_tools()
        toolset = await opened(stack, ours)
        echo, text, context = toolset.tools[0], json.dumps(ARGUMENTS), Context()
        arguments = echo.read_arguments(text)

        async def call() -> None:
            assert (await echo.call(arguments, context)).content == "hello"

        async def whole() -> None:
            assert (await echo.call(echo.read_arguments(text), context)).content == "hello"

        async def plain() -> None:
            assert (await client.call_tool("echo", ARGUMENTS)).content

        figures = [[await timed(way) for way in (call, whole, plain)] for _ in range(ROUNDS)]
    call_s, whole_s, sdk_s = (min(column) for column in zip(*figures, strict=True))
    return {
        "ours": call_s,
        "with reading": whole_s,
        "sdk": sdk_s,
        "ratio": call_s / sdk_s,
        "ratio with reading": whole_s / sdk_s,
    }


async def opened(stack: AsyncExitStack, *servers: MCPServer) -> MCPToolset:
    """Our tools of servers that run."""
    toolset = MCPToolset(servers, workspace=Path.cwd(), notify=print)
    stack.push_async_callback(toolset.close)
    await toolset.start()
    return toolset


async def sleepy() -> float:
    """Seconds until servers run that each sleep for one before they answer."""
    script = str(HERE.parent.parent / "tests/fixtures/mcp/server.py")
    command = (sys.executable, "-S", script)
    start = time.perf_counter()
    async with AsyncExitStack() as stack:
        await opened(stack, *(MCPServer(f"s{number}", command, {"SLOW": "1"}) for number in range(SERVERS)))
        return time.perf_counter() - start


async def many() -> dict[str, float]:
    """Seconds until a thousand tools are listed and made ours, and until a search has found one among them."""
    async with AsyncExitStack() as stack:
        await opened(stack, MCPServer("warm", server=server()))
        start = time.perf_counter()
        toolset = await opened(stack, MCPServer("many", server=server(TOOLS)))
        listed = time.perf_counter() - start
        (search,) = fit(toolset.tools)
        result = await search.call({"query": "look_up_777"}, Context())
        assert "look_up_777" in str(result.content)
        return {"listed": listed, "searched": time.perf_counter() - start}


async def main() -> None:
    """Print all figures."""
    here = [sys.executable, str(HERE), "serve"]
    stdio = await pair(MCPServer("echo", tuple(here)), StdioServerParameters(command=here[0], args=here[1:]))
    memory = await pair(MCPServer("echo", server=server()), server())
    lists = [await many() for _ in range(ROUNDS)]
    best = {key: min(each[key] for each in lists) for key in lists[0]}
    print(json.dumps({"stdio": stdio, "memory": memory, "sleepy": await sleepy(), "many": best}, indent=1))


async def serve() -> None:
    """Be the server of the first pair."""
    from mcp.server.stdio import stdio_server

    made = server()
    async with stdio_server() as streams:
        await made.run(*streams, made.create_initialization_options())


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1:] == ["serve"] else main())
