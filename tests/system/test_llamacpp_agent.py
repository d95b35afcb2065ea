"""Agents and ``qianda run`` against a real llama.cpp server over HTTP, in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qianda import Agent, AssistantMessage
from qianda.models.embedded.weights import installed_weights
from qianda.tools import core_tools

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(300)]

SERVER = """
import asyncio, sys
from qianda.models.embedded import start_embedded

async def main():
    engine = await start_embedded(None, download=False, notify=print)
    print(engine.url, engine.api_key, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    engine.close()

asyncio.run(main())
"""


@pytest.fixture
def server() -> Iterator[tuple[str, str]]:
    """Address and key of a llama.cpp that serves the demo model."""
    if importlib.util.find_spec("xllamacpp") is None or installed_weights() is None:
        pytest.skip("xllamacpp or the demo weights are missing: bash tests/servers/setup_llamacpp.sh")
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url, key = process.stdout.readline().split()
        yield url, key
        process.stdin.close()


async def test_json_and_sse_give_the_same_run(server: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "price.txt").write_text("19.5\n")
    url, key = server
    runs: list[tuple[str, list[tuple[str, str]]]] = []
    for streaming in (True, False):
        agent = Agent(server=url, api_key=key, tools=core_tools(), workspace=tmp_path, streaming=streaming)
        result = await agent.run("Read price.txt. It holds a number; multiply it by 3.")
        assert "58.5" in result.output
        replies = [message for message in result.messages if isinstance(message, AssistantMessage)]
        runs.append((result.output, [(call.name, call.arguments) for reply in replies for call in reply.tool_calls]))
    assert runs[0] == runs[1]
    assert [name for name, _ in runs[0][1]] == ["read_file", "calculator"]


def test_the_command_runs_a_task_on_it(server: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "price.txt").write_text("19.5\n")
    url, key = server
    done = subprocess.run(
        [sys.executable, "-m", "qianda", "run", "--server", url, "--yes", "Read price.txt. Multiply its number by 3."],
        cwd=tmp_path,
        env={**os.environ, "QIANDA_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "58.5" in done.stdout
