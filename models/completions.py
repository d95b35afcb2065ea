"""The completions interface: Qianda writes the prompt, for base models and servers whose chat template is no good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import orjson

from qianda.models.errors import ConfigurationError
from qianda.models.family import Family
from qianda.models.messages import MediaPart, Message, ToolSchema, UserMessage
from qianda.models.rendering import render
from qianda.models.servers import ServerKind

Api = Literal["chat", "completions"]

STOPS = ("<|im_end|>", "<|endoftext|>")
# What the prompt says there, or nothing can.
_CHAT_ONLY = (
    *("tools", "tool_choice", "parallel_tool_calls", "chat_template_kwargs", "enable_thinking", "reasoning_effort"),
    *("think", "response_format", "continue_final_message", "add_generation_prompt"),
)


def completions_kind(kind: ServerKind) -> ServerKind:
    """The server as it is behind this interface: the prompt switches the thinking and goes on; nothing is parsed."""
    return replace(
        kind,
        thinking="kwargs",
        budget="",
        continues="prefill",
        structured="",
        tool_choice=(),
        parallel=False,
        tell_output="always",  # vLLM gives 16 tokens unless it is told
    )


def completion_body(
    messages: Sequence[Message],
    tools: Sequence[ToolSchema],
    fields: Mapping[str, Any],
    family: Family,
    *,
    thinks: bool | None,
    prefill: Mapping[str, Any] | None,
) -> bytes:
    """The body of a completion.

    Args:
        messages: the whole conversation.
        tools: what the model may call.
        fields: of the chat completion that it stands for, without messages.
        family: the model.
        thinks: whether it is to think; None when unknown.
        prefill: the message that the model goes on with.

    Raises:
        ConfigurationError: the user sends an image, which no prompt can hold.
    """
    parts = (part for message in messages if isinstance(message, UserMessage) for part in message.content)
    if any(isinstance(part, MediaPart) for part in parts):
        raise ConfigurationError(
            "The completions interface takes text alone", cure='Leave the images out, or use api="chat"'
        )
    begun = "<think>\n" if family.opens and thinks else ""
    if prefill is not None:
        begun = prefill["content"]
    elif thinks is False and family.thinking != "none":
        begun = "<think>\n\n</think>\n\n"
    body = {name: value for name, value in fields.items() if name not in _CHAT_ONLY}
    own: str | list[str] = body.get("stop") or []
    body["prompt"] = render(messages, tools, calls="xml" if family.calls == "xml" else "hermes") + begun
    body["stop"] = [*([own] if isinstance(own, str) else own), *STOPS]
    body["skip_special_tokens"] = False  # else vLLM never sees the stops of a base model, which are special tokens
    body.setdefault("max_tokens", body.pop("max_completion_tokens", family.max_output))
    return orjson.dumps(body)
