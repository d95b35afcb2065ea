"""The status line: one row with the model, the state and the keys that matter now."""

from __future__ import annotations

import time

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from qianda.tui.transcript.blocks import duration
from qianda.tui.transcript.rows import shorten, visible, width_of
from qianda.tui.words import t

FRAMES = "⠋⠙⠸⠴⠦⠇"
FRAME_SECONDS = 1 / 3
LEFT = 22
"""Columns that the keys of a pane leave to what goes on."""
BUSY = ("Enter steers · Ctrl+Q queues · Esc stops", "Enter steers · Esc stops", "Esc stops")
IDLE = ("Enter sends · F1 help · Ctrl+C twice quits", "F1 help · Ctrl+C twice quits", "F1 help")


class StatusLine(Widget):
    """One row. It redraws itself only while something runs, three times a second."""

    BLANK = True

    def __init__(self) -> None:
        super().__init__()
        self.model = ""
        self.tokens = 0
        self.window: int | None = None
        self.waiting = 0
        self.queued = 0
        self.hint = ""
        self.keys: tuple[str, ...] = ()
        self._doing = ""
        self._since = 0.0
        self._frame = 0
        self._ticker: Timer | None = None

    def busy(self, doing: str) -> None:
        """Something runs: say what, with a spinner and a clock."""
        if not self._doing:
            self._since = time.monotonic()
            self._ticker = self.set_interval(FRAME_SECONDS, self._tick)
        if doing != self._doing:
            self._doing = doing
            self.refresh()

    def idle(self) -> None:
        """Nothing runs."""
        self._doing = ""
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None
        self.refresh()

    def say(self, **fields: str | int | tuple[str, ...] | None) -> None:
        """Set ``model``, ``window``, ``tokens``, ``waiting``, ``queued``, ``hint`` or ``keys``: what keys do in a pane, or ()."""
        for name, value in fields.items():
            setattr(self, name, value)
        self.refresh()

    def _tick(self) -> None:
        self._frame = (self._frame + 1) % len(FRAMES)
        self.refresh()

    def line(self, width: int) -> str:
        """What it says; the right part goes first when there is no room."""
        parts = [visible(self.model) or "no model yet"]
        if self.tokens:
            window = f"/{self.window:,}" if self.window else ""
            parts.append(f"{self.tokens:,}{window} tokens")
        if self._doing:
            seconds = time.monotonic() - self._since
            clock = f" {duration(int(seconds))}" if seconds >= 1 else ""
            parts.insert(0, f"{FRAMES[self._frame]} {self._doing}{clock}")
        if self.waiting:
            parts.append(f"{self.waiting} waiting to be read")
        if self.queued:
            parts.append(t("{count} queued", count=self.queued))
        left = " " + " · ".join(parts)
        room = width - width_of(left) - 2
        if self.hint or self.keys:  # matter more than what stands there all the time
            right = self.hint or next((text for text in self.keys if width_of(text) <= width - LEFT), "")
            left = shorten(left, max(width - width_of(right) - 2, 8))
        else:
            keys = BUSY if self._doing else IDLE
            right = next((text for text in keys if width_of(text) <= room), "")
        gap = width - width_of(left) - width_of(right) - 1
        return left + " " * gap + right if gap > 0 else shorten(left, width)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw the row."""
        width = self.size.width
        text = self.line(width)
        strip = Strip([Segment(text, self.rich_style)]).adjust_cell_length(width, self.rich_style)
        for line_filter in self.get_line_filters():
            strip = strip.apply_filter(line_filter, self.background_colors[1])
        return [strip.crop(crop.x, crop.right)] * crop.height
