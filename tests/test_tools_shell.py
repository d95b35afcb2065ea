"""run_command: output, exit codes, time limits, and that nothing goes on running."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.tools import Context, ToolResult, run_command
from qianda.tools.builtin.output import Output
from qianda.tools.secrets import clean_environment


async def call(workspace: Path, command: str, context: Context | None = None, **arguments: Any) -> ToolResult:
    text = json.dumps({"command": command, **arguments})
    return await run_command.call(run_command.read_arguments(text), context or Context(workspace=workspace))


def gone(pid: int) -> bool:
    """Whether a process has ended; waits a while for one that is just ending."""
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout
        if not state.strip() or state.startswith("Z"):
            return True
    return False


async def test_output_and_exit_code(tmp_path: Path) -> None:
    assert await call(tmp_path, "echo 你好; echo oops >&2") == ToolResult("你好\noops\n[exit code 0]")
    assert await call(tmp_path, "echo no; exit 3") == ToolResult("no\n[exit code 3]", failed=True)
    assert await call(tmp_path, "true") == ToolResult("(no output)\n[exit code 0]")
    result = await call(tmp_path, "kill -9 $$")
    assert result == ToolResult("(no output)\n[killed by signal 9 (SIGKILL)]", failed=True)


async def test_it_runs_in_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "ordner").mkdir()
    result = await call(tmp_path, "pwd; touch x", Context(workspace=tmp_path / "ordner"))
    assert str(result.content).splitlines()[0] == str(tmp_path / "ordner")
    assert (tmp_path / "ordner/x").exists()


async def test_standard_input_is_closed(tmp_path: Path) -> None:
    ours = os.dup(0)
    read_end, write_end = os.pipe()
    os.dup2(read_end, 0)  # a terminal, say: reading from it would wait
    try:
        result = await call(tmp_path, "cat; read x || echo nothing", timeout=5)
    finally:
        os.dup2(ours, 0)
        for end in (ours, read_end, write_end):
            os.close(end)
    assert result.content == "nothing\n[exit code 0]"


async def test_secrets_do_not_reach_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GITHUB_TOKEN", "MY_SECRET", "PGPASSWORD", "aws_credentials", "PLAIN_VALUE"):
        monkeypatch.setenv(name, "42")
    text = str((await call(tmp_path, "env")).content)
    assert "PLAIN_VALUE=42" in text
    assert text.count("=42") == 1
    assert clean_environment({"PATH": "/bin", "X_API_KEY": "1"})["PATH"] == "/bin"


async def test_control_sequences_are_taken_out(tmp_path: Path) -> None:
    assert (await call(tmp_path, r"printf '\033[31mred\033[0m\033]0;title\007'")).content == "red\n[exit code 0]"


async def test_progress_comes_while_it_runs(tmp_path: Path) -> None:
    seen = asyncio.Event()
    pieces: list[str] = []

    def progress(text: str) -> None:
        pieces.append(text)
        (tmp_path / "seen").touch()
        seen.set()

    # The command ends only when its first output was shown.
    command = "echo one; until [ -e seen ]; do sleep 0.01; done; echo two"
    async with asyncio.timeout(20):
        result = await call(tmp_path, command, Context(workspace=tmp_path, progress=progress))
    assert seen.is_set()
    assert "".join(pieces) == "one\ntwo\n"
    assert result.content == "one\ntwo\n[exit code 0]"


async def test_a_timeout_ends_the_whole_tree(tmp_path: Path) -> None:
    command = (
        "(trap '' TERM; echo $BASHPID > a; sleep 100) & setsid bash -c 'echo $$ > b; sleep 100' & echo begun; wait"
    )
    async with asyncio.timeout(30):
        result = await call(tmp_path, command, timeout=1)
    assert result == ToolResult("begun\n[stopped: it did not finish within 1 s]", failed=True)
    for name in "ab":
        assert gone(int((tmp_path / name).read_text()))


async def test_cancelling_ends_the_whole_tree(tmp_path: Path) -> None:
    begun = asyncio.Event()
    context = Context(workspace=tmp_path, progress=lambda _: begun.set())
    command = "sleep 100 & echo $! > a; setsid sleep 100 & echo $! > b; echo begun; wait"
    task = asyncio.create_task(call(tmp_path, command, context))
    async with asyncio.timeout(30):
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    for name in "ab":
        assert gone(int((tmp_path / name).read_text()))


async def test_what_is_left_in_the_background_is_stopped_and_told(tmp_path: Path) -> None:
    async with asyncio.timeout(30):
        result = await call(tmp_path, "sleep 100 & echo $! > a; echo done")
    assert result == ToolResult("done\n[exit code 0; what it left in the background was stopped]")
    assert gone(int((tmp_path / "a").read_text()))


async def test_much_output_neither_stalls_nor_fills_the_memory(tmp_path: Path) -> None:
    shown = 0

    def progress(text: str) -> None:
        nonlocal shown
        shown += len(text)

    tracemalloc.start()
    async with asyncio.timeout(50):
        result = await call(
            tmp_path,
            "echo first; head -c 50000000 /dev/zero | tr '\\0' a; echo; echo last",
            Context(workspace=tmp_path, progress=progress),
        )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    text = str(result.content)
    assert text.startswith("first\na")
    assert text.endswith(
        "a\nlast\n[exit code 0; 50,000,012 characters were printed, 49,000,012 in the middle are lost]"
    )
    assert len(text) < 20_500
    assert shown < 400_000
    assert peak < 10_000_000


async def test_of_what_prints_on_and_on_a_little_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["qianda.tools.builtin.shell"], "_LONGEST_PROGRESS", 5)
    monkeypatch.setattr(sys.modules["qianda.tools.builtin.shell"], "_SIGN_OF_LIFE", 2)
    told: list[str] = []
    go, command = tmp_path / "go", "printf 12345; read x < go; printf 6789"
    os.mkfifo(go)

    def progress(text: str) -> None:
        told.append(text)
        if len(told) == 1:
            go.write_text("\n")

    for seconds in (1000.0, 0.0):
        monkeypatch.setattr(sys.modules["qianda.tools.builtin.shell"], "_SIGN_EVERY", seconds)
        async with asyncio.timeout(30):
            await call(tmp_path, command, Context(workspace=tmp_path, progress=progress))
        assert told == (["12345"] if seconds else ["12345", "89"])
        told.clear()


async def test_bad_commands(tmp_path: Path) -> None:
    assert await call(tmp_path, "  ") == ToolResult("the command is empty", failed=True)
    result = await run_command.call({"command": "echo a\0b"}, Context(workspace=tmp_path))
    assert result.failed
    assert "cannot be started" in str(result.content)
    gone_folder = await call(tmp_path, "ls", Context(workspace=tmp_path / "gone"))
    assert gone_folder.failed
    assert "cannot be started" in str(gone_folder.content)


@given(st.text(max_size=60), st.lists(st.integers(0, 200)), st.integers(2, 40))
def test_output_is_the_same_however_it_is_cut(text: str, cuts: list[int], limit: int) -> None:
    content = text.encode("utf-8", "replace")
    whole, pieces = Output(limit), Output(limit)
    whole.add(content, final=True)
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    if "\x1b" in text:
        return  # sequences that are cut in two are for the screen to clean
    for start, end in pairwise(places):
        pieces.add(content[start:end])
    pieces.add(b"", final=True)
    assert pieces.text() == whole.text()
