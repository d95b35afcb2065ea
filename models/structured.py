"""The request fields by which a server holds a reply to a JSON Schema, where it can; pure."""

from __future__ import annotations

from typing import Any

from qianda.models.family import Family
from qianda.models.servers import ServerKind
from qianda.models.wire import thinking_body

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
        case "json_object":
            # Model Studio: the prompt must say "JSON", which ours does, and a cut answer would be no JSON.
            return {"response_format": {"type": "json_object"}, "max_tokens": None}
        case "format" | "guided_json":
            return {kind.structured: schema}


def last_fields(
    schema: dict[str, Any], kind: ServerKind, family: Family, thinking: bool | None
) -> dict[str, Any] | None:
    """Like ``output_fields``, for the last try: thinking is switched off where it keeps the grammar away."""
    fields = output_fields(schema, kind, family, thinking, has_tools=False)
    if fields is None and family.thinking in ("on", "off"):
        switch = thinking_body(thinking=False, kind=kind)
        without = output_fields(schema, kind, family, thinking=False, has_tools=False)
        return without | switch if without and switch else None
    return fields
