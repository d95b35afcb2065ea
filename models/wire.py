"""Request bodies of chat completions; each message is serialised once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from qianda.models.family import Sampling
from qianda.models.media import MediaGate, media_body, shown_after
from qianda.models.messages import (
    AssistantMessage,
    Content,
    MediaPart,
    Message,
    ToolMessage,
    ToolSchema,
    UserMessage,
    content_text,
)
from qianda.models.servers import ServerKind


def _content(content: Content, kind: ServerKind) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    body: list[dict[str, Any]] = []
    for part in content:
        body += media_body(part, kind) if isinstance(part, MediaPart) else [{"type": "text", "text": part.text}]
    return body


def message_body(message: Message, kind: ServerKind, *, reasoning_field: str = "") -> dict[str, Any]:
    """A message in the shape of the chat-completions API.

    Args:
        message: what to render.
        kind: the server.
        reasoning_field: the field for an assistant's reasoning, or "" to leave it out.
    """
    match message:
        case AssistantMessage():
            body: dict[str, Any] = {"role": "assistant", "content": message.content}
            if reasoning_field and message.reasoning:
                body[reasoning_field] = message.reasoning
            if message.tool_calls:
                body["tool_calls"] = [
                    {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                    for call in message.tool_calls
                ]
            return body
        case ToolMessage():
            content = _content(message.content, kind) if kind.tool_media else content_text(message.content)
            return {"role": "tool", "tool_call_id": message.call_id, "name": message.name, "content": content}
        case _:
            return {"role": message.role, "content": _content(message.content, kind)}


def tool_body(schema: ToolSchema) -> dict[str, Any]:
    """A tool's schema in the shape of the chat-completions API."""
    function = {"name": schema.name, "description": schema.description, "parameters": schema.parameters}
    return {"type": "function", "function": function}


def sampling_body(sampling: Sampling, kind: ServerKind) -> dict[str, Any]:
    """The sampling fields that this kind of server takes."""
    fields = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
        kind.top_k: sampling.top_k,
        kind.repetition_penalty: sampling.repetition_penalty,
    }
    return {name: value for name, value in fields.items() if name and value is not None}


def thinking_body(thinking: bool | None, kind: ServerKind) -> dict[str, Any]:
    """The fields that switch thinking on this kind of server; none when the model's default is wanted."""
    if thinking is None:
        return {}
    match kind.thinking:
        case "kwargs":
            return {"chat_template_kwargs": {"enable_thinking": thinking}}
        case "top":
            return {"enable_thinking": thinking}
        case "effort":
            return {} if thinking else {"reasoning_effort": "none"}
        case "":
            return {}


class MessageEncoder:
    """Serialises the messages of one conversation, each once, so that a request costs what is new in it.

    Not shared between conversations, and a conversation may only grow.

    Args:
        kind: the server.
        preserve: resend the reasoning of every turn, not only of the tool loop that is going on.
    """

    def __init__(self, kind: ServerKind, *, preserve: bool) -> None:
        self._kind = kind
        self._preserve = preserve
        self._gate = MediaGate(kind)
        self._results: list[ToolMessage] = []  # neighbours, up to the end of what is there
        self._messages: list[Message] = []
        self._parts: list[bytes] = []
        self._joined = bytearray()

    def request(self, messages: Sequence[Message], fields: bytes) -> bytes:
        """The body of a request.

        Args:
            messages: the whole conversation.
            fields: the other fields, a JSON object that is not empty.

        Raises:
            ConfigurationError: an image of the user's that the server or the model does not take.
        """
        new = messages[len(self._messages) :]
        if any(isinstance(message, UserMessage) for message in new) and not self._preserve:
            self._drop_reasoning()
        # The templates of Qwen3 and later render reasoning only after the last real user message.
        last_user = max((at for at, message in enumerate(new) if isinstance(message, UserMessage)), default=-1)
        for position, message in enumerate(new):
            if self._results and not isinstance(message, ToolMessage):
                self._show_media()
            self._add(message, with_reasoning=self._preserve or position > last_user)
        self._show_media()
        return b"".join((b'{"messages":[', self._joined, b"],", fields[1:]))

    def _drop_reasoning(self) -> None:
        """A new tool loop begins: the reasoning of the ones before is not resent."""
        for position, message in enumerate(self._messages):
            if isinstance(message, AssistantMessage) and message.reasoning:
                self._parts[position] = self._dump(message, with_reasoning=False)
        self._joined = bytearray(b",".join(self._parts))

    def _add(self, message: Message, *, with_reasoning: bool) -> None:
        message = self._gate.message(message)
        part = self._dump(message, with_reasoning=with_reasoning)
        self._messages.append(message)
        self._parts.append(part)
        if self._joined:
            self._joined += b","
        self._joined += part
        if isinstance(message, ToolMessage) and not self._kind.tool_media:
            self._results.append(message)

    def _show_media(self) -> None:
        """The media of the tool results that end here, in a message of its own where results are text."""
        shown = shown_after(self._results)
        self._results.clear()
        if shown is not None:
            part = b"," + self._dump(shown, with_reasoning=False)
            self._parts[-1] += part
            self._joined += part

    def _dump(self, message: Message, *, with_reasoning: bool) -> bytes:
        field = self._kind.reasoning if with_reasoning else ""
        return orjson.dumps(message_body(message, self._kind, reasoning_field=field))
