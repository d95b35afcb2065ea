"""Images in the transcript: by kitty's protocol where the terminal is known to speak it, else in half blocks.

Which terminal it is comes from its environment: asking it could block the start, or print what it does not understand.
Kitty's Unicode placeholders are text like any other, so such an image scrolls and is cut as text does. Sixel and iTerm2
draw over the text instead; there, and in tmux, images are half blocks.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from qianda.tui.transcript.blocks import GUTTER, Block
from qianda.tui.transcript.rows import Row, Run, shorten, visible, width_of
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.models.messages import Content

MOST_COLUMNS, MOST_ROWS = 80, 16
PIXELS = 8, 16
"""Of a terminal's cell; only the proportion matters, and how detailed what kitty gets is."""
_PIECE = 4096  # of a transmission, as kitty wants it
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")  # no format that another program would be started for
_PLACEHOLDER = "\U0010eeee"
# Row and column numbers of placeholders, as far as they are needed.
# Source: https://sw.kovidgoyal.net/kitty/_downloads/f0a0de9ec8d9ff4456206db8e0814937/rowcolumn-diacritics.txt
_NUMBERS = "\u0305\u030d\u030e\u0310\u0312\u033d\u033e\u033f\u0346\u034a\u034b\u034c\u0350\u0351\u0352\u0357"
_ids = count(os.getpid() % 50_000 * 256 + 1)


def speaks_kitty(environment: Mapping[str, str]) -> bool:
    """Whether the terminal draws images at Unicode placeholders: kitty and Ghostty, not from within tmux or screen."""
    terminal = f"{environment.get('TERM', '')} {environment.get('TERM_PROGRAM', '')}"
    return (
        not environment.get("TMUX")
        and not environment.get("NO_COLOR")
        and environment.get("COLORTERM") in ("truecolor", "24bit")  # the image's number is a colour
        and any(name in terminal for name in ("xterm-kitty", "ghostty"))
    )


class ImageBlock(Block):
    """An image and, above it, what it is.

    Args:
        data: the file; b"" when there is only an address.
        name: what it is called.
    """

    foldable = True

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(gap=False)
        self.data = data
        self.name = name
        self._id = next(_ids) & 0xFFFFFF
        self._data_for_kitty = ""

    def take_data(self) -> str:
        """What the terminal has to get with the rows as they are now, once; "" afterwards."""
        data, self._data_for_kitty = self._data_for_kitty, ""
        return data

    def _build(self, width: int) -> list[Row]:
        image, facts = _opened(self.data)
        caption = shorten(visible(f"{'▸' if self.folded else '▣'} {self.name}{facts}"), width - len(GUTTER))
        head: list[Run] = [(GUTTER, ""), (caption, f"call-note @toggle={self.serial}")]
        rows = [Row(tuple(head), len(GUTTER) + width_of(caption), pad=len(GUTTER))]
        if image is None or self.folded or os.environ.get("NO_COLOR"):
            return rows
        columns, lines = _cells(image.size, width - len(GUTTER))
        if speaks_kitty(os.environ):
            return rows + self._placeholders(image, columns, lines)
        return rows + _half_blocks(image, columns, lines)

    def _size(self) -> tuple[int, int]:
        return 0, 1 if self.folded or not self.data else MOST_ROWS // 2

    def _placeholders(self, image: Any, columns: int, lines: int) -> list[Row]:
        self._data_for_kitty = _transmission(image, self._id, columns, lines)
        rows: list[Row] = []
        for line in range(lines):
            # A placeholder without a column number stands right of the one before.
            text = _PLACEHOLDER + _NUMBERS[line] + _NUMBERS[0] + _PLACEHOLDER * (columns - 1)
            runs = ((GUTTER, ""), (text, f"pixel={self._id:06x}"))
            rows.append(Row(runs, len(GUTTER) + columns, "", len(GUTTER) + len(text)))
        return rows


def image_blocks(content: Content) -> list[Block]:
    """The images of a message; one that is only an address is named, never fetched."""
    from qianda.models.messages import MediaPart

    blocks: list[Block] = []
    for part in content if not isinstance(content, str) else ():
        if not isinstance(part, MediaPart) or part.type != "image":
            continue
        mime, found, encoded = part.url.removeprefix("data:").partition(";base64,")
        try:
            data = base64.b64decode(encoded) if found else b""
        except ValueError:
            data = b""
        blocks.append(ImageBlock(data, mime.rpartition("/")[2].upper() if found else part.url))
    return blocks


def _opened(data: bytes) -> tuple[Any, str]:
    """The image, or None where it cannot be shown; and what to say of it."""
    if not data:
        return None, ""
    size = f" · {len(data) / 1000:,.0f} KB"
    try:
        from PIL import Image
    except ImportError:
        return None, size + " · " + t("to see it: {command}", command="pip install 'qianda[images]'")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        facts = f" · {image.width} × {image.height}{size}"
        image.draft("RGB", (MOST_COLUMNS * PIXELS[0], MOST_ROWS * PIXELS[1]))
        return image.convert("RGBA"), facts
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None, size + " · " + t("it cannot be read")


def _cells(size: tuple[int, int], room: int) -> tuple[int, int]:
    """Columns and rows of an image: its proportion kept, never enlarged beyond its pixels."""
    width, height = size
    columns = max(min(MOST_COLUMNS, room, width), 1)
    lines = max(round(columns * height / max(width, 1) * PIXELS[0] / PIXELS[1]), 1)
    if lines > MOST_ROWS:
        columns, lines = max(columns * MOST_ROWS // lines, 1), MOST_ROWS
    return columns, lines


def _half_blocks(image: Any, columns: int, lines: int) -> list[Row]:
    """Two pixels per cell; what is transparent shows the background."""
    pixels = image.resize((columns, 2 * lines)).tobytes()

    def colour(column: int, line: int) -> str:
        at = 4 * (line * columns + column)
        # Colours a little apart look alike; runs of one style are cheaper.
        return "".join(f"{value & 0xF8:02x}" for value in pixels[at : at + 3]) if pixels[at + 3] > 127 else ""

    rows: list[Row] = []
    for line in range(lines):
        runs: list[Run] = [(GUTTER, "")]
        for column in range(columns):
            upper, lower = colour(column, 2 * line), colour(column, 2 * line + 1)
            text = "▀" if upper else "▄" if lower else " "
            style = f"pixel={upper},{lower}" if upper else f"pixel={lower}" if lower else ""
            runs[-1:] = [(runs[-1][0] + text, style)] if runs[-1][1] == style and style else [runs[-1], (text, style)]
        rows.append(Row(tuple(runs), len(GUTTER) + columns, "", len(GUTTER) + columns))
    return rows


def _transmission(image: Any, number: int, columns: int, lines: int) -> str:
    """The image as PNG in kitty's escape sequences, and where its placeholders lead."""
    file = io.BytesIO()
    image.resize((columns * PIXELS[0], lines * PIXELS[1])).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
    sent = [
        f"\x1b_G{f'a=t,f=100,i={number},q=2,' if not at else ''}m={int(at < len(pieces) - 1)};{piece}\x1b\\"
        for at, piece in enumerate(pieces)
    ]
    # Its number may have been drawn before, at another size.
    return "".join(
        [f"\x1b_Ga=d,d=I,i={number},q=2\x1b\\", *sent, f"\x1b_Ga=p,U=1,i={number},c={columns},r={lines},q=2\x1b\\"]
    )
