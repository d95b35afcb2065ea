"""Request bodies of chat completions; each message is serialised once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from qianda.models.family import Sampling
from qianda.models.media import MediaGate, media_body, shown_after
from qianda.models.messages import (
    AssistantMessage,
    Content,
    MediaPart,
    Message,
    TextPart,
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


def message_body(
    message: Message, kind: ServerKind, *, reasoning_fields: Sequence[str] = (), switch: str = ""
) -> dict[str, Any]:
    """A message in the shape of the chat-completions API.

    Args:
        message: what to render.
        kind: the server.
        reasoning_fields: the fields for an assistant's reasoning; none to leave it out.
        switch: what a prompt ends with, or "".
    """
    match message:
        case AssistantMessage():
            body: dict[str, Any] = {"role": "assistant", "content": message.content}
            if message.reasoning:
                body |= dict.fromkeys(reasoning_fields, message.reasoning)
            if message.tool_calls:
                body["tool_calls"] = [
                    {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
                    for call in message.tool_calls
                    for arguments in [orjson.loads(call.arguments) if kind.object_arguments else call.arguments]
                ]
            return body
        case ToolMessage():
            content = _content(message.content, kind) if kind.tool_media else content_text(message.content)
            return {"role": "tool", "tool_call_id": message.call_id, "name": message.name, "content": content}
        case UserMessage() if switch:
            said = message.content
            said = f"{said} {switch}" if isinstance(said, str) else (*said, TextPart(switch))
            return {"role": "user", "content": _content(said, kind)}
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


class MessageEncoder:
    """Serialises the messages of one conversation, each once, so that a request costs what is new in it.

    Not shared between conversations, and a conversation may only grow.

    Args:
        kind: the server.
        preserve: resend the reasoning of every turn, not only of the tool loop that is going on.
        resend: the fields for it, when these are not the server's own one.
        model: its name: images that a tool returns go only to models that can read them.
    """

    def __init__(self, kind: ServerKind, *, preserve: bool, resend: Sequence[str] = (), model: str = "") -> None:
        self._kind = kind
        self._preserve = preserve
        self._reasoning_fields = (resend or (kind.reasoning,)) if kind.reasoning else ()
        self._switch = ""
        self._gate = MediaGate(kind, model)
        self._results: list[ToolMessage] = []  # neighbours, up to the end of what is there
        self._messages: list[Message] = []
        self._parts: list[bytes] = []
        self._joined = bytearray()

    def size(self, messages: Sequence[Message]) -> int:
        """How large the conversation is on the wire, in bytes; about, for the messages that were not sent yet."""
        return len(self._joined) + sum(len(repr(message).encode()) for message in messages[len(self._messages) :])

    def request(
        self,
        messages: Sequence[Message],
        fields: bytes,
        *,
        switch: str = "",
        prefill: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The body of a request.

        Args:
            messages: the whole conversation.
            fields: the other fields, a JSON object that is not empty.
            switch: what the prompts end with. All do, and the model heeds the last: what was sent stays as it was, so
                that the server's cache of it holds.
            prefill: a message of this request alone, which the model goes on with.

        Raises:
            ConfigurationError: an image of the user's that the server or the model does not take.
        """
        new = messages[len(self._messages) :]
        if any(isinstance(message, UserMessage) for message in new) and not self._preserve:
            self._dump_again(AssistantMessage)
        if switch != self._switch:
            self._switch = switch
            self._dump_again(UserMessage)
        # The templates of Qwen3 and later render reasoning only after the last real user message.
        last_user = max((at for at, message in enumerate(new) if isinstance(message, UserMessage)), default=-1)
        for position, message in enumerate(new):
            if self._results and not isinstance(message, ToolMessage):
                self._show_media()
            self._add(message, with_reasoning=self._preserve or position > last_user)
        self._show_media()
        last = b"," + orjson.dumps(prefill) if prefill else b""
        return b"".join((b'{"messages":[', self._joined, last, b"],", fields[1:]))

    def _dump_again(self, role: type[AssistantMessage | UserMessage]) -> None:
        """A new tool loop begins, so that older reasoning is not resent; or the prompts' switch is another."""
        for position, message in enumerate(self._messages):
            if isinstance(message, role) and not (isinstance(message, AssistantMessage) and not message.reasoning):
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
        fields = self._reasoning_fields if with_reasoning else ()
        body = orjson.dumps(message_body(message, self._kind, reasoning_fields=fields, switch=self._switch))
        return bytes(memoryview(body))  # what orjson gives holds 4 KB, however short it is
