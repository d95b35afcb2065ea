"""run_command from call to call inside a real sandbox: its folder, its jobs, its daemons."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from qianda.tools import Context, jobs, run_command
from qianda.tools.sandbox import Sandbox

pytestmark = pytest.mark.sandbox


@pytest.fixture
async def context(tmp_path: Path) -> AsyncIterator[Context]:
    async with AsyncExitStack() as closing, asyncio.timeout(50):
        yield Context(workspace=tmp_path, closing=closing, sandbox=Sandbox(workspace=tmp_path))


async def shell(context: Context, command: str, *, background: bool = False) -> str:
    return str((await run_command.call({"command": command, "background": background}, context)).content)


def holders(path: Path) -> list[int]:
    """The processes that have a file open."""
    found: list[int] = []
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == str(path):  # noqa: PTH115 - of a link that is no path
                found.append(int(link.parts[2]))
        except OSError:
            continue
    return found


async def test_the_folder_stays(context: Context) -> None:
    assert await shell(context, "mkdir src; cd src; echo 1 > a") == "(no output)\n[exit code 0, in src]"
    assert await shell(context, "cat a; cd /tmp") == "1\n[exit code 0; the next command runs in the workspace again]"
    assert await shell(context, "cat src/a") == "1\n[exit code 0]"


@pytest.mark.skipif(sys.platform != "linux", reason="looked for in /proc")
async def test_jobs_and_their_daemons_are_ended(context: Context, tmp_path: Path) -> None:
    command = "exec 5> held; (setsid sleep 1000 &); echo up; sleep 1000"
    assert (await shell(context, command, background=True)).startswith("up\n[job 1: running")
    assert holders(tmp_path / "held")
    stopped = await jobs.call({"job": 1, "stop": True}, context)
    assert str(stopped.content).endswith("[job 1: stopped]")
    ends = time.monotonic() + 20
    while holders(tmp_path / "held") and time.monotonic() < ends:
        pass  # they are just ending
    assert holders(tmp_path / "held") == []
