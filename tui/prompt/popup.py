"""The list above the prompt: what the word at the cursor could become, or what can be done about the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from qianda.tui.transcript.rows import shorten, visible, width_of

MOST_ROWS = 8
WIDEST = 40
"""Columns of the names; the rest is for what they are."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One row.

    Args:
        text: what it is called.
        detail: what it is.
        insert: what takes the place of the word at the cursor.
        inside: what takes its place when Tab goes further in, as into a folder; "" where there is no inside.
        sends: Enter sends the prompt at once.
        does: done in the place of all that.
    """

    text: str
    detail: str = ""
    insert: str = ""
    inside: str = ""
    sends: bool = False
    does: Callable[[], None] | None = None


class Popup(Widget):
    """A list with one row marked. It never has the focus: the editor passes on the keys.

    Attributes:
        items: what there is to choose from; nothing while it is closed.
        at: the marked one.
        word: what they are for.
        clicked: called when a row was clicked, which is marked then.
    """

    BLANK = True
    COMPONENT_CLASSES: ClassVar[set[str]] = {"popup--marked", "popup--detail"}

    def __init__(self) -> None:
        super().__init__()
        self.items: Sequence[Suggestion] = ()
        self.at = 0
        self.word: object = None
        self.clicked: Callable[[], None] = lambda: None
        self._top = 0
        self.display = False

    @property
    def current(self) -> Suggestion | None:
        """The marked row, while it is open."""
        return self.items[self.at] if self.items else None

    def show(self, items: Sequence[Suggestion], word: object) -> None:
        """Open it, or close it when there is nothing to show.

        Args:
            items: the rows, the best first.
            word: what they are for; the mark stays on its row while that is the same.
        """
        marked = self.current if word == self.word else None
        self.items, self.word = items, word
        self.at = items.index(marked) if marked in items else 0
        self._top = 0
        self._scroll()
        self.display = bool(items)
        self.styles.height = min(len(items), MOST_ROWS)
        self.refresh()

    def close(self) -> None:
        """Take it away."""
        if self.items:
            self.show((), None)

    def step(self, rows: int) -> None:
        """Move the mark, round the ends."""
        self.at = (self.at + rows) % max(len(self.items), 1)
        self._scroll()
        self.refresh()

    def _scroll(self) -> None:
        self._top = min(max(self._top, self.at - MOST_ROWS + 1), self.at)

    def on_click(self, event: events.Click) -> None:
        """Choose a row."""
        event.stop()
        if self._top + event.y < len(self.items):
            self.at = self._top + event.y
            self.clicked()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Wheel."""
        event.stop()
        self.step(1)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Wheel."""
        event.stop()
        self.step(-1)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw the rows."""
        width = self.size.width
        shown = self.items[self._top : self._top + self.size.height]
        names = min(max((width_of(visible(item.text)) for item in shown), default=0), max(WIDEST, width // 2))
        strips = [self._row(item, item is self.current, names, width) for item in shown]
        strips += [Strip.blank(width, self.rich_style)] * (self.size.height - len(strips))
        for line_filter in self.get_line_filters():
            strips = [strip.apply_filter(line_filter, self.background_colors[1]) for strip in strips]
        return [strip.crop(crop.x, crop.right) for strip in strips[crop.y : crop.bottom]]

    def _row(self, item: Suggestion, marked: bool, names: int, width: int) -> Strip:
        name = shorten(visible(item.text), names if item.detail else width - 3)
        detail = shorten(" ".join(visible(item.detail).split()), max(width - names - 5, 0))
        gap = " " * (names - width_of(name) + 2) if detail else ""
        style = self.get_component_rich_style("popup--marked") if marked else self.rich_style
        quiet = style if marked else self.get_component_rich_style("popup--detail")
        left = f"{'›' if marked else ' '} {name}{gap}"
        return Strip([Segment(left, style), Segment(detail, quiet)]).adjust_cell_length(width, style)
