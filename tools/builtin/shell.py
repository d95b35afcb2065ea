"""The built-in tool ``run_command``: a shell command in the workspace, in the folder where the last one ended."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from qianda.models.errors import ToolError
from qianda.tools.builtin.background import jobs_of
from qianda.tools.builtin.output import Output
from qianda.tools.builtin.processes import Child, ended, finish_reading, run_child
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.function_tool import tool
from qianda.tools.remembered import remembered
from qianda.tools.results import ToolResult
from qianda.tools.workspace import is_inside, resolve, shown

_LONGEST_OUTPUT = 1_000_000  # characters that are kept; what the model does not get at once it reads by page
_LONGEST_PROGRESS = 200_000  # characters of output shown while it runs
_SIGN_OF_LIFE, _SIGN_EVERY = 500, 1.0  # characters of what comes behind them, and after how many seconds
_LONGEST_RUN = 600
_FIRST_WORDS = 1.0  # seconds in which a command in the background may fail or say that it is ready
_GRACE = 1.0  # seconds between asking a process to end and ending it
_CHUNK = 65_536


@tool(
    consent=False,
    parallel=False,
    destructive=True,
    origin="built-in",
    timeout=_LONGEST_RUN + 30,
    effects=lambda given: Effects(command=given["command"], keeps_folder=True),
)
async def run_command(
    command: str,
    context: Context,
    timeout: int = 120,  # noqa: ASYNC109 - the model's
    background: bool = False,
) -> ToolResult:
    """Run a shell command where the last one ended; returns its output and exit code.

    Args:
        command: e.g. python test.py
        context: says where the workspace is and shows the output as it comes
        timeout: seconds, at most 600
        background: do not wait; see jobs
    """
    if not command.strip():
        raise ToolError("the command is empty")
    shell = shutil.which("bash") or "/bin/sh"
    memory, sandbox = remembered(context.closing), context.sandbox
    folder = resolve(context.workspace, memory.folder)
    if memory.folder and not folder.is_dir():
        memory.folder, folder = "", resolve(context.workspace, ".")
    if sandbox is not None and (warning := sandbox.warn()):
        context.notice(warning)
    try:
        if background:
            return await _start(command, [shell, "-c", command], folder, context)
        seconds = min(max(timeout, 1), _LONGEST_RUN)
        output = Output(_LONGEST_OUTPUT)
        with _folder_pipe() as (read_end, write_end):
            line = f"trap '{{ pwd -P > /dev/fd/{write_end}; }} 2>/dev/null' EXIT; {command}"
            child_of = run_child([shell, "-c", line], folder=folder, sandbox=sandbox, pipes=(write_end,))
            async with child_of as child:
                end = await _run(child, output, context, seconds)
            memory.folder, left = _folder(context.workspace, memory.folder, read_end)
    except (OSError, ValueError) as error:
        raise ToolError(f"the command cannot be started: {error}") from None
    text = output.text().rstrip("\n") or "(no output)"
    failed = not end.startswith("exit code 0")
    if failed and sandbox is not None and (reason := sandbox.explain(text)):
        text += f"\n{reason}"
    where = f", in {memory.folder}" if memory.folder and context.closing is not None else ""
    if output.missing:
        where += f"; {output.total:,} characters were printed, {output.missing:,} in the middle are lost"
    return ToolResult(f"{text}\n[{end}{where}{left}]", failed=failed)


async def _start(command: str, line: list[str], folder: Path, context: Context) -> ToolResult:
    """Start a command in the background, and look how it begins."""
    job = await jobs_of(context).start(command, line, folder, context.sandbox)
    await job.settle(_FIRST_WORDS)
    text = await job.news(0)
    failed = bool(job.end) and not job.end.startswith("exit code 0")
    return ToolResult(f"{text or '(no output yet)'}\n[job {job.number}: {job.state}]", failed=failed)


@contextmanager
def _folder_pipe() -> Generator[tuple[int, int]]:
    """A pipe by which a shell says where it ended; its output is the command's own."""
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    try:
        yield read_end, write_end
    finally:
        os.close(read_end)
        os.close(write_end)


def _folder(workspace: Path, before: str, read_end: int) -> tuple[str, str]:
    """Where the next command runs, and what to say when that is not where this one ended."""
    said = b""
    with suppress(BlockingIOError):
        said = os.read(read_end, 65_536)
    if not said:  # it was killed, or became another program
        return before, ""
    folder = Path(os.fsdecode(said.removesuffix(b"\n")))
    if not is_inside(workspace, folder) or not folder.is_dir():
        return "", "; the next command runs in the workspace again"
    name = shown(workspace, Path(os.path.realpath(folder)))
    return ("" if name == "." else name), ""


async def _run(child: Child, output: Output, context: Context, seconds: int) -> str:
    """Read along until the command has ended or its time is over; how it ended."""

    async def read() -> None:
        left, told = _LONGEST_PROGRESS, 0.0
        while chunk := await child.output.read(_CHUNK):
            text = output.add(chunk)
            now = time.monotonic()
            if text and (left > 0 or now - told > _SIGN_EVERY):  # of what prints without end, a sign of life
                context.progress(text if left > 0 else text[-_SIGN_OF_LIFE:])
                told = now
            left -= len(text)
        output.add(b"", final=True)

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(seconds):
            await child.process.wait()
    except TimeoutError:
        await child.stop(_GRACE)
        return f"stopped: it did not finish within {seconds} s"
    finally:
        # What the command left in the background would go on unseen, and hold the pipe open.
        left_behind = child.kill() and context.sandbox is None  # a sandbox says so itself
        await finish_reading(reading)
    end = ended(child.process.returncode or 0)
    return f"{end}; what it left in the background was stopped" if left_behind else end
