"""Images, audio and video on the wire: their shapes per kind of server, and the bounds that models and servers set."""

from __future__ import annotations

import binascii
import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from qianda.models.errors import ConfigurationError
from qianda.models.messages import MediaPart, Message, Part, TextPart, ToolMessage, UserMessage
from qianda.models.servers import ServerKind

SHORTEST_SIDE = 11
LONGEST_RATIO = 200
_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "vnd.wave": "wav", "mp4": "m4a"}
_NO_SIZE = range(0xD0, 0xDA)  # JPEG markers without a length (RST, SOI), and those that end the header (EOI, SOS)
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # between the start-of-frame markers, but not of them


def media_body(part: MediaPart, kind: ServerKind) -> list[dict[str, Any]]:
    """A media part in the shape that a kind of server takes; several where a video goes as its frames.

    Sources: Model Studio's pages on image, video and audio understanding; vLLM's and llama.cpp's multimodal manuals.
    """
    if part.type == "audio" and (kind.audio == "url" or part.url.startswith("data:")):
        head, _, data = part.url.partition(",")
        name = head.removeprefix("data:").partition(";")[0].partition("/")[2]
        sound = {"data": data, "format": _FORMATS.get(name, name)}
        if kind.audio == "url":
            ending = part.url.rpartition(".")[2].lower()
            sound = sound | {"data": f"data:;base64,{data}"} if data else {"data": part.url, "format": ending}
        return [{"type": "input_audio", "input_audio": sound}]
    if part.frames and kind.frames:
        return [{"type": "video", "video": list(part.frames), "fps": part.fps}]
    name = "image_url" if part.frames else f"{part.type}_url"
    return [{"type": name, name: {"url": url}} for url in part.frames or (part.url,)]


def media_problem(part: MediaPart, kind: ServerKind) -> str:
    """Why a server or a Qwen model will not take a media part, in one sentence; "" when nothing is known against it."""
    for url in part.frames or (part.url,):
        _, mark, data = url.partition(";base64,")
        if not mark:
            continue
        if kind.media_bytes and len(data) > kind.media_bytes:
            return (
                f"the {part.type} has {len(data) / 1e6:.1f} MB in base64; {kind.title} takes at most "
                f"{kind.media_bytes / 1e6:g} MB, larger ones only by an https address"
            )
        size = image_size(data) if part.type == "image" or part.frames else None
        if size and min(size) < SHORTEST_SIDE:
            return f"the image has {size[0]} × {size[1]} pixels; Qwen models need sides of more than 10"
        if size and max(size) > LONGEST_RATIO * min(size):
            return f"the image has {size[0]} × {size[1]} pixels; Qwen models take ratios up to {LONGEST_RATIO}:1"
    return ""


class MediaGate:
    """Lets through what the server and the model take, over one conversation.

    Args:
        kind: the server.
        model: its name there; "" when it does not matter.
    """

    def __init__(self, kind: ServerKind, model: str = "") -> None:
        self._kind = kind
        self._model = model
        self._images = 0

    def message(self, message: Message) -> Message:
        """The message; of a tool's result, what will not be taken is left out, with a word that says why.

        Raises:
            ConfigurationError: the user's message holds such a thing.
        """
        if isinstance(message.content, str):
            return message
        parts: list[Part] = []
        for part in message.content:
            problem = self._problem(part, message) if isinstance(part, MediaPart) else ""
            if problem and not isinstance(message, ToolMessage):
                raise ConfigurationError(problem[0].upper() + problem[1:], cure="Leave it out, or change its size")
            parts.append(TextPart(f"[left out: {problem}]") if problem else part)
        return replace(message, content=tuple(parts))

    @cached_property
    def _reads(self) -> tuple[str, ...]:
        """What the model reads; anything, where its name does not say."""
        from qianda.models.catalog.entries import understand

        named = understand(self._model)
        return named.model.input if named.model and not named.derived else ("image", "audio", "video")

    def _problem(self, part: MediaPart, message: Message) -> str:
        # A person who sends an image knows the model, whatever its name is; a tool does not.
        if isinstance(message, ToolMessage) and part.type not in self._reads:
            return f"{self._model} does not read any {part.type}"
        images = len(part.frames) if part.frames else int(part.type == "image")
        if self._kind.images and images and self._images + images > self._kind.images:
            return f"the conversation has more than {self._kind.images} images, all that {self._kind.title} takes"
        problem = media_problem(part, self._kind)
        self._images += 0 if problem else images
        return problem


def shown_after(results: Sequence[ToolMessage]) -> UserMessage | None:
    """The media of neighbouring tool results, for servers whose tool results are text; None when there are none."""
    parts: list[Part] = []
    for result in results:
        media = [part for part in result.content if isinstance(part, MediaPart)]
        if media:
            parts += [TextPart(f"What {result.name} returned:"), *media]
    return UserMessage(tuple(parts)) if parts else None


def image_size(data: str) -> tuple[int, int] | None:
    """Width and height in pixels of a base64 PNG, JPEG, GIF, WebP or BMP; None when it cannot be told."""
    try:
        content = binascii.a2b_base64(data)
        return _size(content)
    except (binascii.Error, ValueError, struct.error, IndexError):
        return None


def _size(content: bytes) -> tuple[int, int] | None:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return struct.unpack_from(">II", content, 16)
    if content.startswith(b"GIF8"):
        return struct.unpack_from("<HH", content, 6)
    if content.startswith(b"BM"):
        width, height = struct.unpack_from("<ii", content, 18)
        return width, abs(height)
    if content.startswith(b"\xff\xd8"):
        return _jpeg_size(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp_size(content)
    return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    at = 2
    while content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker in _NO_SIZE:
            return None
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    return None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    match content[12:16]:
        case b"VP8X":
            sides = content[24:27], content[27:30]
            return int.from_bytes(sides[0], "little") + 1, int.from_bytes(sides[1], "little") + 1
        case b"VP8L":
            bits = struct.unpack_from("<I", content, 21)[0]
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None
