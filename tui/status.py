"""The status line: one row with what goes on, the model, tokens and cost, mode, folder, and the keys that matter."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

from qianda.tui.transcript.blocks import duration
from qianda.tui.transcript.rows import shorten, visible, width_of
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.models.messages import Usage

FRAMES = "⠋⠙⠸⠴⠦⠇"
FRAME_SECONDS = 1 / 3
LEFT = 22
"""Columns that the keys of a pane leave to what goes on."""
BUSY = ("Enter steers · Ctrl+Q queues · Esc stops", "Enter steers · Esc stops", "Esc stops")
IDLE = ("Enter sends · F1 help · Ctrl+C twice quits", "F1 help · Ctrl+C twice quits", "F1 help")
SILENT = 5.0
"""Seconds without a piece of a reply after which one wants to know that none comes."""
SHORT = 0.2
"""Seconds of a reply under which its speed says nothing."""


class StatusLine(Widget):
    """One row. It redraws itself only while something runs, three times a second.

    Attributes:
        model: its name and what it runs on, or "".
        prices: the model's name in the table of prices, or "" where requests cost nothing that is known.
        window: tokens that the model can take.
        tokens: of the last request.
        speed: tokens a second of the last reply, or 0.
        spent: USD since the chat was opened.
        mode: what tools may do unasked.
        thinking: on, off, how much; "" where nobody said.
        place: the folder and its branch.
        waiting: messages that the model has not read.
        queued: prompts for later.
        hint: something said for a moment.
        keys: what keys do in a pane, whole and shorter, or ().
    """

    BLANK = True

    def __init__(self) -> None:
        super().__init__()
        self.model = self.prices = self.mode = self.thinking = self.place = self.hint = ""
        self.window: int | None = None
        self.tokens = self.waiting = self.queued = 0
        self.speed = self.spent = 0.0
        self.keys: tuple[str, ...] = ()
        self._doing = ""
        self._since = self._heard = 0.0
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

    def heard(self) -> None:
        """A piece of the reply came."""
        self._heard = time.monotonic()

    def idle(self) -> None:
        """Nothing runs."""
        self._doing = ""
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None
        self.refresh()

    def say(self, **attributes: Any) -> None:
        """Set some of the attributes."""
        for name, value in attributes.items():
            setattr(self, name, value)
        self.refresh()

    def count(self, request: Usage, seconds: float) -> None:
        """A reply is there.

        Args:
            request: its tokens.
            seconds: from its first piece to its last.
        """
        self.tokens = request.total_tokens
        self.speed = request.output_tokens / seconds if seconds > SHORT else 0.0
        if self.prices:
            from qianda.models.catalog.prices import cost

            self.spent += cost(request, self.prices) or 0.0
        self.refresh()

    def _tick(self) -> None:
        self._frame = (self._frame + 1) % len(FRAMES)
        self.refresh()

    def _parts(self) -> list[str]:
        """What there is to say, what matters most first."""
        doing = ""
        if self._doing:
            now = time.monotonic()
            seconds, silent = now - self._since, now - self._heard
            doing = f"{FRAMES[self._frame]} {self._doing}" + (f" {duration(int(seconds))}" if seconds >= 1 else "")
            if silent >= SILENT and self._doing in (t("thinking"), t("answering"), t("writing a call")):
                doing += ", " + t("silent for {time}", time=duration(int(silent)))
        tokens = f"{self.tokens:,}" + (f"/{self.window:,}" if self.window else "") if self.tokens else ""
        model = visible(self.model) or t("no model yet")
        waits = [
            t("{number} waiting to be read", number=self.waiting) if self.waiting else "",
            t("{number} queued", number=self.queued) if self.queued else "",
        ]
        tokens = t("{tokens} tokens", tokens=tokens) if tokens else ""
        return [doing, *waits, model, tokens] if doing else [model, *waits, tokens]

    def _more(self) -> list[str]:
        """What is said where there is room, likewise."""
        return [
            self.mode,
            f"${self.spent:.4f}" if self.spent else "",
            visible(self.place),
            self.thinking,
            t("{number} tokens/s", number=round(self.speed)) if self.speed else "",
        ]

    def line(self, width: int) -> str:
        """What it says; what matters least goes first when there is no room."""
        parts = [part for part in self._parts() if part]
        left = " " + " · ".join(parts)
        if self.hint or self.keys:  # matter more than what stands there all the time
            right = self.hint or next((text for text in self.keys if width_of(text) <= width - LEFT), "")
            left = shorten(left, max(width - width_of(right) - 2, 8))
        else:
            keys = [t(text) for text in (BUSY if self._doing else IDLE)]
            right = next((text for text in keys if width_of(text) <= width - width_of(left) - 2), "")
            if self._doing and not right and width > LEFT + width_of(keys[-1]):  # how to stop it stays in sight
                right = keys[-1]
                left = shorten(left, width - width_of(right) - 2)
        for part in filter(None, self._more()):
            if width_of(left) + width_of(part) + 3 <= width - width_of(right) - 2:
                left += f" · {part}"
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
