"""What a tool call gives back to the model: making it from any value, and keeping it short."""

from __future__ import annotations

import inspect
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Literal, cast

from qianda.models.messages import Content, MediaPart, Part, TextPart
from qianda.tools.kept import LONGEST, NOTHING_KEPT, READ_MORE, Kept, pages


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The outcome of one tool call.

    Args:
        content: what the model reads: text, or text and media parts.
        failed: the content is an error sentence.
        denied_by: who kept the tool from running: a rule, a person, or that nobody was there to ask; else "".
        rule: what of the permissions decided that it ran, or did not.
    """

    content: Content
    failed: bool = False
    denied_by: Literal["", "rule", "person", "nobody"] = ""
    rule: str = ""

    @property
    def outcome(self) -> Literal["done", "failed", "denied"]:
        """How the call came out, in one word."""
        if self.denied_by:
            return "denied"
        return "failed" if self.failed else "done"


def to_result(value: object) -> ToolResult:
    """Make the result out of what a tool's function returned.

    Text stays as it is; ``None`` is "done"; media parts, alone or in a list or tuple with text, stay parts; the
    ``Path`` of an image, audio or video file is shown, any other path is told; what shows itself as PNG (Pillow's
    images) is an image; all else (numbers, lists, dicts, dataclasses, pydantic models) becomes JSON text.
    """
    if isinstance(value, ToolResult):
        return value
    if value is None:
        return ToolResult("done")
    if isinstance(value, str):
        return ToolResult(value)
    if isinstance(value, (list, tuple)):
        items = [_medium(item) for item in cast("Sequence[object]", value)]
        if any(isinstance(item, (TextPart, MediaPart)) for item in items):
            return ToolResult(tuple(_part(item) for item in items))
    medium = _medium(cast("object", value))
    if isinstance(medium, (TextPart, MediaPart)):
        return ToolResult((medium,))
    return ToolResult(str(medium) if isinstance(medium, PurePath) else _json(medium))


def _medium(value: object) -> object:
    """A file or an object that can be seen or heard as a part; anything else as it is."""
    if isinstance(value, Path) and value.is_file():
        with suppress(ValueError, OSError):
            return MediaPart.from_file(value)
    show = getattr(value, "_repr_png_", None)
    png = show() if callable(show) and not inspect.isclass(value) else None
    return MediaPart("image", f"data:image/png;base64,{b64encode(png).decode()}") if isinstance(png, bytes) else value


def _part(item: object) -> Part:
    """One item of a mixed list as a part."""
    if isinstance(item, (TextPart, MediaPart)):
        return item
    return TextPart(str(item) if isinstance(item, (str, PurePath)) else _json(item))


def _json(value: Any) -> str:
    """JSON text of any value; what JSON does not know is written as Python shows it."""
    import pydantic_core

    return pydantic_core.to_json(value, fallback=repr, bytes_mode="base64", inf_nan_mode="constants").decode()


def cap_text(text: str, limit: int, kept: Kept = NOTHING_KEPT) -> str:
    """Keep head and tail of a text of more than ``limit`` characters, with a line between that says what is missing.

    Args:
        text: any text.
        limit: characters.
        kept: takes what is cut, for the model to read page by page.
    """
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # lone surrogates cannot be sent
    if len(text) <= limit:
        return text
    start, end = limit - limit // 2, len(text) - limit // 2
    return f"{text[:start]}{_left_out(text[start:end], len(text), kept)}{text[end:]}"


def left_out(missing: int, total: int) -> str:
    """The line between head and tail, where the rest is not kept."""
    return f"\n[… {missing:,} of {total:,} characters left out here; ask for a smaller part to see them …]\n"


def _left_out(missing: str, total: int, kept: Kept) -> str:
    """The line between head and tail."""
    text_id = kept.keep(missing)
    if not text_id:
        return left_out(len(missing), total)
    count = pages(min(len(missing), LONGEST))
    how = f'{READ_MORE}(id="{text_id}", page=1) reads them, {count} page{"s" if count > 1 else ""}'
    return f"\n[… {len(missing):,} of {total:,} characters left out here; {how} …]\n"


def cap_content(content: Content, limit: int, kept: Kept = NOTHING_KEPT) -> Content:
    """``cap_text`` for text and for parts: the texts share the limit, media stay whole."""
    if isinstance(content, str):
        return cap_text(content, limit, kept)
    parts: list[Part] = []
    left = limit
    for part in content:
        if isinstance(part, MediaPart):
            parts.append(part)
        elif left > 0 or not part.text:
            parts.append(TextPart(cap_text(part.text, left, kept) if part.text else ""))
            left -= len(part.text)
        else:
            parts.append(TextPart(_left_out(part.text, len(part.text), kept).strip()))
    return tuple(parts)
