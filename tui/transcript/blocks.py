"""Blocks: what the transcript is a flat list of. Each knows its source and how to lay it out at a width."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Literal

from qianda.tui.transcript.rows import BLANK_ROW, Row, flow_text, visible, width_of
from qianda.tui.words import t

GUTTER = "  "
SAID_LINES = 12
SAID_CHARACTERS = 1_000
"""What is shown of a long prompt."""
_ATTACHED = re.compile(r'\n\n<(?:file|folder|command) name="([^"\n]*)">\n')


@dataclass(slots=True)
class Look:
    """How people want to see things.

    Args:
        split: differences side by side, where the width allows it.
        thinking: whole thoughts stay open when they end.
    """

    split: bool = False
    thinking: bool = False


class Block:
    """Base of all blocks.

    Attributes:
        serial: grows along the transcript; the selection is keyed by it. Given by the stack.
        rows: laid out at ``width``, or None.
        height: rows that it takes at ``width``; an estimate while ``exact`` is false.
        width: columns that the height belongs to; 0 before the first layout.
        foldable: it can be shown short or whole; ``folded`` says which.
        keeps_end: it changes in the middle: who reads its end while it changes goes on reading its end.
        gap: blank rows before it.
        look: how it is wanted. Given by the stack.
    """

    look = Look()
    foldable = False
    keeps_end = False
    lazy = False

    def __init__(self, *, gap: bool = True) -> None:
        self.serial = 0
        self.rows: list[Row] | None = None
        self.height = 0
        self.width = 0
        self.exact = False
        self.folded = False
        self.gap = gap

    def _build(self, width: int) -> list[Row]:
        """The rows at this width, without the gap."""
        raise NotImplementedError

    def _size(self) -> tuple[int, int]:
        """Characters and lines, for the estimate."""
        raise NotImplementedError

    def layout(self, width: int) -> list[Row]:
        """The rows at this width, made when they are not there."""
        if self.rows is None or self.width != width:
            rows = self._build(width)
            self.rows = [BLANK_ROW, *rows] if self.gap and rows else rows
            self.height, self.width, self.exact = len(self.rows), width, True
        return self.rows

    @property
    def lines(self) -> int:
        """Lines of its source."""
        return self._size()[1]

    def estimate(self, width: int) -> None:
        """A height without laying out."""
        characters, lines = self._size()
        self.rows, self.width, self.exact = None, width, False
        self.height = lines + characters // max(width, 1) + self.gap

    def changed(self) -> None:
        """The source changed: the rows are void."""
        self.rows = None

    def expand(self) -> list[Block]:
        """The blocks that this one stands for, at least one: itself, unless it is lazy."""
        return [self]

    def placed(self) -> None:
        """It has its place in the stack, and its look."""

    def seen(self) -> None:
        """It is on the screen: the time for what is too dear for blocks that nobody looks at."""

    def toggle(self) -> list[Block]:
        """Fold or open; the blocks that look different now."""
        self.folded = not self.folded
        self.changed()
        return [self]


class UserBlock(Block):
    """What the person said; what goes with it and the rest of a long text fold to a line."""

    def __init__(self, text: str, *, steering: bool = False) -> None:
        super().__init__()
        self.mark = "» " if steering else "› "
        self.say(text)

    def say(self, text: str) -> None:
        """Another text."""
        self.text = text
        found = _ATTACHED.search(text)
        said = text if found is None else text[: found.start()]
        lines = said[:SAID_CHARACTERS].split("\n")
        self._head = "\n".join(lines[:SAID_LINES])
        left = said.count("\n") + 1 - len(lines[:SAID_LINES])
        long = left > 0 or len(said) > SAID_CHARACTERS
        more = t("{count} more characters", count=f"{len(said) - len(self._head):,}") if long else ""
        names = ", ".join(name for name in dict.fromkeys(_ATTACHED.findall(text[len(said) :])))
        self._note = " · ".join(filter(None, (more, names and t("with {names}", names=names))))
        self.foldable = self.folded = bool(self._note)
        self.changed()

    def _build(self, width: int) -> list[Row]:
        text = self._head if self.folded else self.text
        rows = flow_text(text, width, "user", prefix=self.mark, prefix_style="user-mark")
        first = rows[0]
        others = [row._replace(runs=((GUTTER, "user"), *row.runs[1:]), fill="user") for row in rows[1:]]
        shown = [first._replace(fill="user"), *others]
        if self._note:
            note = f"{GUTTER}{'▸' if self.folded else '▾'} {visible(self._note)}"
            shown += flow_text(note, width, f"thinking-head @toggle={self.serial}")
        return shown

    def _size(self) -> tuple[int, int]:
        text = self._head if self.folded else self.text
        return len(text), text.count("\n") + 1 + bool(self._note)


class NoticeBlock(Block):
    """A line from the program itself."""

    def __init__(self, text: str, level: Literal["info", "warning", "error"] = "info") -> None:
        super().__init__()
        self.text = text
        self.level = level

    def _build(self, width: int) -> list[Row]:
        mark = {"info": "· ", "warning": "! ", "error": "✗ "}[self.level]
        style = f"notice-{self.level}"
        rows = flow_text(self.text, width, style, prefix=GUTTER)
        rows[0] = rows[0]._replace(runs=((mark, style), *rows[0].runs[1:]))
        return rows

    def _size(self) -> tuple[int, int]:
        return len(self.text), self.text.count("\n") + 1


class ThinkingBlock(Block):
    """The model's reasoning: open while it runs, folded to one line afterwards."""

    foldable = True

    def __init__(self) -> None:
        super().__init__()
        self.started = time.monotonic()
        self.seconds: float | None = None
        self.pinned = False  # the person opened or folded it, so it stays so
        self._done: list[str] = []
        self._done_rows: list[Row] = []
        self._rows_width = 0
        self._last = ""

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join([*self._done, self._last])

    def feed(self, text: str) -> None:
        """More reasoning; only the last source line will be wrapped again."""
        *lines, self._last = (self._last + text).split("\n")
        for line in lines:
            self._done.append(line)
            if self._rows_width:
                self._done_rows += self._wrap(line, self._rows_width)
        self.changed()

    def finish(self, seconds: float | None = None) -> None:
        """It ended; folded unless the person chose otherwise."""
        if self.seconds is None:
            self.seconds = time.monotonic() - self.started if seconds is None else seconds
            self.placed()
            self._done_rows, self._rows_width = [], 0
            self.changed()

    def placed(self) -> None:
        """When it has ended: folded, unless the person wants it otherwise."""
        if self.seconds is not None and not self.pinned:
            self.folded = not self.look.thinking

    def toggle(self) -> list[Block]:
        """Fold or open, and leave it so when the thinking ends."""
        self.pinned = True
        return super().toggle()

    def _build(self, width: int) -> list[Row]:
        if self.seconds is None:
            title = t("Thinking…")
        elif self.seconds < 0:
            title = t("Thought")
        else:
            title = t("Thought for {time}", time=duration(self.seconds))
        title = f"{'▸' if self.folded else '▾'} {title}"
        head = Row(((title, f"thinking-head @toggle={self.serial}"),), width_of(title))
        if self.folded:
            return [head]
        if self.seconds is None:
            if self._rows_width != width:
                self._rows_width = width
                self._done_rows = [row for line in self._done for row in self._wrap(line, width)]
            return [head, *self._done_rows, *(self._wrap(self._last, width) if self._last else [])]
        return [head, *(row for line in self.text.strip("\n").split("\n") for row in self._wrap(line, width))]

    def _size(self) -> tuple[int, int]:
        return (0, 1) if self.folded else (sum(map(len, self._done)) + len(self._last), len(self._done) + 2)

    @staticmethod
    def _wrap(line: str, width: int) -> list[Row]:
        return flow_text(line, width, "thinking", prefix=GUTTER)


def duration(seconds: float) -> str:
    """A duration for people: ``20 ms``, ``0.4 s``, ``12 s``, ``3 min 05 s``."""
    if seconds < 0.095:
        return t("{number} ms", number=f"{seconds * 1000:.0f}")
    if seconds < 119.5:
        return t("{number} s", number=f"{seconds:.{1 if seconds < 9.95 else 0}f}")
    minutes, rest = divmod(round(seconds), 60)
    return t("{minutes} min {seconds} s", minutes=minutes, seconds=f"{rest:02}")
