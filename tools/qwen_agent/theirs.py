"""A tool of Qwen-Agent as one of ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from qianda.models.errors import ConfigurationError
from qianda.models.messages import MediaPart, Part, TextPart, ToolSchema
from qianda.models.qwen_agent import load_qwen_agent
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.json_schema import compact, normalised
from qianda.tools.results import ToolResult, to_result
from qianda.tools.threads import run_in_thread
from qianda.tools.tool import DEFAULT_MAX_OUTPUT, DEFAULT_TIMEOUT, Tool
from qianda.tools.validation import parse_arguments

_PATHS = ("/", "~", "./", "../", "file://")


@dataclass(frozen=True, kw_only=True, eq=False)
class QwenAgentTool(Tool):
    """A tool of Qwen-Agent; make one with ``qwen_agent_tool``.

    Args:
        theirs: the ``BaseTool``.
        model_schema: name, description and parameters as the model sees them.
    """

    theirs: Any
    model_schema: ToolSchema

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters as the model sees them."""
        return self.model_schema

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse and coerce the arguments that the model wrote; the tool itself checks the rest.

        Raises:
            ToolError: one sentence that tells the model what to write instead.
        """
        parameters = self.model_schema.parameters
        return parse_arguments(self.name, text, parameters, extra=not parameters["properties"])

    def effects(self, arguments: dict[str, Any]) -> Effects:
        """The addresses and paths in the arguments, for the rules; what else it touches nobody knows."""
        values = list(arguments.values())
        listed = [item for value in values if isinstance(value, list) for item in cast("list[object]", value)]
        texts = [text for text in values + listed if isinstance(text, str)]
        return Effects(
            urls=tuple(text for text in texts if text.startswith(("http://", "https://"))),
            reads=tuple(text.removeprefix("file://") for text in texts if text.startswith(_PATHS)),
        )

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:  # noqa: ARG002 - they take none
        """Call it in a thread of its own; arguments go as JSON text, as Qwen-Agent's agents give them."""
        text = json.dumps(arguments, ensure_ascii=False)
        return await run_in_thread(lambda: to_result(_content(self.theirs.call(text))), name=f"tool {self.name}")

    def _timed_out(self) -> str:
        return f"{self.name} did not finish within {self.timeout:g} s and was given up; it may still be running"


def qwen_agent_tool(
    tool: Any,
    cfg: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    max_output: int = DEFAULT_MAX_OUTPUT,
    read_only: bool = False,
    consent: bool | None = None,
) -> QwenAgentTool:
    """A tool of Qwen-Agent as one of ours; imports Qwen-Agent, which takes seconds of CPU.

    Args:
        tool: a name that is registered there (``"web_extractor"``), a ``BaseTool``, or a class of such.
        cfg: settings for a name or a class.
        name: what the model calls it; its own name by default.
        timeout: seconds that one call may take.
        max_output: characters of text that the model gets.
        read_only: it changes nothing.
        consent: handing it to an agent is consent to run it: by default for your own class or object, while for a
            registered name the permissions are asked.

    Raises:
        ConfigurationError: there is no such tool, or it cannot be made: a package or a setting is missing.
    """
    base = load_qwen_agent("qwen_agent.tools.base")
    theirs = tool if isinstance(tool, base.BaseTool) else _made(_class_of(tool, base), cfg)
    own_name, description, parameters = str(theirs.name), str(theirs.description), theirs.parameters
    return QwenAgentTool(
        name=name or own_name,
        theirs=theirs,
        model_schema=ToolSchema(name or own_name, description, _object_schema(parameters)),
        read_only=read_only,
        idempotent=read_only,
        open_world=True,
        parallel=False,  # nobody promises that an object of theirs may be used from two threads
        consent=not isinstance(tool, str) if consent is None else consent,
        timeout=timeout,
        max_output=max_output,
        origin="Qwen-Agent",
    )


def _class_of(tool: Any, base: Any) -> Any:
    if isinstance(tool, str):
        registry: dict[str, Any] = load_qwen_agent("qwen_agent.tools").TOOL_REGISTRY
        if tool not in registry:
            raise ConfigurationError(
                f"Qwen-Agent has no tool {tool!r}", cure=f"It has {', '.join(sorted(registry))}, and what you register"
            )
        return registry[tool]
    if isinstance(tool, type) and issubclass(tool, base.BaseTool):
        return cast("Any", tool)
    raise ConfigurationError(f"{tool!r} is no tool of Qwen-Agent", cure="Give a name, a BaseTool, or a class of such")


def _made(theirs: Any, cfg: Mapping[str, Any] | None) -> Any:
    try:
        return theirs(dict(cfg or {}))
    except Exception as error:
        what = " ".join(str(error).split())[:300]
        raise ConfigurationError(
            f"Qwen-Agent's tool {theirs.name or theirs.__name__} cannot be used: {type(error).__name__}: {what}",
            cure="Install what it needs, or give its settings as cfg=",
        ) from error


def _object_schema(parameters: Any) -> dict[str, Any]:
    """A tool's parameters, in the old way a list with ``required`` in each, as the schema of an object."""
    if isinstance(parameters, list):
        listed = cast("Sequence[Mapping[str, Any]]", parameters)
        parameters = {
            "properties": {each["name"]: {key: each[key] for key in each if key != "name"} for each in listed},
            "required": [each["name"] for each in listed if each.get("required") is True],
        }
    schema: dict[str, Any] = {"properties": {}, "required": [], **normalised(parameters), "type": "object"}
    return {"properties": {}, **compact(schema)}


def _content(value: Any) -> Any:
    """What a tool returned, with Qwen-Agent's content items as parts."""
    items = cast("list[Any]", value) if isinstance(value, list) else []
    if items and all(hasattr(item, "get_type_and_value") for item in items):
        return [_part(*item.get_type_and_value()) for item in items]
    return cast("object", value)


def _part(kind: str, value: Any) -> Part:
    """One content item; a file that cannot be shown is told."""
    if kind == "text":
        return TextPart(str(value))
    if kind == "video" and isinstance(value, list):
        return MediaPart("video", frames=tuple(map(str, cast("list[Any]", value))))
    where = str(value)
    if kind in ("image", "audio", "video"):
        if where.startswith(("data:", "http://", "https://")):
            return MediaPart(cast("Any", kind), where)
        try:
            return MediaPart.from_file(Path(where.removeprefix("file://")))
        except (OSError, ValueError):
            pass
    return TextPart(f"[{kind}: {where[:1000]}]")
