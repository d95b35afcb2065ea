"""The rows above the prompt: what is queued, and what the model gets with the next prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from qianda.tui.transcript.rows import shorten, visible

MOST_ROWS = 4


class Waiting(Widget):
    """A line each; the first ones where there are many. A click takes one back."""

    BLANK = True

    @dataclass
    class Taken(Message):
        """A row was clicked."""

        at: int

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[str] = []
        self.display = False

    def show(self, rows: Sequence[str]) -> None:
        """Show these."""
        more = len(rows) - MOST_ROWS
        self._rows = [*rows[: MOST_ROWS - 1], f"… +{more + 1}"] if more > 0 else list(rows)
        self.display = bool(rows)
        self.styles.height = len(self._rows)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Take it back."""
        event.stop()
        self.post_message(self.Taken(event.y))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw the rows."""
        width = self.size.width
        lines = [shorten(" " + " ".join(visible(row).split()), width - 1) for row in self._rows]
        strips = [Strip([Segment(line, self.rich_style)]).adjust_cell_length(width, self.rich_style) for line in lines]
        strips += [Strip.blank(width, self.rich_style)] * (self.size.height - len(strips))
        for line_filter in self.get_line_filters():
            strips = [strip.apply_filter(line_filter, self.background_colors[1]) for strip in strips]
        return [strip.crop(crop.x, crop.right) for strip in strips[crop.y : crop.bottom]]
