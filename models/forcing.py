"""How one call is forced on each kind of server: by a named choice, ``required`` or a grammar; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qianda.models.family import Family
from qianda.models.messages import ToolSchema
from qianda.models.servers import ServerKind
from qianda.models.structured import output_fields
from qianda.models.thinking import OFF, Thinking
from qianda.models.wire import tool_body

# A grammar may hold a model to whitespace without end (https://github.com/vllm-project/vllm/issues/21026): a forced
# reply is cut there, and then asked for without force.
FORCED_TOKENS = 4_096
THINKING_TOKENS = 16_384
# Seen of vLLM 0.32: a choice forces a call of the tool, but its arguments fit the schema only where the tool is strict.
_STRICT = ("vllm",)


@dataclass(frozen=True, slots=True)
class Forced:
    """What makes a server give a call; for ``Client.ask``.

    Args:
        how: by what, in a word or two for people.
        fields: request fields.
        thinking: off where that can be: thinking may use up all tokens before the call, and Model Studio takes no named
            choice beside it.
    """

    how: str
    fields: dict[str, Any]
    thinking: Thinking | None


def force_call(kind: ServerKind, family: Family, tools: Sequence[ToolSchema], name: str | None) -> Forced | None:
    """What forces the next reply to be a call; it is asked for as one document, which no server garbles.

    Args:
        kind: the server.
        family: the model.
        tools: all tools of the request.
        name: the tool to be called, or None for any.

    Returns:
        None where nothing can: Model Studio takes no choice of a model that always thinks, and none of any tool; raw
        prompts take none.
    """
    always_thinks = family.thinking == "only"
    meant = [tool for tool in tools if tool.name == name] or list(tools)
    choice = _choice(kind, family, meant)
    if not meant or choice is None or (always_thinks and kind.is_model_studio):
        return None
    cap = THINKING_TOKENS if always_thinks else FORCED_TOKENS
    fields = {**choice[1], "max_tokens": cap, "stream": False, "stream_options": None}
    return Forced(choice[0], fields, None if always_thinks or family.thinking == "none" else OFF)


def _choice(kind: ServerKind, family: Family, meant: Sequence[ToolSchema]) -> tuple[str, dict[str, Any]] | None:
    named = {"tool_choice": {"type": "function", "function": {"name": meant[0].name}}} if len(meant) == 1 else None
    bodies = [tool_body(tool) for tool in meant]
    strict = kind.kind in _STRICT
    for body in bodies if strict else ():
        body["function"]["strict"] = True
    if named and "named" in kind.tool_choice:
        return "named choice", {**named, "tools": bodies} if strict else named
    if "required" in kind.tool_choice:
        # Where no choice can be named, only the one tool is offered.
        return "required", {"tool_choice": "required", "tools": bodies}
    if kind.is_model_studio or not kind.tool_choice:
        return None
    thinking = None if family.thinking == "only" else False
    grammar = output_fields(_any_call(meant), kind, family, thinking, has_tools=False)
    if grammar:
        return "grammar", grammar
    return ("named choice", named) if named else ("required", {"tool_choice": "required"})


def _any_call(tools: Sequence[ToolSchema]) -> dict[str, Any]:
    """JSON Schema of a call of one of these tools, as a bare JSON object."""
    definitions: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    for tool in tools:
        parameters = {key: value for key, value in tool.parameters.items() if key != "$defs"}
        # References point to the root.
        definitions |= tool.parameters.get("$defs", {})
        properties = {"name": {"type": "string", "enum": [tool.name]}, "arguments": parameters}
        calls.append({"type": "object", "properties": properties, "required": ["name", "arguments"]})
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {**schema, "$defs": definitions} if definitions else schema
