"""Painting rows: style names to terminal styles, rows to strips, selection and scrollbar included."""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from qianda.tui.transcript.rows import Row

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
    "call-earlier",
    "call-failed-text",
    "call-denied-text",
    "call-stopped-text",
    "call-name",
    "call-arguments",
    "call-result",
    "call-note",
    "notice-info",
    "notice-warning",
    "notice-error",
    "thumb",
    "track",
)
PREFIX = "transcript--"
_KNOWN = frozenset(COMPONENTS)


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
        self._frame: dict[tuple[int, bool | None], tuple[Row, Strip]] = {}

    def style(self, names: str) -> Style:
        """The terminal style of style names; ``link=URL`` and ``@toggle=SERIAL`` make text that can be clicked."""
        style = self._styles.get(names)
        if style is None:
            style = self.base
            for name in names.split():
                if name in _KNOWN:
                    style += self._component(PREFIX + name)
                elif name.startswith("link="):
                    url = name[5:]
                    style += Style(link=url) + Style.from_meta({"@click": ("open_link", (url,))})
                elif name.startswith("@toggle="):
                    style += Style.from_meta({"@click": ("toggle_block", (int(name[8:]),))})
            if len(self._styles) > 2000:  # links and serials make it grow
                self._styles = {"": self.base}
            self._styles[names] = style
        return style

    def begin(self) -> None:
        """A new frame: strips that it does not use are forgotten at its end."""
        self._frame = {}

    def end(self) -> None:
        """The frame is done."""
        self._strips = self._frame

    def strip(self, row: Row, width: int, thumb: bool | None) -> Strip:
        """A row as a strip of exactly this width.

        Args:
            row: the row.
            width: columns.
            thumb: what the last column shows of the scrollbar: its thumb, its track, or (None) nothing.
        """
        key = (id(row), thumb)
        found = self._strips.get(key) or self._frame.get(key)
        if found is None or found[0] is not row or found[1].cell_length != width:
            segments = [Segment(text, self.style(names)) for text, names in row.runs]
            found = (row, self._pad(segments, row, width, thumb))
        self._frame[key] = found
        return found[1]

    def selected(self, row: Row, width: int, thumb: bool | None, span: tuple[int, int], highlight: Style) -> Strip:
        """A row of which the characters in ``span`` are selected; an end of -1 means up to its last."""
        start, end = span
        end = len(row.text) if end < 0 else end
        segments: list[Segment] = []
        position = 0
        for text, names in row.runs:
            style = self.style(names)
            left, right = max(start - position, 0), min(max(end - position, 0), len(text))
            for piece, chosen in ((text[:left], False), (text[left:right], True), (text[max(right, left) :], False)):
                if piece:
                    segments.append(Segment(piece, style + highlight if chosen else style))
            position += len(text)
        return self._pad(segments, row, width, thumb)

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
