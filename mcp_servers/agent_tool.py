"""A whole agent as one tool: its run is told as progress and log messages, its questions go to the caller's user."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any
from weakref import WeakSet

import orjson

from qianda.agents.as_tool import AgentAsTool
from qianda.agents.result import RunResult
from qianda.agents.run import Run
from qianda.mcp_servers.rounds import Call
from qianda.models.errors import LimitReached, QiandaError, ToolError
from qianda.models.events import (
    ApprovalAsked,
    ArgumentsDelta,
    CallDenied,
    CallFailed,
    CallFinished,
    CallProgress,
    CallStarted,
    Event,
    Notice,
    QuestionAsked,
    Retrying,
    TextDelta,
    ThinkingDelta,
)
from qianda.tools.context import Context
from qianda.tools.permissions import Decision
from qianda.tools.results import ToolResult
from qianda.tools.secrets import redact

LOGGER = "qianda.run"
"""The logger of the messages that carry a run's events, each as its JSON."""
_LONGEST = 200  # characters of a line of progress
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "decision": {"type": "string", "title": "Decision", "enum": ["allow", "allow in this run", "deny"]},
        "reason": {"type": "string", "title": "Why not, for the agent"},
    },
    "required": ["decision"],
}
OUTPUT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "output": {"description": "The answer: text, or the value that the agent was made to give"},
        "finish": {"enum": ["done", "length", "limit", "cancelled"]},
        "usage": {"type": "object", "description": "Tokens and model requests"},
        "run_id": {"type": "string"},
    },
    "required": ["output", "finish", "usage", "run_id"],
}
"""JSON Schema of the structured content."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AgentTool(AgentAsTool):
    """An agent that a caller gives a task, as the tool ``ask_NAME``; its permissions ask the caller's user."""

    idempotent: bool = False  # a repeated call is a new run
    max_output: int = 1_000_000
    _held: WeakSet[object] = field(default_factory=WeakSet[object])

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Run the agent; a call that is cancelled stops it.

        Raises:
            ToolError: it failed.
        """
        await self._hold(context)
        try:
            async with self.agent.stream(arguments["task"]) as run:
                async for event in run:
                    await _tell(event, context)
                    await _put(event, run, context)
                result, problem = await run.wait(), ""
        except LimitReached as error:
            if error.result is None:
                raise ToolError(str(error)) from error
            result, problem = error.result, str(error)
        except QiandaError as error:
            raise ToolError(str(error)) from error
        structured = _structured(result)
        if isinstance(context.value, Call):
            context.value.structured = structured
        output = structured["output"]
        text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
        return ToolResult("\n".join(filter(None, [text, problem])), failed=bool(problem))

    async def _hold(self, context: Context) -> None:
        """Keep the agent's connections open until the server ends."""
        if context.closing is None or context.closing in self._held:
            return
        self._held.add(context.closing)
        try:
            await self.agent.__aenter__()
        except BaseException:
            self._held.discard(context.closing)
            raise
        context.closing.push_async_exit(self.agent.__aexit__)


def _structured(result: RunResult[Any]) -> dict[str, Any]:
    from pydantic_core import to_jsonable_python

    output = result.output
    return {
        "output": redact(output) if isinstance(output, str) else to_jsonable_python(output),
        "finish": result.finish,
        "usage": asdict(result.usage),
        "run_id": result.run_id,
    }


async def _tell(event: Event, context: Context) -> None:
    """Give an event to who watches: a line of progress, and the whole of it as a log message."""
    if line := _line(event):
        context.progress(line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…")
    if isinstance(context.value, Call):
        small = isinstance(event, TextDelta | ThinkingDelta | ArgumentsDelta | CallProgress)
        await context.value.log("debug" if small else "info", orjson.loads(orjson.dumps(event)), LOGGER)


def _line(event: Event) -> str:
    if isinstance(event, CallStarted):
        return f"{event.name} {' '.join(event.arguments.split())}"
    if isinstance(event, CallFinished):
        return f"{event.name}: done"
    if isinstance(event, CallFailed):
        return f"{event.name} failed: {event.error}"
    if isinstance(event, CallDenied):
        return f"{event.name} denied: {event.reason}"
    if isinstance(event, Retrying):
        return f"asking the model again: {event.cause}"
    return event.text if isinstance(event, Notice) else ""


async def _put(event: Event, run: Run[Any], context: Context) -> None:
    """Put an open question to the caller's user; where nobody can be asked, it stays open, which counts as denied."""
    try:
        if isinstance(event, ApprovalAsked):
            about = f"May {event.name} run?\n{event.arguments}\n({event.reason})"
            run.answer(event.request_id, _decision(await context.ask(about, schema=_FORM)))
        elif isinstance(event, QuestionAsked):
            if event.schema is None:
                run.answer(event.request_id, await context.ask(event.question, event.options))
            else:
                run.answer(event.request_id, await context.ask(event.question, schema=event.schema))
    except ToolError:
        return


def _decision(form: dict[str, Any] | None) -> Decision:
    if form is None or form["decision"] == "deny":
        return Decision.deny(str((form or {}).get("reason") or ""))
    return Decision.allow("session" if form["decision"] == "allow in this run" else "once")
