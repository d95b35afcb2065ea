"""Request bodies of chat completions; each message is serialised once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from qianda.models.family import Sampling
from qianda.models.messages import AssistantMessage, Content, MediaPart, Message, ToolMessage, ToolSchema, UserMessage
from qianda.models.servers import ServerKind


def _part(part: Any) -> dict[str, Any]:
    if not isinstance(part, MediaPart):
        return {"type": "text", "text": part.text}
    if part.type == "audio" and part.url.startswith("data:"):
        # Local servers take raw base64 and a format name; source: the OpenAI chat-completions reference.
        head, _, data = part.url.partition(",")
        name = head[len("data:") :].partition(";")[0].partition("/")[2]
        return {
            "type": "input_audio",
            "input_audio": {"data": data, "format": {"mpeg": "mp3", "x-wav": "wav"}.get(name, name)},
        }
    kind = f"{part.type}_url"
    return {"type": kind, kind: {"url": part.url}}


def _content(content: Content) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_part(part) for part in content]


def message_body(message: Message, *, reasoning_field: str = "") -> dict[str, Any]:
    """A message in the shape of the chat-completions API.

    Args:
        message: what to render.
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
            return {
                "role": "tool",
                "tool_call_id": message.call_id,
                "name": message.name,
                "content": _content(message.content),
            }
        case _:
            return {"role": message.role, "content": _content(message.content)}


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
        reasoning_field: the field in which reasoning is resent.
        preserve: resend the reasoning of every turn, not only of the tool loop that is going on.
    """

    def __init__(self, reasoning_field: str, *, preserve: bool) -> None:
        self._reasoning_field = reasoning_field
        self._preserve = preserve
        self._messages: list[Message] = []
        self._parts: list[bytes] = []
        self._joined = bytearray()

    def request(self, messages: Sequence[Message], fields: bytes) -> bytes:
        """The body of a request.

        Args:
            messages: the whole conversation.
            fields: the other fields, a JSON object that is not empty.
        """
        new = messages[len(self._messages) :]
        if any(isinstance(message, UserMessage) for message in new) and not self._preserve:
            self._drop_reasoning()
        # The templates of Qwen3 and later render reasoning only after the last real user message.
        last_user = max((at for at, message in enumerate(new) if isinstance(message, UserMessage)), default=-1)
        for position, message in enumerate(new):
            self._add(message, with_reasoning=self._preserve or position > last_user)
        return b"".join((b'{"messages":[', self._joined, b"],", fields[1:]))

    def _drop_reasoning(self) -> None:
        """A new tool loop begins: the reasoning of the ones before is not resent."""
        for position, message in enumerate(self._messages):
            if isinstance(message, AssistantMessage) and message.reasoning:
                self._parts[position] = self._dump(message, with_reasoning=False)
        self._joined = bytearray(b",".join(self._parts))

    def _add(self, message: Message, *, with_reasoning: bool) -> None:
        part = self._dump(message, with_reasoning=with_reasoning)
        self._messages.append(message)
        self._parts.append(part)
        if self._joined:
            self._joined += b","
        self._joined += part

    def _dump(self, message: Message, *, with_reasoning: bool) -> bytes:
        return orjson.dumps(message_body(message, reasoning_field=self._reasoning_field if with_reasoning else ""))
