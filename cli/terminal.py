"""What the terminal can show: colours, symbols, widths, and text made harmless."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import Literal, TextIO

Style = Literal["dim", "call", "done", "failed", "denied", "ask"]

_CODES: dict[Style, str] = {
    "dim": "2",
    "call": "36",
    "done": "32",
    "failed": "31",
    "denied": "33",
    "ask": "1;35",
}

_SYMBOLS = {  # as they are, in ASCII, in words
    "call": ("→", "->", "call:"),
    "done": ("✓", "+", "done:"),
    "failed": ("✗", "x", "failed:"),
    "denied": ("⊘", "!", "denied:"),
    "retry": ("↻", "~", "again:"),
    "note": ("·", "-", "note:"),
    "more": ("…", "...", "..."),
    "doing": ("▸", ">", "doing:"),
    "pending": ("○", "o", "to do:"),
    "skipped": ("⊘", "!", "skipped:"),
}

_UNCUT = 2_000

# Everything that moves the cursor, starts an escape sequence or reorders the text around it. Tabs and line ends stay.
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HARMLESS: dict[int, str] = {
    code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _CONTROLS if chr(code) not in "\n\t"
}
_HARMLESS[ord("\r")] = ""


def clean(text: str) -> str:
    """``text`` with control characters written out, so that no model or tool can steer the terminal."""
    return text.translate(_HARMLESS)


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a command writes, and what can be shown there.

    Args:
        out: where the answer goes.
        err: where problems go.
        interactive: ``out`` is a terminal.
        colour: ``out`` takes colours.
        unicode: ``out`` takes more than ASCII.
        words: marks are words, and lines are not cut: for who listens to them.
    """

    out: TextIO
    err: TextIO
    interactive: bool
    colour: bool
    unicode: bool
    words: bool = False

    @classmethod
    def current(cls) -> Terminal:
        """The one that this process was started in."""
        interactive = is_terminal(sys.stdout)
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "dumb") == "dumb"
        encoding = (sys.stdout.encoding or "ascii").replace("-", "").lower() if interactive else "utf8"
        return cls(sys.stdout, sys.stderr, interactive, interactive and not plain, encoding.startswith("utf"))

    def style(self, text: str, style: Style) -> str:
        """``text`` in a style, where colours are taken."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.colour and text else text

    def symbol(self, name: str) -> str:
        """One of the marks before a line: call, done, failed, denied, retry, note, more, and of a plan's steps."""
        return _SYMBOLS[name][2 if self.words else 0 if self.unicode else 1]

    @property
    def columns(self) -> int:
        """The terminal's width in cells, where lines are cut."""
        if self.words:
            return _UNCUT
        return max(20, shutil.get_terminal_size((100, 24)).columns)

    def one_line(self, text: str, cells: int) -> str:
        """``text`` made harmless, on one line of at most ``cells`` cells."""
        # A line of n cells never needs more than a few characters per cell; the rest need not be looked at.
        line = " ".join(clean(text[: 8 * cells + 80]).split())
        if len(text) <= 8 * cells + 80 and width(line) <= cells:
            return line
        more = self.symbol("more")
        room = cells - len(more)
        kept: list[str] = []
        for character in line:
            room -= width(character)
            if room < 0:
                break
            kept.append(character)
        return "".join(kept).rstrip() + more


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is there, open, and a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def width(text: str) -> int:
    """How many terminal cells ``text`` takes: wide East Asian characters two, combining marks none."""
    if text.isascii():
        return len(text)
    import unicodedata

    def cells(character: str) -> int:
        if unicodedata.category(character) in ("Mn", "Me", "Cf"):
            return 0
        return 2 if unicodedata.east_asian_width(character) in "WF" else 1

    return sum(cells(character) for character in text)
