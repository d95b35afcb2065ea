"""What Model Studio (DashScope) asks of a request, applied to the fields of every one that goes there; pure.

Its extras are request fields, to be given in ``extra_body``: ``enable_search`` with ``search_options``,
``enable_code_interpreter``, and ours, ``cache_control``, which marks what the service is to keep. Source: the Model
Studio documentation, "Qwen API reference", "Deep thinking", "Context cache".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from qianda.models.errors import ConfigurationError

SMALLEST_CACHE = 1_024
"""Tokens below which a mark has no effect."""
EPHEMERAL = {"type": "ephemeral"}


def studio_fields(fields: Mapping[str, Any], *, thinks: bool | None) -> dict[str, Any]:
    """The request fields as the service takes them.

    Args:
        fields: all but the messages.
        thinks: whether the model thinks where they do not say; None when unknown.

    Raises:
        ConfigurationError: a tool has a name that is taken there.
    """
    new = dict(fields)
    effort = new.get("reasoning_effort")
    if effort:
        # An effort goes with neither of these.
        new.pop("enable_thinking", None)
        new.pop("thinking_budget", None)
        thinks = effort != "none"
    if new.get("enable_code_interpreter"):
        new |= {"stream": True, "stream_options": {"include_usage": True}}
        new |= {} if effort else {"enable_thinking": True}
    thinks = new.get("enable_thinking", thinks)
    if tools := cast("list[dict[str, Any]]", new.get("tools") or []):
        if any(tool["function"]["name"] == "search" for tool in tools):
            raise ConfigurationError("Model Studio takes no tool called 'search'", cure="Give it another name")
        new.setdefault("parallel_tool_calls", True)
        if new.get("stream"):
            new.setdefault("tool_stream", True)
    if (choice := new.get("tool_choice")) not in (None, "auto", "none"):
        new["tool_choice"] = "auto" if thinks else _choice(choice, tools)
    if "response_format" in new:
        # Refused while thinking; and a bound of the length would cut the JSON.
        for name in ("response_format",) if thinks else ("max_tokens", "max_completion_tokens"):
            new.pop(name, None)
    return new


def _choice(choice: Any, tools: list[dict[str, Any]]) -> Any:
    """``required`` is not dependable there: with one tool it is named."""
    if choice != "required":
        return choice
    return {"type": "function", "function": {"name": tools[0]["function"]["name"]}} if len(tools) == 1 else "auto"


def with_cache_marks(body: bytes) -> bytes:
    """A request's body with ``cache_control`` moved from its top to where the service reads it.

    Two marks, of the four that it allows: the instructions, which all conversations share, and the end of what there
    is, each if the text up to there is long enough.
    """
    request: dict[str, Any] = orjson.loads(body)
    mark = request.pop("cache_control", None) or EPHEMERAL
    messages: list[dict[str, Any]] = request["messages"]
    markable = [at for at, message in enumerate(messages) if message["role"] != "tool" and message.get("content")]
    instructions = [at for at in markable[:1] if messages[at]["role"] == "system"]
    for at in {*instructions, *markable[-1:]}:
        if len(orjson.dumps(messages[: at + 1])) // 4 >= SMALLEST_CACHE:
            _mark(messages[at], mark)
    return orjson.dumps(request)


def _mark(message: dict[str, Any], mark: dict[str, Any]) -> None:
    content = message["content"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    message["content"] = [*parts[:-1], {**parts[-1], "cache_control": mark}]
