"""What an MCP server says, in our words: results as message parts, texts without invisible characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import orjson

from qianda.models.messages import Content, MediaPart, Part, TextPart
from qianda.tools.results import ToolResult

if TYPE_CHECKING:
    from mcp_types import BlobResourceContents, CallToolResult, ContentBlock, TextResourceContents

MAX_MEDIA = 16 * 1024 * 1024
"""Characters of base64 of one image, sound or film that a model is given."""
_MIME = re.compile(r"[\w.+-]+/[\w.+-]+(;[\w.+=-]+)*")

# Characters that a person does not see but a model reads: controls, soft hyphen, Hangul and Braille blanks, zero-width
# and bidirectional marks, variation selectors, tags, private use. A single joiner stays: Persian and Hindi need it.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ue000-\uf8ff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000fffff\U00100000-\U0010ffff]|[\u200c\u200d]{2,}"
)


def visible(text: str) -> str:
    """A text without the characters that only a model sees."""
    return _INVISIBLE.sub("", text)


def escaped(text: str) -> str:
    """A text with the characters that only a model sees written out as their numbers."""
    return _INVISIBLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def visible_schema(value: object) -> Any:
    """A JSON Schema whose titles and descriptions are ``visible``; all else is what the server will compare with."""
    if isinstance(value, list):
        return [visible_schema(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {
            key: visible(item) if key in ("title", "description") and isinstance(item, str) else visible_schema(item)
            for key, item in cast("dict[str, object]", value).items()
        }
    return value


def to_result(result: CallToolResult) -> ToolResult:
    """A call's result: text and media; structured content where there is no other."""
    content = content_of(result.content)
    if not content and result.structured_content is not None:
        content = orjson.dumps(result.structured_content).decode()
    return ToolResult(content or "(no output)", failed=bool(result.is_error))


def content_of(blocks: Sequence[ContentBlock]) -> Content:
    """What a server says, as a message's content: "" for nothing."""
    return joined([_part(block) for block in blocks])


def joined(parts: Sequence[Part]) -> Content:
    """Parts as a message's content: one text where there is nothing else."""
    if all(isinstance(part, TextPart) for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, TextPart))
    return tuple(parts)


def _part(block: ContentBlock) -> Part:
    if block.type == "text":
        return TextPart(block.text)
    if block.type == "image":
        return _media("image", block.mime_type, block.data, "")
    if block.type == "audio":
        return _media("audio", block.mime_type, block.data, "")
    if block.type == "resource_link":
        title = block.title or block.name
        return TextPart(f"[{title}: {block.uri}]" + (f" {block.description}" if block.description else ""))
    return resource_part(block.resource)


def resource_part(resource: TextResourceContents | BlobResourceContents) -> Part:
    """The contents of a resource: text, media, or a line about what cannot be shown."""
    from mcp_types import TextResourceContents

    if isinstance(resource, TextResourceContents):
        return TextPart(resource.text)
    mime = resource.mime_type or "application/octet-stream"
    return _media(mime.partition("/")[0], mime, resource.blob, resource.uri)


def _media(kind: str, mime: str, data: str, uri: str) -> Part:
    """Media that a model can take, of bearable size; else a line about it.

    Args:
        kind: the first half of the type.
        mime: the type.
        data: base64.
        uri: what it is, or "".
    """
    if kind in ("image", "audio", "video") and len(data) <= MAX_MEDIA and _MIME.fullmatch(mime):
        return MediaPart(kind, f"data:{mime};base64,{data}")
    return TextPart(f"[{uri or kind}: {mime[:100]}, {len(data) * 3 // 4} bytes]")
