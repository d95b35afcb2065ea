"""Our tools and agents as tools of Qwen-Agent."""

from __future__ import annotations

import asyncio
import atexit
import json
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import cache
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from qianda.models.errors import ConfigurationError, QiandaError, ToolError
from qianda.models.messages import MediaPart
from qianda.models.qwen_agent import load_qwen_agent
from qianda.tools.context import Context
from qianda.tools.function_tool import tool as make_tool
from qianda.tools.permissions import PermissionMode, Permissions, Rules
from qianda.tools.results import ToolResult, to_result
from qianda.tools.sandbox import Sandbox
from qianda.tools.tool import Tool

T = TypeVar("T")
_CLOSING_SECONDS = 10.0


class Answers(Protocol):
    """An agent: what it answers to a prompt is the ``output`` of what ``run`` gives."""

    async def run(self, prompt: str, /) -> Any:
        """Run until there is an answer."""
        ...


def as_qwen_agent(
    ours: Tool | Answers,
    *,
    name: str | None = None,
    description: str | None = None,
    context: Context | None = None,
    permissions: PermissionMode | Rules = "ask",
) -> Any:
    """A tool or an agent of ours as a ``BaseTool``: ``Assistant(function_list=[as_qwen_agent(weather)])``.

    It may be called from any thread: the work is done on an event loop in a thread of its own. What goes wrong is one
    sentence for the model, without a traceback.

    Args:
        ours: a tool, or an agent, whose one parameter is then the prompt.
        name: what the model calls it; needed for an agent.
        description: what the model is told; needed for an agent.
        context: what the tool gets: its workspace, where progress goes …
        permissions: what tools that nobody consented to may do. Nobody can be asked there: where the permissions would
            ask, the call is denied. An agent has permissions of its own.

    Raises:
        ConfigurationError: an agent without a name and a description, or Qwen-Agent cannot be imported.
    """
    tool = ours if isinstance(ours, Tool) else _agent_tool(ours, name, description)
    context = context or Context()
    if context.sandbox is None:
        context = replace(context, sandbox=Sandbox.of("auto", context.workspace))
    judge = Permissions(permissions, workspace=context.workspace)
    base = load_qwen_agent("qwen_agent.tools.base").BaseTool
    full = tool.schema.parameters
    # Exactly these three keys: Qwen-Agent refuses others.
    schema = {"type": "object", "properties": full.get("properties", {}), "required": full.get("required", [])}

    def call(_self: Any, params: str | dict[str, Any], **_more: Any) -> Any:
        text = params if isinstance(params, str) else json.dumps(params, ensure_ascii=False)
        return _items(_bridge().run(_call(tool, text, context, judge)))

    theirs: dict[str, Any] = {
        "__doc__": f"{tool.name}, a tool of Qianda.",
        "name": name or tool.name,
        "description": description or tool.schema.description,
        "parameters": schema,
        "call": call,
    }
    return type("QiandaTool", (base,), theirs)()


def _agent_tool(agent: Answers, name: str | None, description: str | None) -> Tool:
    if not callable(getattr(agent, "run", None)):
        raise ConfigurationError(f"{agent!r} is neither a tool nor an agent", cure="Make a function a tool with @tool")
    if not (name and description):
        raise ConfigurationError(
            "An agent needs a name and a description to be a tool", cure="Give name= and description="
        )

    async def ask(prompt: str) -> Any:
        return to_result((await agent.run(prompt)).output)

    # An agent has limits of its own.
    return make_tool(name=name, description=description, timeout=float("inf"))(ask)


async def _call(tool: Tool, text: str, context: Context, judge: Permissions) -> ToolResult:
    """Run one call as an agent of ours would; what is wrong is a result that says so."""
    try:
        arguments = tool.read_arguments(text)
        verdict = judge.judge(tool, arguments)
    except ToolError as error:
        return ToolResult(str(error), failed=True)
    if verdict.action != "allow":
        cure = "" if verdict.action == "deny" else '; nobody can be asked here: as_qwen_agent(…, permissions="auto")'
        return ToolResult(f"Denied: {verdict.reason}{cure}", failed=True)
    call_id = uuid4().hex
    inside = replace(context, call_id=call_id, idempotency_key=call_id, closing=context.closing or _bridge().closing)
    return await tool.call(arguments, inside)


def _items(result: ToolResult) -> Any:
    """A result as Qwen-Agent takes it: text, or content items."""
    if isinstance(result.content, str):
        return result.content
    item = load_qwen_agent("qwen_agent.llm.schema").ContentItem
    items: list[Any] = []
    for part in result.content:
        if not isinstance(part, MediaPart):
            items.append(item(text=part.text))
        else:
            items.append(item(**{part.type: list(part.frames) or part.url}))
    return items


class _Bridge:
    """An event loop in a daemon thread, for callers that have none.

    Attributes:
        closing: what tools keep open between calls; closed when the program ends.
    """

    def __init__(self) -> None:
        self.closing = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qianda tools", daemon=True)
        self._thread.start()
        atexit.register(self._close)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for it."""
        if threading.current_thread() is self._thread:
            work.close()
            raise QiandaError("A tool was called on the event loop that tools run on", cure="Call it in a thread")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _close(self) -> None:
        closing = asyncio.run_coroutine_threadsafe(self.closing.aclose(), self._loop)
        try:
            closing.result(_CLOSING_SECONDS)
        except Exception:
            closing.cancel()
        self._loop.call_soon_threadsafe(self._loop.stop)


@cache
def _bridge() -> _Bridge:
    return _Bridge()
