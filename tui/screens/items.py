"""A list of one-line items in columns, of any length: only the visible lines are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from qianda.tui.transcript.rows import shorten, visible, width_of

T = TypeVar("T")
Tone = Literal["", "muted", "good", "warning", "error"]
TONES = ("muted", "good", "warning", "error")
MARK, NO_MARK, GAP = "▸ ", "  ", "  "
MEASURED = 500
"""Items whose widths decide how wide a column is."""


@dataclass(frozen=True, slots=True)
class Column:
    """How a column is laid out.

    Args:
        grow: it takes what the others leave; one column does.
        most: cells that it takes at most.
        right: its text stands to the right.
        wide: it is left out where there is little room.
    """

    grow: bool = False
    most: int = 30
    right: bool = False
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """A line of a list.

    Args:
        key: names it when the list is made anew.
        cells: a text per column.
        value: what it stands for.
        tone: how it looks; what that says stands in the cells too.
        group: the heading that it stands under, or "".
        words: what else the filter finds it by.
    """

    key: str
    cells: tuple[str, ...]
    value: T
    tone: Tone = ""
    group: str = ""
    words: str = ""


def one_line(text: str) -> str:
    """A text from anywhere as a part of one line."""
    return " ".join(visible(text[:1000]).split())


class ItemList(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows items; the one that is chosen is marked by a sign and a colour.

    Args:
        columns: how the cells are laid out.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"items--{name}" for name in ("at", "group", *TONES)}

    @dataclass
    class Moved(Message):
        """Another item is marked, or none."""

        item: Item[Any] | None

    @dataclass
    class Chosen(Message):
        """An item was chosen with the mouse."""

        item: Item[Any]

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        self._columns = columns
        self._lines: list[Item[Any] | str] = []
        self._widths: list[int] = []
        self.items: list[Item[Any]] = []
        self.at = 0

    @property
    def item(self) -> Item[Any] | None:
        """The marked one."""
        return self.items[self.at] if self.items else None

    def show(self, items: Sequence[Item[Any]], *, grouped: bool = True) -> None:
        """Show other items; the mark stays on the item that has it.

        Args:
            items: all of them.
            grouped: with their headings.
        """
        before = self.item
        self.items, self._lines = list(items), []
        for item in items:
            last = self._lines[-1] if self._lines else None
            if grouped and item.group and not (isinstance(last, Item) and last.group == item.group):
                self._lines.append(item.group)
            self._lines.append(item)
        keys = [item.key for item in items] if before is not None else []
        self.at = keys.index(before.key) if before is not None and before.key in keys else 0
        self._measure()
        self.refresh()
        if self.item != before:
            self.post_message(self.Moved(self.item))

    @property
    def _room(self) -> int:
        """Columns without the scrollbar."""
        return self.scrollable_content_region.width

    def _measure(self) -> None:
        width = self._room - len(MARK) - 1  # not against the scrollbar
        shown = [index for index, column in enumerate(self._columns) if not column.wide or width >= 76]
        sample = self.items[:MEASURED]
        widths = [
            min(max((width_of(one_line(item.cells[index])) for item in sample), default=0), column.most)
            for index, column in enumerate(self._columns)
        ]
        taken = sum(widths[at] + len(GAP) for at in shown if widths[at] and not self._columns[at].grow)
        self._widths = [
            max(width - taken, 8) if self._columns[index].grow else widths[index] if index in shown else 0
            for index in range(len(self._columns))
        ]
        self.virtual_size = Size(self._room, len(self._lines))

    def on_resize(self) -> None:
        """Other widths."""
        self._measure()
        self._reveal()

    def move(self, step: int) -> None:
        """Move the mark."""
        self.go(self.at + step)

    def page(self, direction: int) -> None:
        """Move the mark by a window."""
        self.move(direction * max(self.size.height - 1, 1))

    def go(self, at: int) -> None:
        """Mark an item by its number."""
        at = min(max(at, 0), len(self.items) - 1)
        if self.items and at != self.at:
            self.at = at
            self._reveal()
            self.refresh()
            self.post_message(self.Moved(self.item))

    def _reveal(self) -> None:
        if self.items:
            y = self._lines.index(self.items[self.at]) if len(self._lines) != len(self.items) else self.at
            top = 0 if self.at == 0 else y  # with the heading above the first
            self.scroll_to_region(Region(0, top, 1, y - top + 1), animate=False, force=True)

    def on_click(self, event: events.Click) -> None:
        """A click marks; one on the marked item chooses it."""
        y = event.y + self.scroll_offset.y
        line = self._lines[y] if 0 <= y < len(self._lines) else None
        if not isinstance(line, Item):
            return
        if line is self.item:
            self.post_message(self.Chosen(line))
        else:
            self.go(self.items.index(line))

    def render_line(self, y: int) -> Strip:
        """Draw a line of the window."""
        width, y = self._room, y + self.scroll_offset.y
        line = self._lines[y] if y < len(self._lines) else ""
        base = self.rich_style
        if isinstance(line, str):
            style = base + self._style("group")
            return Strip([Segment(shorten(one_line(line), width), style)]).adjust_cell_length(width, base)
        marked = line is self.item
        style = base + self._style(line.tone) if line.tone else base
        style = style + self._style("at") if marked else style
        text = (MARK if marked else NO_MARK) + self._text(line)
        return Strip([Segment(shorten(text, width), style)]).adjust_cell_length(width, style if marked else base)

    def _style(self, name: str) -> Style:
        partial = self.get_component_rich_style(f"items--{name}", partial=True)
        # Only the whole style has its transparency worked out.
        whole = self.get_component_rich_style(f"items--{name}")
        return partial + Style(color=whole.color) if partial.color is not None else partial

    def _text(self, item: Item[Any]) -> str:
        parts: list[str] = []
        for cell, width, column in zip(item.cells, self._widths, self._columns, strict=False):
            if width:
                text = shorten(one_line(cell), width)
                room = " " * (width - width_of(text))
                parts.append(room + text if column.right else text + room)
        return GAP.join(parts).rstrip()
