"""The built-in tool ``python``: code runs in an interpreter that keeps its variables from call to call."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from qianda.models.errors import ToolError
from qianda.models.messages import TextPart
from qianda.tools.builtin.kernel import Kernel, Outcome
from qianda.tools.context import Context
from qianda.tools.function_tool import tool
from qianda.tools.results import ToolResult
from qianda.tools.workspace import resolve

_LONGEST_RUN = 600


@dataclass(slots=True)
class _Place:
    """A conversation's interpreter, once there is one; one call at a time uses it."""

    kernel: Kernel | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


_places: WeakKeyDictionary[AsyncExitStack, _Place] = WeakKeyDictionary()  # by what closes them with the conversation


@tool(name="python", consent=False, parallel=False, origin="built-in", timeout=_LONGEST_RUN + 90, max_output=20_500)
async def run_python(code: str, context: Context, timeout: int = 60) -> ToolResult:  # noqa: ASYNC109 - the model's
    """Run Python code; variables stay for the next call. Shows prints, the last expression and plots.

    Args:
        code: Python code
        context: says where the workspace is and shows the output as it comes
        timeout: seconds, at most 600
    """
    if not code.strip():
        raise ToolError("the code is empty")
    seconds = min(max(timeout, 1), _LONGEST_RUN)
    if context.closing is None:
        async with AsyncExitStack() as alone:
            kernel = await _start(context, alone)
            return _result(await kernel.execute(code, seconds, context.progress), seconds, context)
    place = _places.setdefault(context.closing, _Place())
    async with place.lock:
        if place.kernel is None or not place.kernel.alive:
            place.kernel = await _start(context, context.closing)
        outcome = await place.kernel.execute(code, seconds, context.progress)
        if outcome.end == "lost":
            await place.kernel.close()
            place.kernel = None
    return _result(outcome, seconds, context)


async def _start(context: Context, closing: AsyncExitStack) -> Kernel:
    kernel = await Kernel.start(resolve(context.workspace, "."), context.sandbox)
    if context.sandbox is not None and (warning := context.sandbox.warn()):
        context.notice(warning)
    closing.push_async_callback(kernel.close)
    return kernel


def _result(outcome: Outcome, seconds: float, context: Context) -> ToolResult:
    """What the model reads and sees."""
    text = outcome.text or ("" if outcome.end != "done" else "(no output; print what you want to see)")
    if outcome.end == "stopped":
        text += f"\n[stopped: it did not finish within {seconds:g} s; the variables are kept]"
    elif outcome.end == "lost":
        text += f"\n[the interpreter is gone: {outcome.why}; the next call starts a new one, without the variables]"
    elif outcome.end == "error" and context.sandbox is not None:
        text += f"\n{context.sandbox.explain(text)}"
    text = text.strip("\n")
    content = (TextPart(text), *outcome.images) if outcome.images else text
    return ToolResult(content, failed=outcome.end != "done")
