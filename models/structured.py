"""The request fields by which a server holds a reply to a JSON Schema, where it can; pure."""

from __future__ import annotations

from typing import Any

from qianda.models.family import Family
from qianda.models.servers import ServerKind
from qianda.models.thinking import OFF, Thinking, thinking_fields

NAME = "answer"


def output_fields(
    schema: dict[str, Any], kind: ServerKind, family: Family, thinking: bool | None, has_tools: bool
) -> dict[str, Any] | None:
    """What makes the server's grammar hold the reply to a schema.

    Args:
        schema: JSON Schema of an object.
        kind: the server.
        family: the model.
        thinking: what was asked for: True, False, or None for the model's default.
        has_tools: the request offers tools. A grammar would forbid their calls (vLLM), or be refused (llama.cpp).

    Returns:
        Fields for ``Client.ask``, or None where there is no grammar, or not while thinking, or not beside tools.

    Raises:
        ConfigurationError: the model cannot think, or cannot do without, against ``thinking``.
    """
    if has_tools or not kind.structured or (family.thinks(thinking) and not kind.structured_thinking):
        return None
    match kind.structured:
        case "json_schema":
            named = {"name": NAME, "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}
        case "json_value":
            return {"response_format": {"type": "json_object", "value": schema}}
        case "json_object":
            # Model Studio: the prompt must say "JSON", which ours does, and a cut answer would be no JSON.
            return {"response_format": {"type": "json_object"}, "max_tokens": None}
        case "format" | "guided_json":
            return {kind.structured: schema}


def last_try(
    schema: dict[str, Any], kind: ServerKind, family: Family, thinking: bool | None
) -> tuple[dict[str, Any], Thinking | None] | None:
    """Like ``output_fields``, for the last try: without tools, and without thinking where that keeps the grammar away.

    Returns:
        The fields and how to think, both for ``Client.ask``; None where there is no grammar.
    """
    fields = output_fields(schema, kind, family, thinking, has_tools=False)
    if fields is not None:
        return fields, None
    if family.thinking not in ("on", "off"):
        return None
    fields = output_fields(schema, kind, family, thinking=False, has_tools=False)
    return None if fields is None else (fields, OFF)


def last_fields(
    schema: dict[str, Any], kind: ServerKind, family: Family, thinking: bool | None
) -> dict[str, Any] | None:
    """``last_try`` as request fields alone, for who does not ask through ``Client``."""
    last = last_try(schema, kind, family, thinking)
    if last is None:
        return None
    fields, way = last
    return fields | (thinking_fields(way, family, kind) if way else {})
