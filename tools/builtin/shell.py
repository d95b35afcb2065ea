"""The built-in tool ``run_command``: a shell command in the workspace."""

from __future__ import annotations

import asyncio
import shutil
import signal

from qianda.models.errors import ToolError
from qianda.tools.builtin.output import Output
from qianda.tools.builtin.processes import Child, finish_reading, run_child
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.function_tool import tool
from qianda.tools.results import ToolResult
from qianda.tools.workspace import resolve

_LONGEST_OUTPUT = 20_000
_LONGEST_PROGRESS = 200_000  # characters of output shown while it runs
_LONGEST_RUN = 600
_GRACE = 1.0  # seconds between asking a process to end and ending it
_CHUNK = 65_536


@tool(
    consent=False,
    parallel=False,
    origin="built-in",
    timeout=_LONGEST_RUN + 30,
    max_output=_LONGEST_OUTPUT + 500,
    effects=lambda given: Effects(command=given["command"]),
)
async def run_command(command: str, context: Context, timeout: int = 120) -> ToolResult:  # noqa: ASYNC109 - the model's
    """Run a shell command in the workspace; returns its output and exit code.

    Args:
        command: e.g. python test.py
        context: says where the workspace is and shows the output as it comes
        timeout: seconds, at most 600
    """
    if not command.strip():
        raise ToolError("the command is empty")
    seconds = min(max(timeout, 1), _LONGEST_RUN)
    shell = shutil.which("bash") or "/bin/sh"
    output = Output(_LONGEST_OUTPUT)
    try:
        folder, sandbox = resolve(context.workspace, "."), context.sandbox
        async with run_child([shell, "-c", command], folder=folder, sandbox=sandbox) as child:
            if sandbox is not None and (warning := sandbox.warn()):
                context.notice(warning)
            end = await _run(child, output, context, seconds)
    except (OSError, ValueError) as error:
        raise ToolError(f"the command cannot be started: {error}") from None
    text = output.text().rstrip("\n") or "(no output)"
    failed = not end.startswith("exit code 0")
    if failed and sandbox is not None and (reason := sandbox.explain(text)):
        text += f"\n{reason}"
    return ToolResult(f"{text}\n[{end}]", failed=failed)


async def _run(child: Child, output: Output, context: Context, seconds: int) -> str:
    """Read along until the command has ended or its time is over; how it ended."""

    async def read() -> None:
        shown = 0
        while chunk := await child.output.read(_CHUNK):
            text = output.add(chunk)
            if text and shown < _LONGEST_PROGRESS:
                context.progress(text)
            shown += len(text)
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
    code = child.process.returncode or 0
    end = f"exit code {code}" if code >= 0 else f"killed by signal {-code} ({signal.Signals(-code).name})"
    return f"{end}; what it left in the background was stopped" if left_behind else end
