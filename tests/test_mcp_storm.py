"""A storm of bad MCP servers, and our own sudden death: the run goes on, and nothing is left running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from qianda import Agent
from qianda.models.config import data_dir
from qianda.models.events import CallFailed, CallFinished, Notice
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools.mcp import MCPServer, MCPToolset
from qianda.tools.mcp.orphans import sweep
from qianda.tools.mcp.server_log import MAX_LOG, ServerLog

SERVER = Path(__file__).parent / "fixtures/mcp/server.py"
HOST = """
import asyncio, os, sys
from pathlib import Path
from qianda.tools.mcp import MCPServer, MCPToolset

async def main() -> None:
    command, env = (sys.executable, "-S", sys.argv[1]), {"PIDS": os.environ["PIDS"]}
    servers = [MCPServer(mode, (*command, mode), env) for mode in sys.argv[2:]]
    await MCPToolset(servers, workspace=Path.cwd(), notify=print).start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def is_running(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.strip().startswith("Z")


def started(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]


@pytest.fixture
def pids(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the servers note their processes; what still runs afterwards is ended."""
    folder = tmp_path_factory.mktemp("pids")
    yield folder
    left = [pid for pid in started(folder) if is_running(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


def server(mode: str, pids: Path) -> MCPServer:
    return MCPServer(mode, (sys.executable, "-S", str(SERVER), mode), {"PIDS": str(pids)})


async def test_a_run_goes_on_in_a_storm_and_each_problem_is_one_line(pids: Path) -> None:
    servers = [
        server("good", pids),
        MCPServer("missing", ("uvx-that-is-not-there",)),
        server("crash", pids),
        replace(server("hang", pids), timeout=3),
        replace(server("garbage", pids), timeout=3),
        replace(server("good", pids), name="dies"),
        server("flood", pids),
        replace(server("good", pids), name="changes"),
    ]
    calls = [
        Turn(calls=[Call("mcp__dies__die", {}), Call("mcp__flood__flood", {}), Call("mcp__changes__turn", {})]),
        Turn(calls=[Call("mcp__dies__echo", {"text": "back"}), Call("mcp__flood__echo", {"text": "dry"})]),
        Turn(calls=[Call("mcp__good__echo", {"text": "fine"})]),
    ]
    notes: list[str] = []
    results: list[str] = []
    failures: list[str] = []
    async with asyncio.timeout(50), ScriptedServer(*calls, "Done.") as models:
        agent = Agent(server=models.url, mcp_servers=servers, permissions="auto")
        async with agent.stream("Go.") as run:
            async for event in run:
                match event:
                    case Notice():
                        notes.append(event.text)
                    case CallFinished():
                        results.append(str(event.content))
                    case CallFailed():
                        failures.append(event.error)
                    case _:
                        pass
            assert run.result.output == "Done."
    assert sorted(results) == ["back", "dry", "fine", "turned"]
    assert len(failures) == 2
    assert not any("\n" in text for text in (*notes, *failures))
    about = {name: [note for note in notes if f"'{name}'" in note] for name in (each.name for each in servers)}
    assert {name: len(found) for name, found in about.items()} == {
        **dict.fromkeys(("missing", "crash", "hang", "garbage", "dies", "flood", "changes"), 1),
        "good": 0,
    }
    assert len(notes) == 7
    assert "not found" in about["missing"][0]
    assert "exit code 1" in about["crash"][0]
    assert "within 3 s" in about["hang"][0]
    assert "Welcome" in about["garbage"][0]
    assert "out of cheese" in about["dies"][0]
    assert "more than 32 MiB" in about["flood"][0]
    assert "has changed what it says of echo" in about["changes"][0]
    assert [pid for pid in started(pids) if is_running(pid)] == []


def test_a_log_is_no_flood(tmp_path: Path) -> None:
    log = ServerLog(MCPServer("loud", ("true",)))
    with log.opened():
        assert log.file is not None
        subprocess.run([sys.executable, "-c", f"print('y' * {3 * MAX_LOG})"], stdout=log.file, check=True)
        log.trim()
        subprocess.run(["echo", "Error: at the end"], stdout=log.file, check=True)
        assert log.path.stat().st_size < 100
        assert log.tail() == "Error: at the end"
    assert tmp_path.exists()


async def test_a_host_that_was_killed_leaves_nothing_after_the_next_start(pids: Path) -> None:
    modes = ("good", "stubborn", "wrapper", "fled")
    host = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOST, str(SERVER), *modes, env={**os.environ, "PIDS": str(pids)}, stdout=subprocess.PIPE
    )
    assert host.stdout is not None
    async with asyncio.timeout(40):
        assert await host.stdout.readline() == b"ready\n"
        host.kill()
        await host.wait()
    left = [pid for pid in started(pids) if is_running(pid)]
    assert len(left) >= 4  # nothing but the sweep ends these

    toolset = MCPToolset([server("good", pids)], workspace=Path.cwd(), notify=print)
    async with asyncio.timeout(20):
        await toolset.start()
        try:
            while [pid for pid in left if is_running(pid)]:  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0)
        finally:
            await toolset.close()
    assert list((data_dir() / "mcp/running").glob("*")) == []


def test_a_number_that_is_another_process_by_now_is_left_alone(pids: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as foreign:
        folder = data_dir() / "mcp/running"
        folder.mkdir(parents=True)
        noted = {"name": "x", "pid": foreign.pid, "began": "before", "owner": foreign.pid, "of": "long before"}
        (folder / "aaaa.json").write_bytes(orjson.dumps(noted))
        (folder / "bbbb.json").write_bytes(b"not json")
        try:
            assert sweep() == 1
            assert foreign.poll() is None
        finally:
            foreign.kill()
    assert started(pids) == []
