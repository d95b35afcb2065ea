"""MCP against programs that others wrote; ``tests/system/setup_mcp.sh`` fetches them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent
from qianda.models.events import Notice
from qianda.models.messages import MediaPart, content_text
from qianda.testing import Call, ScriptedServer, Turn, serving
from qianda.tools import ApprovalRequest, Context, Tool, ToolResult
from qianda.tools.mcp import MCPServer, MCPToolset
from qianda.tools.mcp.offers import attach, get_prompt, list_prompts, list_resources, read_resource
from qianda.tools.questions import Answer, Question

pytestmark = pytest.mark.timeout(120)  # npm and Python programs that start slowly on a busy machine

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
    async with asyncio.timeout(100):
        await toolset.start()
        try:
            assert said == []
            yield {tool.name.rpartition("__")[2]: tool for tool in toolset.tools}
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
    async with asyncio.timeout(100), ScriptedServer(Turn(calls=[asked]), "It is late.") as server:
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
            timeout=100,
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


async def agree(_request: ApprovalRequest) -> bool:
    """Who sits there and says yes."""
    return True


async def agent_calls(command: str, *calls: Call) -> list[str]:
    """What an agent's run with these calls told the model, one result after the other."""
    async with asyncio.timeout(100), ScriptedServer(*(Turn(calls=[each]) for each in calls), "Done.") as server:
        agent = Agent(server=server.url, mcp_servers=[command], permissions="auto", approve=agree)
        async with agent.stream("Go.") as run:
            said = [event.text async for event in run if isinstance(event, Notice)]
        result = run.result
    assert result.output == "Done."
    assert said == []
    return [content_text(message.content) for message in result.messages if message.role == "tool"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a commit and a change."""
    git = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", "-C", str(tmp_path)]
    (tmp_path / "a.txt").write_text("one\n")
    for words in (["init", "-q"], ["add", "a.txt"], ["commit", "-qm", "First"]):
        subprocess.run([*git, *words], check=True)
    (tmp_path / "a.txt").write_text("two\n")
    return tmp_path


@pytest.mark.pypi
async def test_an_agent_uses_the_git_server(repository: Path) -> None:
    repo = {"repo_path": str(repository)}
    status, diff, log, wrong = await agent_calls(
        part(PARTS / "venv/bin/mcp-server-git"),
        Call("mcp__git__git_status", repo),
        Call("mcp__git__git_diff_unstaged", repo),
        Call("mcp__git__git_log", {**repo, "max_count": 3}),
        Call("mcp__git__git_show", {**repo, "revision": "no-such"}),
    )
    assert "a.txt" in status
    assert "+two" in diff
    assert "First" in log
    assert "no-such" in wrong


@pytest.mark.pypi
async def test_an_agent_uses_the_fetch_server() -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<html><body><h1>Prices</h1><p>Tea costs seventeen.</p></body></html>"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(page, "127.0.0.1", 0) as web:
        url = f"http://127.0.0.1:{web.sockets[0].getsockname()[1]}/prices"
        found, raw, wrong = await agent_calls(
            f"{part(PARTS / 'venv/bin/mcp-server-fetch')} --ignore-robots-txt --allow-private-ips",
            Call("mcp__fetch__fetch", {"url": url}),
            Call("mcp__fetch__fetch", {"url": url, "raw": True, "max_length": 20}),
            Call("mcp__fetch__fetch", {"url": "no address"}),
        )
    assert "seventeen" in found
    assert "<html>" in raw
    assert wrong


@pytest.mark.pypi
async def test_an_agent_uses_the_sqlite_server_of_the_old_sdk(tmp_path: Path) -> None:
    create = "CREATE TABLE teas (name TEXT, price INTEGER)"
    made, added, read, wrong = await agent_calls(
        f"{part(PARTS / 'sqlite/bin/mcp-server-sqlite')} --db-path '{tmp_path / 'teas.db'}'",
        Call("mcp__sqlite__create_table", {"query": create}),
        Call("mcp__sqlite__write_query", {"query": "INSERT INTO teas VALUES ('龙井', 17)"}),
        Call("mcp__sqlite__read_query", {"query": "SELECT * FROM teas"}),
        Call("mcp__sqlite__read_query", {"query": "SELECT nothing"}),
    )
    assert "created" in made
    assert "1" in added
    assert "龙井" in read
    assert "nothing" in wrong


@pytest.mark.pypi
async def test_a_server_that_got_a_newer_sdk_than_it_knows_says_what_to_do(tmp_path: Path) -> None:
    said: list[str] = []
    server = MCPServer("sqlite", (part(PARTS / "sqlite-fresh/bin/mcp-server-sqlite"), "--db-path", str(tmp_path / "x")))
    toolset = MCPToolset([server], workspace=tmp_path, notify=said.append)
    async with asyncio.timeout(100):
        await toolset.start()
        await toolset.close()
    assert len(said) == 1
    assert "mcp<2" in said[0]


@pytest.mark.node
async def test_an_agent_uses_the_memory_server(tmp_path: Path) -> None:
    tea = {"name": "龙井", "entityType": "tea", "observations": ["from Hangzhou"]}
    made, found, opened_, whole = await agent_calls(
        f"MEMORY_FILE_PATH='{tmp_path / 'memory.json'}' {part(NPM / 'mcp-server-memory')}",
        Call("mcp__memory__create_entities", {"entities": [tea]}),
        Call("mcp__memory__search_nodes", {"query": "Hangzhou"}),
        Call("mcp__memory__open_nodes", {"names": ["龙井"]}),
        Call("mcp__memory__delete_entities", {"entityNames": ["龙井"]}),
    )
    assert "龙井" in made
    assert "龙井" in found
    assert "from Hangzhou" in opened_
    assert "deleted" in whole


@pytest.mark.node
async def test_an_agent_uses_the_server_of_everything() -> None:
    echo, added, wrong = await agent_calls(
        f"{part(NPM / 'mcp-server-everything')} stdio",
        Call("mcp__everything__echo", {"message": "你好"}),
        Call("mcp__everything__get-sum", {"a": 40, "b": "2"}),
        Call("mcp__everything__get-sum", {"a": 40}),
    )
    assert echo == "Echo: 你好"
    assert "42" in added
    assert '"b" is missing' in wrong


@pytest.mark.node
async def test_an_agent_uses_the_sequential_thinking_server() -> None:
    thought = {"thought": "First the tea.", "nextThoughtNeeded": True, "thoughtNumber": 1, "totalThoughts": 2}
    last = {"thought": "Then the price.", "nextThoughtNeeded": False, "thoughtNumber": 2, "totalThoughts": 2}
    name = "mcp__sequential-thinking__sequentialthinking"
    first, second, wrong = await agent_calls(
        part(NPM / "mcp-server-sequential-thinking"), Call(name, thought), Call(name, last), Call(name, {})
    )
    assert '"thoughtNumber": 1' in first
    assert '"nextThoughtNeeded": false' in second
    assert '"thought" is missing' in wrong


@pytest.mark.node
async def test_an_agent_uses_the_filesystem_server(tmp_path: Path) -> None:
    path = str(tmp_path / "价格.txt")
    written, read, listed, outside = await agent_calls(
        f"{part(NPM / 'mcp-server-filesystem')} '{tmp_path}'",
        Call("mcp__filesystem__write_file", {"path": path, "content": "17"}),
        Call("mcp__filesystem__read_text_file", {"path": path}),
        Call("mcp__filesystem__list_directory", {"path": str(tmp_path)}),
        Call("mcp__filesystem__read_text_file", {"path": "/etc/passwd"}),
    )
    assert "wrote" in written
    assert read == "17"
    assert "价格.txt" in listed
    assert "denied" in outside


@pytest.mark.node
async def test_server_everything_has_resources_prompts_and_questions() -> None:
    server = MCPServer.parse(f"{part(NPM / 'mcp-server-everything')} stdio")
    server = replace(server, name="everything")
    questions: list[Question] = []

    async def ask(question: Question) -> Answer:
        questions.append(question)
        fields: dict[str, Any] = (question.schema or {}).get("properties", {})
        return {name: "n" for name in fields if name in (question.schema or {}).get("required", [])}

    toolset = MCPToolset([server], workspace=Path.cwd(), notify=print)
    async with asyncio.timeout(100):
        await toolset.start()
        try:
            resources = await list_resources(toolset)
            kinds = {offer.kind for offer in resources}
            assert kinds == {"resource", "template"}
            first = next(offer for offer in resources if offer.kind == "resource")
            content = await read_resource(toolset, "everything", first.name)
            assert content_text(content) in content_text(await attach(toolset, f"See @everything:{first.name}"))
            prompts = {offer.name: offer for offer in await list_prompts(toolset)}
            assert await get_prompt(toolset, "everything", next(n for n, o in prompts.items() if not o.arguments))
            named = {tool.name.split("__", 2)[-1]: tool for tool in toolset.tools}
            assert "list_resources" in named
            await call(named["trigger-elicitation-request"], Context(asking=ask))
            assert "MCP server 'everything' asks" in questions[0].question
        finally:
            await toolset.close()


def inspect(*arguments: str, workspace: Path) -> Any:
    """What the MCP Inspector's command line says of ``qianda serve``."""
    serve = [sys.executable, "-m", "qianda", "serve", "files", "--cwd", str(workspace)]
    done = subprocess.run(
        [part(NPM / "mcp-inspector"), "--cli", *serve, *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=100,
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
