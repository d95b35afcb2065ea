"""What a tool call gives back to the model: making it from any value, and keeping it short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from qianda.models.messages import Content, MediaPart, Part, TextPart


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The outcome of one tool call.

    Args:
        content: what the model reads: text, or text and media parts.
        failed: the content is an error sentence.
        denied_by: who kept the tool from running: a rule, a person, or that nobody was there to ask; else "".
    """

    content: Content
    failed: bool = False
    denied_by: Literal["", "rule", "person", "nobody"] = ""

    @property
    def outcome(self) -> Literal["done", "failed", "denied"]:
        """How the call came out, in one word."""
        if self.denied_by:
            return "denied"
        return "failed" if self.failed else "done"


def to_result(value: object) -> ToolResult:
    """Make the result out of what a tool's function returned.

    Text stays as it is; ``None`` is "done"; media parts, alone or in a list or tuple with text, stay parts; all else
    (numbers, lists, dicts, dataclasses, pydantic models) becomes JSON text.
    """
    if isinstance(value, ToolResult):
        return value
    if value is None:
        return ToolResult("done")
    if isinstance(value, str):
        return ToolResult(value)
    if isinstance(value, (TextPart, MediaPart)):
        return ToolResult((value,))
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        if any(isinstance(item, (TextPart, MediaPart)) for item in items):
            return ToolResult(tuple(_part(item) for item in items))
    return ToolResult(_json(value))


def _part(item: object) -> Part:
    """One item of a mixed list as a part."""
    if isinstance(item, (TextPart, MediaPart)):
        return item
    return TextPart(item if isinstance(item, str) else _json(item))


def _json(value: Any) -> str:
    """JSON text of any value; what JSON does not know is written as Python shows it."""
    import pydantic_core

    return pydantic_core.to_json(value, fallback=repr, bytes_mode="base64", inf_nan_mode="constants").decode()


def cap_text(text: str, limit: int) -> str:
    """Keep head and tail of a text of more than ``limit`` characters, with a line between that says what is missing."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # lone surrogates cannot be sent
    if len(text) <= limit:
        return text
    head, tail = text[: limit - limit // 2], text[len(text) - limit // 2 :]
    return f"{head}{left_out(len(text) - limit, len(text))}{tail}"


def left_out(missing: int, total: int) -> str:
    """The line between head and tail."""
    return f"\n[… {missing:,} of {total:,} characters left out here; ask for a smaller part to see them …]\n"


def cap_content(content: Content, limit: int) -> Content:
    """``cap_text`` for text and for parts: the texts share the limit, media stay whole."""
    if isinstance(content, str):
        return cap_text(content, limit)
    parts: list[Part] = []
    left = limit
    for part in content:
        if isinstance(part, MediaPart):
            parts.append(part)
        elif left > 0 or not part.text:
            parts.append(TextPart(cap_text(part.text, left) if part.text else ""))
            left -= len(part.text)
        else:
            parts.append(TextPart(left_out(len(part.text), len(part.text)).strip()))
    return tuple(parts)
