"""MCP servers as tools, over real processes: the good, the bad, and nothing left running after any of them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from qianda import Agent
from qianda.models.config import data_dir
from qianda.models.errors import ToolError
from qianda.models.messages import MediaPart, TextPart
from qianda.testing import ScriptedServer
from qianda.tools import Context, Permissions, Tool, ToolResult
from qianda.tools.mcp import MCPServer, MCPToolset

SERVER = Path(__file__).parent / "fixtures/mcp/server.py"


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


@pytest.fixture
def pids(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Where the servers note their processes; afterwards none of them may run."""
    folder = tmp_path_factory.mktemp("pids")
    yield folder
    found = sorted(folder.glob("pid-*"))
    assert found, "no server was started"
    assert [path.name for path in found if is_running(int(path.name.removeprefix("pid-")))] == []


@pytest.fixture
def server(pids: Path) -> Callable[[str], MCPServer]:
    """Makes the specification of a server of some mode."""

    def make(mode: str) -> MCPServer:
        return MCPServer(mode, (sys.executable, "-S", str(SERVER), mode), {"PIDS": str(pids)})

    return make


@asynccontextmanager
async def opened(*servers: MCPServer, notes: list[str] | None = None) -> AsyncGenerator[dict[str, Tool]]:
    said: list[str] = [] if notes is None else notes
    toolset = MCPToolset(servers, workspace=Path.cwd(), notify=said.append)
    async with asyncio.timeout(40):
        await toolset.start()
    try:
        yield {tool.name: tool for tool in toolset.tools}
    finally:
        async with asyncio.timeout(20):
            await toolset.close()
    if notes is None:
        assert said == []


async def call(tool: Tool, arguments: str = "{}", context: Context | None = None) -> ToolResult:
    async with asyncio.timeout(20):
        return await tool.call(tool.read_arguments(arguments), context or Context())


async def waiting(tool: Tool) -> asyncio.Task[ToolResult]:
    """A call that the server has begun and will not end."""
    begun = asyncio.Event()
    task = asyncio.create_task(call(tool, context=Context(progress=lambda _text: begun.set())))
    async with asyncio.timeout(20):
        await begun.wait()
    return task


async def test_tools_of_a_server_that_was_ready_before_the_first_run_are_there(
    server: Callable[[str], MCPServer],
) -> None:
    async with ScriptedServer() as model, Agent(server=model.url, mcp_servers=[server("good")]) as agent:
        assert agent.resources is not None
        assert agent.resources.mcp is not None
        toolset = agent.resources.mcp
        async with asyncio.timeout(20):
            await toolset.connection("good").settled()
        async with agent.opened() as resources:
            assert "mcp__good__echo" in resources.tools
        told: list[None] = []
        toolset.watchers.add(lambda: told.append(None))
        await toolset.drop("good")
        assert toolset.tools == ()
        assert told
        await toolset.put(server("good"))
        async with agent.opened() as resources:
            assert "mcp__good__echo" in resources.tools


async def test_tools_of_a_server_work(server: Callable[[str], MCPServer], pids: Path) -> None:
    progress: list[str] = []
    async with opened(server("good")) as tools:
        echo = tools["mcp__good__echo"]
        assert await call(echo, '{"text": "你好", "times": "2"}') == ToolResult("你好你好")
        assert await call(tools["mcp__good__read_it"]) == ToolResult("this is read.it")
        other = next(tool for name, tool in tools.items() if name.startswith("mcp__good__read_it_"))
        assert await call(other) == ToolResult("this is read_it")
        image = await call(tools["mcp__good__image"])
        assert isinstance(image.content, tuple)
        assert image.content[0] == TextPart("look")
        assert isinstance(image.content[1], MediaPart)
        assert image.content[1].url.startswith("data:image/png;base64,iVBORw0KGgo")
        assert await call(tools["mcp__good__structured"]) == ToolResult('{"sum":3}')
        assert await call(tools["mcp__good__fails"]) == ToolResult("the disk is full", failed=True)
        count = tools["mcp__good__count"]
        assert await call(count, '{"to": 3}', Context(progress=progress.append)) == ToolResult("counted")
        assert all(len(name) <= 64 for name in tools)
        results = await asyncio.gather(*(call(echo, json.dumps({"text": str(n)})) for n in range(50)))
        assert [result.content for result in results] == [str(n) for n in range(50)]
    assert sorted(progress) == ["counting (1/3)", "counting (2/3)", "counting (3/3)"]


async def test_what_a_server_says_of_itself_is_shown_but_not_believed(server: Callable[[str], MCPServer]) -> None:
    async with opened(server("good")) as tools:
        tool = tools["mcp__good__read_it"]
        assert "changes nothing" in tool.schema.description
        assert not tool.read_only
        assert Permissions("ask").judge(tool, {}).action == "ask"
        assert Permissions("read-only").judge(tool, {}).action == "deny"
        assert tools["mcp__good__hidden"].schema.description == "Adds two numbers."


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("{}", '"text" is missing'),
        ('{"text": "a", "times": 0}', "less than the minimum"),
        ('{"text": "a", "times": "many"}', "'many' is not of type 'integer'"),
        ("not json at all", "mcp__good__echo"),
    ],
)
async def test_wrong_arguments_are_told_without_asking_the_server(
    server: Callable[[str], MCPServer], arguments: str, complaint: str
) -> None:
    async with opened(server("good")) as tools:
        with pytest.raises(ToolError) as caught:
            tools["mcp__good__echo"].read_arguments(arguments)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_server_sees_little_of_our_environment(
    server: Callable[[str], MCPServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-secret")
    monkeypatch.setenv("UV_INDEX_PRIVATE_PASSWORD", "hunter2")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    (tmp_path / "sub").mkdir()
    spec = server("good")
    spec = replace(spec, env={**spec.env, "KEY": "given"}, cwd="sub")
    async with opened(spec) as tools:
        result = await call(tools["mcp__good__environment"])
    assert isinstance(result.content, str)
    seen = json.loads(result.content)
    assert "sk-secret" not in result.content
    assert "hunter2" not in result.content
    assert (seen["KEY"], seen["TZ"], seen["HOME"]) == ("given", "Asia/Shanghai", os.environ["HOME"])
    assert Path(seen["cwd"]) == tmp_path / "sub"


async def test_a_storm_of_bad_servers_is_one_line_each_and_harms_no_good_one(
    server: Callable[[str], MCPServer], tmp_path: Path
) -> None:
    notes: list[str] = []
    (tmp_path / "plain.txt").write_text("no program")
    servers = [
        server("good"),
        server("banner"),
        server("crash"),
        replace(server("hang"), timeout=3),
        replace(server("garbage"), timeout=3),
        server("empty"),
        MCPServer("missing", ("uvx-that-is-not-there",)),
        MCPServer("not-a-program", (str(tmp_path / "plain.txt"),)),
        MCPServer("nowhere", (sys.executable,), cwd="no/such/folder"),
    ]
    async with opened(*servers, notes=notes) as tools:
        assert await call(tools["mcp__good__echo"], '{"text": "a"}') == ToolResult("a")
        assert await call(tools["mcp__banner__echo"], '{"text": "b"}') == ToolResult("b")
        assert {name.split("__")[1] for name in tools} == {"good", "banner"}
    about = {name: next(note for note in notes if f"'{name}'" in note) for name in [s.name for s in servers[2:]]}
    assert len(notes) == len(about)
    assert not any("\n" in note for note in notes)
    assert "exit code 1" in about["crash"]
    assert "mcp<2" in about["crash"]
    assert "within 3 s" in about["hang"]
    assert "Welcome to my server" in about["garbage"]
    assert "no tools" in about["empty"]
    assert "'uvx-that-is-not-there' was not found" in about["missing"]
    assert "chmod +x" in about["not-a-program"]
    assert "no/such/folder does not exist" in about["nowhere"]


async def test_a_missing_uvx_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    notes: list[str] = []
    async with opened(MCPServer.parse("uvx mcp-server-time"), MCPServer.parse("npx -y x"), notes=notes) as tools:
        assert tools == {}
    assert any("pip install uv" in note for note in notes)
    assert any("nodejs.org" in note for note in notes)


async def test_a_server_that_dies_in_mid_call_is_started_again_and_the_call_not_repeated(
    server: Callable[[str], MCPServer],
) -> None:
    notes: list[str] = []
    async with opened(server("good"), replace(server("good"), name="other"), notes=notes) as tools:
        first = await call(tools["mcp__good__die"])
        later = await call(tools["mcp__good__echo"], '{"text": "a"}')
        alive = await call(tools["mcp__other__echo"], '{"text": "a"}')
    assert first.failed
    assert isinstance(first.content, str)
    for words in ("'good' has ended", "out of cheese", "exit code 3", "Nobody knows whether die was done"):
        assert words in first.content
    assert "\n" not in first.content
    assert (later, alive) == (ToolResult("a"), ToolResult("a"))
    assert len(notes) == 1
    assert "started again" in notes[0]


async def test_what_a_trusted_server_calls_safe_is_repeated_after_a_lost_connection(
    server: Callable[[str], MCPServer], pids: Path
) -> None:
    for trusted in (False, True):
        (pids / "once").unlink(missing_ok=True)
        async with opened(replace(server("good"), trusted=trusted), notes=[]) as tools:
            tool = tools["mcp__good__dies_once"]
            assert (tool.read_only, tool.idempotent) == (trusted, trusted)
            result = await call(tool)
            assert result == ToolResult("second time") if trusted else result.failed


async def test_a_server_that_always_dies_is_given_up(
    server: Callable[[str], MCPServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qianda.tools.mcp.connection.BACKOFF", (0.0, 0.0))
    notes: list[str] = []
    async with opened(server("good"), notes=notes) as tools:
        results = [await call(tools["mcp__good__die"]) for _ in range(4)]
    assert "tools cannot be used any more" in str(results[-1].content)
    assert len(notes) == 3
    assert "not started again" in notes[-1]


async def test_a_message_without_measure_ends_the_server_not_us(server: Callable[[str], MCPServer]) -> None:
    async with opened(server("flood"), notes=[]) as tools:
        result = await call(tools["mcp__flood__flood"])
    assert result.failed
    assert "more than 32 MiB" in str(result.content)


async def test_a_call_that_takes_too_long_is_given_up_and_the_server_told(
    server: Callable[[str], MCPServer],
) -> None:
    async with opened(server("good")) as tools:
        result = await call(replace(tools["mcp__good__wait"], timeout=0.3))
        assert result.failed
        assert "0.3 s" in str(result.content)
        assert str((await call(tools["mcp__good__cancelled"])).content).isdigit()


async def test_a_cancelled_call_is_cancelled_at_the_server_too(server: Callable[[str], MCPServer]) -> None:
    async with opened(server("good")) as tools:
        task = await waiting(tools["mcp__good__wait"])
        assert (await call(tools["mcp__good__cancelled"])).content == "(no output)"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert str((await call(tools["mcp__good__cancelled"])).content).isdigit()


async def test_closing_ends_the_calls_that_still_run(server: Callable[[str], MCPServer]) -> None:
    async with opened(server("good")) as tools:
        task = await waiting(tools["mcp__good__wait"])
    result = await task
    assert result.failed
    assert "'good' has ended" in str(result.content)
    assert "not running" in str((await call(tools["mcp__good__read_it"])).content)


async def test_what_a_server_started_ends_with_it(server: Callable[[str], MCPServer], pids: Path) -> None:
    async with opened(server("good")) as tools:
        assert await call(tools["mcp__good__spawn"]) == ToolResult("spawned")
    assert len(os.listdir(pids)) == 2  # noqa: PTH208 - pathlib is not for async functions


@pytest.mark.parametrize("mode", ["stubborn", "wrapper"])
async def test_a_server_that_will_not_go_is_killed_with_its_children(
    server: Callable[[str], MCPServer], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qianda.tools.mcp.process.GRACE", 0.2)
    async with opened(server(mode)) as tools:
        assert await call(tools[f"mcp__{mode}__echo"], '{"text": "a"}') == ToolResult("a")


async def test_a_cancelled_start_leaves_nothing(server: Callable[[str], MCPServer]) -> None:
    started = asyncio.Event()

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        started.set()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as listener:
        hang = server("hang")
        port = listener.sockets[0].getsockname()[1]
        hang = replace(hang, env={**hang.env, "READY": str(port)})
        toolset = MCPToolset([server("good"), hang], workspace=Path.cwd(), notify=print)
        task = asyncio.create_task(toolset.start())
        async with asyncio.timeout(20):
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert toolset.tools == ()


async def test_a_run_that_is_cancelled_leaves_nothing_even_when_it_is_cancelled_again(
    server: Callable[[str], MCPServer],
) -> None:
    closing = asyncio.Event()

    async def run() -> None:
        toolset = MCPToolset([server("stubborn")], workspace=Path.cwd(), notify=print)
        await toolset.start()
        try:
            running.set()
            await asyncio.Event().wait()
        finally:
            closing.set()
            await toolset.close()

    running = asyncio.Event()
    task = asyncio.create_task(run())
    async with asyncio.timeout(20):
        await running.wait()
        task.cancel()
        await closing.wait()
        task.cancel()  # the server ignores all requests to go: closing would take seconds
        with pytest.raises(asyncio.CancelledError):
            await task
        owners = [other for other in asyncio.all_tasks() if other.get_name() == "mcp-stubborn"]
        await asyncio.gather(*owners, return_exceptions=True)


def test_an_event_loop_that_ends_without_closing_leaves_nothing(server: Callable[[str], MCPServer]) -> None:
    async def forgetful() -> None:
        toolset = MCPToolset([server("stubborn")], workspace=Path.cwd(), notify=print)
        await toolset.start()
        assert toolset.tools

    asyncio.run(forgetful())


async def test_two_servers_of_one_name_are_told_apart(server: Callable[[str], MCPServer]) -> None:
    async with opened(server("good"), server("good")) as tools:
        assert {name.split("__")[1] for name in tools} == {"good", "good_2"}


async def test_logs_are_private_and_hold_what_the_server_said(server: Callable[[str], MCPServer]) -> None:
    async with opened(server("crash"), notes=[]):
        pass
    log = data_dir() / "logs/mcp-crash.log"
    assert "cannot import name 'FastMCP'" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_the_sdk_is_not_imported_before_a_server_is_started() -> None:
    code = (
        "import sys, qianda.tools.mcp, qianda.tools.trust; print('mcp' in sys.modules or 'jsonschema' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
