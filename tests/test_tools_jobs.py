"""run_command from call to call: its folder, its jobs in the background, and what breaks away from it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools import ApprovalRequest, Context, Decision, Tool, ToolResult, jobs, run_command
from qianda.tools.builtin import background

DAEMON = """
import os, sys, time
for _ in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
for stream in (0, 1, 2):
    os.close(stream)
with open("daemon.part", "w") as file:
    file.write(str(os.getpid()))
os.rename("daemon.part", "daemon")
os.read(os.pipe()[0], 1)
"""


@dataclass
class Conversation:
    """Calls that share what is kept between them."""

    workspace: Path
    closing: AsyncExitStack | None

    async def __call__(self, tool: Tool, **arguments: Any) -> ToolResult:
        context = Context(workspace=self.workspace, closing=self.closing)
        return await tool.call(tool.read_arguments(json.dumps(arguments)), context)

    async def shell(self, command: str, **arguments: Any) -> str:
        return str((await self(run_command, command=command, **arguments)).content)


@pytest.fixture
async def conversation(tmp_path: Path) -> AsyncIterator[Conversation]:
    (tmp_path / "src/deep er").mkdir(parents=True)
    async with AsyncExitStack() as closing, asyncio.timeout(50):
        yield Conversation(tmp_path, closing)


def gone(pid: int) -> bool:
    """Whether a process has ended; waits a while for one that is just ending."""
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
    return False


# The folder


async def test_a_change_of_folder_lasts(conversation: Conversation) -> None:
    assert await conversation.shell("cd src; echo 1") == "1\n[exit code 0, in src]"
    assert await conversation.shell("cd 'deep er' && false") == "(no output)\n[exit code 1, in src/deep er]"
    assert await conversation.shell('basename "$PWD"; exit 3') == "deep er\n[exit code 3, in src/deep er]"
    assert await conversation.shell("(cd ..); kill -9 $$") == (
        "(no output)\n[killed by signal 9 (SIGKILL), in src/deep er]"
    )
    assert await conversation.shell("cd ../..; trap 'echo mine' EXIT") == "mine\n[exit code 0, in src/deep er]"
    assert await conversation.shell("cd ../..") == "(no output)\n[exit code 0]"
    alone = Conversation(conversation.workspace, None)
    assert await alone.shell("cd src") == "(no output)\n[exit code 0]"  # which no other call knows of
    assert await alone.shell("pwd") == f"{conversation.workspace}\n[exit code 0]"


async def test_a_folder_outside_or_gone_is_left(conversation: Conversation) -> None:
    said = "(no output)\n[exit code 0; the next command runs in the workspace again]"
    assert await conversation.shell("cd /") == said
    assert await conversation.shell("pwd") == f"{conversation.workspace}\n[exit code 0]"
    assert await conversation.shell("mkdir new; cd new; rmdir ../new") == "(no output)\n[exit code 0]"
    await conversation.shell("mkdir new; cd new")
    (conversation.workspace / "new").rmdir()
    assert await conversation.shell("pwd") == f"{conversation.workspace}\n[exit code 0]"
    (conversation.workspace / "out").symlink_to("/")
    assert await conversation.shell("cd out") == said


async def test_line_numbers_of_errors_are_the_command_s_own(conversation: Conversation) -> None:
    assert "line 2: nosuch: command not found" in await conversation.shell("true\nnosuch")


async def test_a_command_is_judged_and_shown_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    asked: list[ApprovalRequest] = []

    async def approve(request: ApprovalRequest) -> Decision:
        asked.append(request)
        return Decision.allow("session")

    commands = ["touch a", "touch a", "cd src", "touch a", "ls"]
    turns = [Turn(calls=[Call("run_command", {"command": command})]) for command in commands]
    async with ScriptedServer(*turns, "done") as server:
        agent = Agent(server=server.url, tools=[run_command], approve=approve, workspace=tmp_path, sandbox="off")
        await agent.run("go")
    assert [request.arguments for request in asked] == [
        {"command": "touch a"},
        {"command": "touch a", "folder": "src"},
    ]
    assert "`touch a`" in asked[1].reason
    assert (tmp_path / "src/a").exists()


# Jobs


async def test_a_job_goes_on_until_it_is_stopped(conversation: Conversation) -> None:
    begun = await conversation.shell(
        "echo $$ > pid; mkfifo go; echo ready; cat go; echo $((6*7)); tail -f pid", background=True
    )
    assert begun.startswith("ready\n[job 1: running for")
    pid = int((conversation.workspace / "pid").read_text())
    await conversation.shell("echo more > go")
    text = str((await conversation(jobs, job=1)).content)
    while "42" not in text:
        text += str((await conversation(jobs, job=1)).content)
    assert "more\n" in text
    assert "ready" not in text
    assert "job 1: echo $$" in str((await conversation(jobs)).content)
    assert str((await conversation(jobs, job=1, stop=True)).content).endswith("\n[job 1: stopped]")
    assert gone(pid)
    assert "[stopped]" in str((await conversation(jobs)).content)


async def test_a_job_that_ends_says_how(conversation: Conversation) -> None:
    result = await conversation(run_command, command="echo no; exit 3", background=True)
    assert result == ToolResult("no\n[job 1: exit code 3]", failed=True)
    assert (await conversation(jobs, job=1)).content == "(no new output)\n[job 1: exit code 3]"


async def test_jobs_end_with_the_conversation(tmp_path: Path) -> None:
    async with AsyncExitStack() as closing:
        conversation = Conversation(tmp_path, closing)
        command = "setsid bash -c 'echo $$ > b; tail -f b' & echo $$ > a; wait"
        await conversation.shell(command, background=True)
        await conversation.shell("until [ -s b ]; do :; done")
    assert gone(int((tmp_path / "a").read_text()))
    assert gone(int((tmp_path / "b").read_text()))


async def test_jobs_that_are_none(conversation: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await conversation(jobs)).content == "there are no jobs"
    assert (await conversation(jobs, job=3)) == ToolResult("there is no job 3", failed=True)
    monkeypatch.setattr(background, "_MOST_RUNNING", 1)
    await conversation.shell("tail -f /dev/null", background=True)
    assert "stop one with jobs first" in await conversation.shell("true", background=True)
    assert (await conversation(jobs, job=3)).content == "there is no job 3; there are 1"
    alone = Conversation(conversation.workspace, None)
    assert "there is no conversation" in await alone.shell("true", background=True)


async def test_a_silent_job_is_waited_for_a_while(conversation: Conversation, monkeypatch: pytest.MonkeyPatch) -> None:
    await conversation.shell("tail -f /dev/null", background=True)
    monkeypatch.setattr(background, "_NEWS_SECONDS", 0.01)
    assert "(no new output)\n[job 1: running for" in str((await conversation(jobs, job=1)).content)


# What breaks away


@pytest.mark.skipif(sys.platform != "linux", reason="found through /proc")
async def test_a_daemon_ends_with_its_command(conversation: Conversation) -> None:
    (conversation.workspace / "daemon.py").write_text(DAEMON)
    said = await conversation.shell(f"{sys.executable} daemon.py; until [ -e daemon ]; do :; done; echo ok")
    assert said == "ok\n[exit code 0; what it left in the background was stopped]"
    pid = int((conversation.workspace / "daemon").read_text())
    assert gone(pid)
