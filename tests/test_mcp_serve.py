"""Our tools served over MCP, asked by the official SDK's own client: in memory, and over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp_types import AudioContent, CallToolResult, ImageContent, TextContent

from qianda import __version__
from qianda.mcp_servers import list_targets, load_targets
from qianda.mcp_servers.server import ToolServer
from qianda.models.errors import ConfigurationError
from qianda.tools import TOOLSETS, Context
from qianda.tools.mcp import MCPServer, MCPToolset

HOUSE = Path(__file__).resolve().parents[1]
MY_TOOLS = '''
import asyncio, os, sys
from pathlib import Path

import beside
from qianda import Context, MediaPart, tool
from qianda.tools import calculator

print("loading")
os.system("echo loading in a shell")


@tool(read_only=True)
def greet(name: str, times: int = 1) -> str:
    """Greet someone.

    Args:
        name: whom.
        times: how often, at least 1.
    """
    print("greeting")
    os.system("echo greeting in a shell")
    return beside.WORD + ", " + name * times


@tool
async def long(context: Context) -> str:
    """Never ends by itself."""
    context.progress("begun")
    try:
        await asyncio.Event().wait()
    finally:
        (context.workspace / "cancelled").touch()


@tool(timeout=0.2)
async def slow() -> str:
    """Takes too long."""
    await asyncio.Event().wait()


@tool
def picture() -> list[MediaPart | str]:
    """Gives media."""
    return ["see", MediaPart("image", "data:image/png;base64,AA=="), MediaPart("audio", "data:audio/wav;base64,AA==")]


@tool
def breaks() -> str:
    """Breaks."""
    raise ValueError("no luck\\nat all")


same_thing = greet
root = tool(os.path.basename, name="basename", description="The last part of a path.")
'''


@pytest.fixture
def my_tools(tmp_path: Path) -> Path:
    folder = tmp_path / "my project"
    folder.mkdir()
    (folder / "beside.py").write_text('WORD = "你好"\n', encoding="utf-8")
    (folder / "my_tools.py").write_text(MY_TOOLS, encoding="utf-8")
    return folder / "my_tools.py"


@pytest.fixture(autouse=True)
def same_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a file puts its folder on the import path; not beyond the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "beside", raising=False)


def in_memory(*targets: str, workspace: Path, read_only: bool = False) -> Client:
    return Client(ToolServer(load_targets(targets, read_only=read_only), workspace=workspace))


def over_stdio(*arguments: str, workspace: Path) -> AbstractAsyncContextManager[Client]:
    command = ["-m", "qianda.mcp_servers", *arguments, "--workspace", str(workspace)]
    return Client(
        stdio_client(
            StdioServerParameters(
                command=sys.executable, args=command, env={"QIANDA_DATA_DIR": os.environ["QIANDA_DATA_DIR"]}
            )
        )
    )


def text(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


async def test_files_are_served_over_stdio(tmp_path: Path) -> None:
    async with asyncio.timeout(50), over_stdio("files", "calculator", "time", workspace=tmp_path) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"list_files", "read_file", "write_file", "calculator", "current_time"} <= set(tools)
        assert tools["read_file"].annotations is not None
        assert tools["read_file"].annotations.read_only_hint is True
        assert tools["write_file"].annotations is not None
        assert tools["write_file"].annotations.read_only_hint is False

        written = await client.call_tool("write_file", {"path": "价格.txt", "content": "17"})
        assert not written.is_error
        assert (tmp_path / "价格.txt").read_text() == "17"
        assert "17" in text(await client.call_tool("read_file", {"path": "价格.txt"}))
        outside = await client.call_tool("read_file", {"path": "/etc/passwd"})
        assert outside.is_error
        assert "outside the workspace" in text(outside)
        assert "391" in text(await client.call_tool("calculator", {"expression": "23*17"}))


async def test_a_users_file_is_served_over_stdio(my_tools: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(50), over_stdio(str(my_tools), workspace=tmp_path) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["greet", "long", "slow", "picture", "breaks", "basename"]
        assert text(await client.call_tool("greet", {"name": "世界", "times": 2})) == "你好, 世界世界"
        assert text(await client.call_tool("basename", {"p": "a/b"})) == "b"


async def test_our_own_host_uses_our_own_server(my_tools: Path, tmp_path: Path) -> None:
    said: list[str] = []
    command = (sys.executable, "-m", "qianda.mcp_servers", str(my_tools))
    toolset = MCPToolset([MCPServer("mine", command)], workspace=tmp_path, notify=said.append)
    async with asyncio.timeout(50):
        await toolset.start()
        try:
            tools = {tool.name: tool for tool in toolset.tools}
            greet = tools["mcp__mine__greet"]
            result = await greet.call(greet.read_arguments('{"name": "a", "times": "3"}'), Context())
            assert (said, result.content) == ([], "你好, aaa")
        finally:
            await toolset.close()


async def test_progress_and_cancellation_reach_the_tool(my_tools: Path, tmp_path: Path) -> None:
    begun = asyncio.Event()
    heard: list[str | None] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)
        begun.set()

    async with asyncio.timeout(50), in_memory(str(my_tools), workspace=tmp_path) as client:
        task = asyncio.create_task(client.call_tool("long", {}, progress_callback=progress))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not (await client.call_tool("greet", {"name": "a"})).is_error
    assert heard == ["begun"]
    assert (tmp_path / "cancelled").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("greet", {}, '"name" is missing'),
        ("greet", {"name": "a", "times": "often"}, "times"),
        ("greet", {"nam": "a"}, 'did you mean "name"'),
        ("slow", {}, "0.2 s"),
        ("breaks", {}, "ValueError: no luck"),
    ],
)
async def test_what_went_wrong_is_a_result_that_says_so(
    my_tools: Path, tmp_path: Path, name: str, arguments: dict[str, object], sentence: str
) -> None:
    async with asyncio.timeout(20), in_memory(str(my_tools), workspace=tmp_path) as client:
        result = await client.call_tool(name, arguments)
    assert result.is_error
    assert sentence in text(result)
    assert "\n" not in text(result)
    assert "Traceback" not in text(result)


async def test_an_unknown_tool_is_named_beside_those_that_are(my_tools: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(20), in_memory(str(my_tools), workspace=tmp_path) as client:
        with pytest.raises(MCPError, match=r"no tool 'greetings'.*greet"):
            await client.call_tool("greetings", {})


async def test_media_are_given_as_media(my_tools: Path, tmp_path: Path) -> None:
    async with asyncio.timeout(20), in_memory(str(my_tools), workspace=tmp_path) as client:
        see, image, audio = (await client.call_tool("picture", {})).content
    assert isinstance(see, TextContent)
    assert isinstance(image, ImageContent)
    assert isinstance(audio, AudioContent)
    assert (image.mime_type, image.data, audio.mime_type) == ("image/png", "AA==", "audio/wav")


def test_read_only_leaves_out_what_may_change_something(my_tools: Path) -> None:
    assert {"read_file"} <= {tool.name for tool in load_targets(["files"], read_only=True)}
    assert all(tool.read_only for tool in load_targets(["files", "shell"], read_only=True))
    assert [tool.name for tool in load_targets([str(my_tools)], read_only=True)] == ["greet"]
    Path("writes.py").write_text("from qianda import tool\n@tool\ndef write() -> str:\n    'Writes.'\n    return ''\n")
    with pytest.raises(ConfigurationError, match=r"writes\.py only reads"):
        load_targets(["writes.py"], read_only=True)


def test_the_targets_are_listed_with_their_tools() -> None:
    targets = list_targets()
    assert list(targets) == list(TOOLSETS)
    assert "read_file" in targets["files"]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([], "nothing to serve"),
        (["fils"], "nothing called 'fils'"),
        (["no/such.py"], "no Python file no/such.py"),
        (["two.py", "calculator"], "Two tools to serve are called calculator"),
        (["none.py"], "none.py has no tools"),
        (["imports_only.py"], "imports_only.py has no tools"),
        (["folder/"], "no Python file folder"),
    ],
)
def test_wrong_targets_are_one_line(targets: list[str], message: str) -> None:
    Path("two.py").write_text("from qianda import tool\n@tool\ndef calculator() -> str:\n    'Mine.'\n    return ''\n")
    Path("none.py").write_text("def f(): pass\n")
    Path("imports_only.py").write_text("from qianda.tools import calculator, Tool, tool\n")
    Path("folder").mkdir()
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        load_targets(targets)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("x = 1\ny = nope\n", "broken.py:2: NameError: name 'nope'"),
        ("def f(:\n", "broken.py:1: SyntaxError"),
        ("import not_installed_anywhere\n", "broken.py:1: ModuleNotFoundError: No module named"),
        ("import json\n\njson.loads('{')\n", "broken.py:3: JSONDecodeError"),
        ("import sys\nsys.exit(3)\n", "broken.py:2: SystemExit: it ends the program"),
        ("raise ValueError('one\\ntwo')\n", "broken.py:1: ValueError: one"),
        ("from qianda import tool\n@tool\ndef f(x: 'Nope'): 'F.'\n", "broken.py"),
    ],
)
def test_an_error_in_a_users_file_is_one_line_with_its_place(code: str, line: str) -> None:
    Path("broken.py").write_text(code)
    before = set(sys.modules)

    with pytest.raises(ConfigurationError) as caught:
        load_targets(["broken.py"])

    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not {name for name in set(sys.modules) - before if "broken" in name and "Nope" not in code}


@pytest.mark.parametrize("arguments", [["fils"], ["files", "--workspace", "no/such/folder"]])
def test_the_module_says_what_is_wrong_on_stderr_and_ends(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "qianda.mcp_servers", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=50)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_the_registry_s_entry_names_this_release_and_this_command() -> None:
    entry = json.loads((HOUSE / "server.json").read_text(encoding="utf-8"))
    (package,) = entry["packages"]
    assert entry["version"] == package["version"] == __version__
    assert len(entry["description"]) <= 100
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", entry["name"])
    serve, toolset, folder = package["packageArguments"]
    assert all(name in toolset["description"] for name in TOOLSETS)
    words = [serve["value"], toolset["default"], folder["name"], "."]
    done = subprocess.run(
        [sys.executable, "-m", "qianda", *words], input="", capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


Served = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Served:
    """Starts a server, opens the connection and asks for one call; the process is gone after the test."""

    def serve(*arguments: str, call: dict[str, object]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "qianda.mcp_servers", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

        def end() -> None:
            process.kill()
            process.wait(timeout=10)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

        request.addfinalizer(end)
        info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        assert process.stdin is not None
        for message in (
            {"id": 1, "method": "initialize", "params": info},
            {"method": "notifications/initialized"},
            {"id": 2, "method": "tools/call", "params": {**call, "_meta": {"progressToken": 7}}},
        ):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            process.stdin.flush()
        return process

    return serve


def test_what_tools_print_goes_to_stderr(my_tools: Path, served: Served) -> None:
    process = served(str(my_tools), call={"name": "greet", "arguments": {"name": "a"}})
    assert process.stdout is not None
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]

    rest, errors = process.communicate(timeout=30)

    assert [answer["id"] for answer in answers] == [1, 2]
    assert rest == ""
    for line in ("loading", "loading in a shell", "greeting", "greeting in a shell"):
        assert line in errors.splitlines()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "closed"])
def test_a_server_that_has_to_go_takes_its_commands_with_it(how: str, served: Served) -> None:
    shell = next(tool for tool in load_targets(["shell"]) if tool.name == "run_command")
    (argument,) = shell.schema.parameters["required"]
    command = f"sleep 60000{os.getpid()}"  # found by its arguments: in a sandbox it does not know its number
    process = served("shell", call={"name": shell.name, "arguments": {argument: f"echo up && exec {command}"}})
    assert process.stdin is not None
    assert process.stdout is not None
    assert '"serverInfo"' in process.stdout.readline()
    assert '"message":"up' in process.stdout.readline()
    assert is_running(command)

    if how == "closed":
        process.stdin.close()
    else:
        process.send_signal(getattr(signal, how))

    assert process.wait(timeout=30) == (0 if how == "closed" else -getattr(signal, how))
    ends = time.monotonic() + 20
    while is_running(command):  # the kernel takes its time with those inside a sandbox
        assert time.monotonic() < ends


def is_running(command: str) -> bool:
    """Whether a process of that command line runs."""
    listed = subprocess.run(["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True).stdout
    return any(line.endswith(command) and not line.startswith("Z") for line in listed.splitlines())
