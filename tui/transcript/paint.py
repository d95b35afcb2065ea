"""Painting rows: style names to terminal styles, rows to strips, selection and scrollbar included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.segment import ControlType, Segment
from rich.style import Style
from textual.strip import Strip

from qianda.tui.transcript.rows import BLANK_ROW, Row

COMPONENTS = (
    "user",
    "user-mark",
    "thinking",
    "thinking-head",
    "strong",
    "em",
    "strike",
    "code",
    "link",
    "heading",
    "h1",
    "h2",
    "bullet",
    "quote-bar",
    "rule",
    "code-block",
    "code-label",
    "code-copy",
    "math",
    "found",
    "found-now",
    "code-comment",
    "code-keyword",
    "code-string",
    "code-number",
    "code-name",
    "code-builtin",
    "code-deleted",
    "code-inserted",
    "call-writing",
    "call-running",
    "call-asking",
    "call-done",
    "call-failed",
    "call-denied",
    "call-stopped",
    "call-failed-text",
    "call-denied-text",
    "call-stopped-text",
    "call-name",
    "call-arguments",
    "call-result",
    "call-note",
    "diff-added",
    "diff-removed",
    "diff-added-word",
    "diff-removed-word",
    "diff-number",
    "diff-more",
    "diff-less",
    "plan-title",
    "plan-pending",
    "plan-doing",
    "plan-done",
    "plan-failed",
    "plan-skipped",
    "notice-info",
    "notice-warning",
    "notice-error",
    "thumb",
    "track",
)
PREFIX = "transcript--"
_KNOWN = frozenset(COMPONENTS)


class Frame(NamedTuple):
    """What all lines of one picture share.

    Args:
        width: columns, the scrollbar's included.
        thumb: see ``scrollbar``.
        highlight: the style of selected text.
    """

    width: int
    thumb: tuple[int, int]
    highlight: Style


def scrollbar(total: int, top: int, height: int) -> tuple[int, int]:
    """First line of the scrollbar's thumb and the one after its last; zeros when everything is visible."""
    if total <= height:
        return 0, 0
    size = max(1, height * height // total)
    start = round((height - size) * top / (total - height))
    return start, start + size


class Painter:
    """Turns rows into strips; strips of the frame before are used again.

    Args:
        component: the terminal style of a component class.
        base: the style of plain text.
    """

    def __init__(self, component: Callable[[str], Style], base: Style) -> None:
        self._component = component
        self.base = base
        self._styles: dict[str, Style] = {"": base}
        self._strips: dict[tuple[int, bool | None], tuple[Row, Strip]] = {}

    def style(self, names: str) -> Style:
        """The terminal style of style names; ``link=URL``, ``@toggle=SERIAL``, ``@copy=SERIAL`` can be clicked."""
        style = self._styles.get(names)
        if style is None:
            style = self.base
            for name in names.split():
                if name in _KNOWN:
                    style += self._component(PREFIX + name)
                elif name.startswith("link="):
                    url = name[5:]
                    style += Style(link=url) + Style.from_meta({"@click": ("open_link", (url,))})
                elif name.startswith("pixel="):
                    upper, _, lower = name[6:].partition(",")
                    style += Style(color=f"#{upper}", bgcolor=f"#{lower}" if lower else None)
                elif name.startswith("@toggle="):
                    style += Style.from_meta({"@click": ("toggle_block", (int(name[8:]),))})
                elif name.startswith("@copy="):
                    style += Style.from_meta({"@click": ("copy_block", (int(name[6:]),))})
            if len(self._styles) > 5000:  # links, serials and pixels make it grow
                self._styles = {"": self.base}
            self._styles[names] = style
        return style

    def strips(
        self,
        rows: Sequence[tuple[Row, tuple[int, int] | None]],
        first: int,
        count: int,
        frame: Frame,
        *,
        whole: bool,
    ) -> list[Strip]:
        """Draw lines of the window.

        Args:
            rows: the rows that there are, and which of their characters are selected.
            first: number of the first line in the window.
            count: lines to draw; those without a row are blank.
            frame: what is the same for all lines.
            whole: these are all lines, so that strips of former frames that they do not use can go.
        """
        drawn: list[Strip] = []
        new: dict[tuple[int, bool | None], tuple[Row, Strip]] = {}
        start, end = frame.thumb
        for index in range(count):
            row, span = rows[index] if index < len(rows) else (BLANK_ROW, None)
            thumb = (start <= first + index < end) if end else None
            if span is not None:
                drawn.append(self._selected(row, span, thumb, frame))
                continue
            found = self._strips.get((id(row), thumb))
            if found is None or found[0] is not row or found[1].cell_length != frame.width:
                segments = [Segment(text, self.style(names)) for text, names in row.runs]
                found = (row, self._pad(segments, row, frame.width, thumb))
            new[id(row), thumb] = found
            drawn.append(found[1])
        self._strips = new if whole else self._strips | new
        return drawn

    def _selected(self, row: Row, span: tuple[int, int], thumb: bool | None, frame: Frame) -> Strip:
        start, end = span
        end = len(row.text) if end < 0 else end
        segments: list[Segment] = []
        position = 0
        for text, names in row.runs:
            style = self.style(names)
            left, right = max(start - position, 0), min(max(end - position, 0), len(text))
            for piece, chosen in ((text[:left], False), (text[left:right], True), (text[max(right, left) :], False)):
                if piece:
                    segments.append(Segment(piece, style + frame.highlight if chosen else style))
            position += len(text)
        return self._pad(segments, row, frame.width, thumb)

    @staticmethod
    def with_data(strip: Strip, data: str) -> Strip:
        """The strip, and behind it what the terminal gets and does not show, such as an image."""
        return Strip([*strip, Segment(data, None, ((ControlType.CURSOR_FORWARD, 0),))], strip.cell_length)

    def offsets(self, row: Row, key: int) -> Strip:
        """The row for finding out what the mouse points at."""
        strip = Strip([Segment(text, self.style(names)) for text, names in row.runs] or [Segment("")], row.cells)
        return strip.apply_offsets(0, key)

    def _pad(self, segments: list[Segment], row: Row, width: int, thumb: bool | None) -> Strip:
        body = width if thumb is None else width - 1
        if row.cells > body:
            segments = list(Strip(segments, row.cells).adjust_cell_length(body))
        elif row.cells < body:
            segments.append(Segment(" " * (body - row.cells), self.style(row.fill)))
        if thumb is not None:
            segments.append(Segment("▐" if thumb else " ", self.style("thumb" if thumb else "track")))
        return Strip(segments, width)
