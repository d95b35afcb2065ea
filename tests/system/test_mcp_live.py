"""MCP against programs that others wrote; ``tests/system/setup_mcp.sh`` fetches them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent
from qianda.models.messages import MediaPart
from qianda.testing import Call, ScriptedServer, Turn, serving
from qianda.tools import Context, Tool, ToolResult
from qianda.tools.mcp import MCPServer, MCPToolset

# Read before the tests get a home of their own.
PARTS = Path(os.environ.get("QIANDA_PARTS") or Path.home() / ".cache/qianda-parts") / "mcp"
TIME = PARTS / "venv/bin/mcp-server-time"
NPM = PARTS / "npm/node_modules/.bin"


def part(path: Path) -> str:
    if not path.exists():
        pytest.skip(f"{path.name} is not here: tests/system/setup_mcp.sh")
    return str(path)


@asynccontextmanager
async def opened(command: str) -> AsyncGenerator[dict[str, Tool]]:
    said: list[str] = []
    toolset = MCPToolset([MCPServer.parse(command)], workspace=Path.cwd(), notify=said.append)
    async with asyncio.timeout(50):
        await toolset.start()
        try:
            assert said == []
            yield {tool.name.split("__")[2]: tool for tool in toolset.tools}
        finally:
            await toolset.close()


async def call(tool: Tool, context: Context | None = None, **arguments: Any) -> ToolResult:
    return await tool.call(tool.read_arguments(json.dumps(arguments)), context or Context())


@pytest.mark.pypi
async def test_the_time_server_of_pypi() -> None:
    async with opened(f"{part(TIME)} --local-timezone UTC") as tools:
        noon = await call(tools["convert_time"], source_timezone="Asia/Shanghai", target_timezone="UTC", time="20:00")
        wrong = await call(tools["get_current_time"], timezone="Mars/Olympus")
    assert isinstance(noon.content, str)
    assert json.loads(noon.content)["target"]["datetime"].endswith("T12:00:00+00:00")
    assert wrong.failed
    assert "Mars/Olympus" in str(wrong.content)


@pytest.mark.pypi
async def test_an_agent_asks_the_time_server() -> None:
    command = f"{part(TIME)} --local-timezone UTC"
    asked = Call("mcp__time__get_current_time", {"timezone": "Asia/Shanghai"})
    async with asyncio.timeout(50), ScriptedServer(Turn(calls=[asked]), "It is late.") as server:
        agent = Agent(server=server.url, mcp_servers=[command], permissions="auto")
        result = await agent.run("What time is it in Shanghai?")
        told = server.requests[1]["messages"][-1]
    assert result.output == "It is late."
    assert told["role"] == "tool"
    assert "+08:00" in told["content"]


@pytest.mark.pypi
def test_qianda_run_uses_the_time_server() -> None:
    command = f"{part(TIME)} --local-timezone UTC"
    asked = Call("mcp__time__get_current_time", {"timezone": "Asia/Shanghai"})
    with serving(ScriptedServer(Turn(calls=[asked]), "It is late.")) as server:
        done = subprocess.run(
            [sys.executable, "-m", "qianda", "run", "--server", server.url, "--yes", "--mcp", command, "Time?"],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=50,
        )
        told = server.requests[1]["messages"][-1] if len(server.requests) > 1 else None
    assert (done.returncode, done.stdout) == (0, "It is late.\n"), done.stderr
    assert told is not None
    assert "+08:00" in told["content"]


@pytest.mark.node
async def test_server_everything_of_npm() -> None:
    heard: list[str] = []
    async with opened(f"{part(NPM / 'mcp-server-everything')} stdio") as tools:
        assert await call(tools["echo"], message="你好") == ToolResult("Echo: 你好")
        assert "42" in str((await call(tools["get-sum"], a=40, b="2")).content)
        image = await call(tools["get-tiny-image"])
        assert any(isinstance(item, MediaPart) and item.type == "image" for item in image.content)
        structured = await call(tools["get-structured-content"], location="Chicago")
        assert "temperature" in str(structured.content)
        await call(tools["trigger-long-running-operation"], Context(progress=heard.append), duration=0.2, steps=2)
    assert sorted(heard) == ["1/2", "2/2"]


@pytest.mark.node
async def test_server_filesystem_of_npm(tmp_path: Path) -> None:
    (tmp_path / "价格.txt").write_text("17", encoding="utf-8")
    async with opened(f"{part(NPM / 'mcp-server-filesystem')} '{tmp_path}'") as tools:
        assert (await call(tools["read_text_file"], path=str(tmp_path / "价格.txt"))).content == "17"
        outside = await call(tools["read_text_file"], path="/etc/passwd")
        assert outside.failed
        assert "denied" in str(outside.content)


def inspect(*arguments: str, workspace: Path) -> Any:
    """What the MCP Inspector's command line says of ``qianda serve``."""
    serve = [sys.executable, "-m", "qianda", "serve", "files", "--cwd", str(workspace)]
    done = subprocess.run(
        [part(NPM / "mcp-inspector"), "--cli", *serve, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.node
def test_the_inspector_lists_and_calls_our_tools(tmp_path: Path) -> None:
    (tmp_path / "price.txt").write_text("17")

    listed = inspect("--method", "tools/list", workspace=tmp_path)
    assert {"list_files", "read_file", "write_file"} <= {tool["name"] for tool in listed["tools"]}

    read = ["--method", "tools/call", "--tool-name", "read_file", "--tool-arg"]
    result = inspect(*read, "path=price.txt", workspace=tmp_path)
    assert "17" in result["content"][0]["text"]
    missing = inspect(*read, "path=prise.txt", workspace=tmp_path)
    assert missing["isError"] is True
    assert "price.txt" in missing["content"][0]["text"]
