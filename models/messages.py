"""Messages: what a conversation is made of, in the shapes that every other module passes on."""

from __future__ import annotations

import base64
import mimetypes
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class TextPart:
    """A piece of text inside a message of several parts."""

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class MediaPart:
    """An image, a piece of audio or a video.

    Args:
        type: what it is.
        url: ``https:`` address or ``data:`` URL with base64 content.
        frames: addresses of a video's frames, in the place of ``url``.
        fps: frames per second of the video that the frames were taken from.
    """

    type: Literal["image", "audio", "video"]
    url: str = ""
    frames: tuple[str, ...] = ()
    fps: float = 2.0

    @classmethod
    def from_file(cls, path: str | Path) -> MediaPart:
        """Read a file into a ``data:`` URL; its kind comes from the file's name.

        Raises:
            ValueError: the name is not that of an image, audio or video file.
            OSError: the file cannot be read.
        """
        mime = mimetypes.guess_type(str(path))[0] or ""
        kind = mime.partition("/")[0]
        if kind not in ("image", "audio", "video"):
            raise ValueError(f"{path} is not an image, audio or video file (its name says: {mime or 'unknown'})")
        content = base64.b64encode(Path(path).read_bytes()).decode("ascii")
        return cls(type=kind, url=f"data:{mime};base64,{content}")


Part = TextPart | MediaPart
Content = str | tuple[Part, ...]


def content_text(content: Content) -> str:
    """The text of a message's content; media parts are named in square brackets."""
    if isinstance(content, str):
        return content
    return "\n".join(part.text if isinstance(part, TextPart) else f"[{part.type}]" for part in content)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call as the model wrote it.

    Args:
        id: unique within the conversation.
        name: the tool's name as the model wrote it.
        arguments: JSON text as the model wrote it, after repair; not validated yet.
        repaired: what had to be mended to read it, for people; "" when it was right.
    """

    id: str
    name: str
    arguments: str
    repaired: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class SystemMessage:
    """Instructions to the model; at most one, at the start."""

    content: str
    role: Literal["system"] = "system"


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What a person (or the loop, on a person's behalf) says."""

    content: Content
    role: Literal["user"] = "user"


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """A model's reply: reasoning, text and tool calls, each possibly empty."""

    content: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    role: Literal["assistant"] = "assistant"


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """The result of one tool call.

    Args:
        call_id: the call's id.
        name: the tool's name as the model wrote it.
        content: what the model reads.
        outcome: how it came out, for people; the model reads it in the content.
    """

    call_id: str
    name: str
    content: Content
    outcome: Literal["done", "failed", "denied"] = "done"
    role: Literal["tool"] = "tool"


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens used.

    Args:
        input_tokens: tokens of the prompts, cached ones included.
        output_tokens: tokens generated, reasoning included.
        reasoning_tokens: part of ``output_tokens`` spent on reasoning, where the server says so.
        cached_tokens: part of ``input_tokens`` that came from the server's prompt cache.
        requests: model requests made.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    requests: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cached_tokens + other.cached_tokens,
            self.requests + other.requests,
        )


NO_USAGE = Usage()


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """A tool as the model sees it: all that ``qianda.models`` knows of tools.

    Args:
        name: ``[A-Za-z0-9_-]``, at most 64 characters.
        description: what it does, for the model.
        parameters: JSON Schema of an object.
    """

    name: str
    description: str
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
