"""What is asked about, as rows: texts and differences, in a widget as high as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from textual.geometry import Size
from textual.widget import Widget

from qianda.tui.transcript.blocks import Block
from qianda.tui.transcript.rows import Row, flow_text, width_of
from qianda.tui.transcript.view import Transcript

if TYPE_CHECKING:
    from qianda.tui.transcript.diff import Diff, Hunk

SHARE = 0.3
"""Of the terminal's height, for what is asked about."""
PART = 200
"""Lines of a difference that are laid out together."""


class Rows(Block):
    """Rows that a function lays out.

    Args:
        build: gives them for a width.
        lines: how many there are about, before they are laid out.
        gap: a blank row before them.
    """

    def __init__(self, build: Callable[[int], list[Row]], *, lines: int = 1, gap: bool = False) -> None:
        super().__init__(gap=gap)
        self._make = build
        self._lines = lines

    def _build(self, width: int) -> list[Row]:
        return self._make(width)

    def _size(self) -> tuple[int, int]:
        return 0, self._lines


def hunk_blocks(diff: Diff, hunk: Hunk, rows: Callable[[Diff, int], list[Row]], *, gap: bool) -> list[Block]:
    """A hunk in parts, of which only those on the screen are laid out.

    Args:
        diff: the difference that it is from.
        hunk: some lines of it.
        rows: lays a difference out at a width.
        gap: a blank row before the first.
    """
    parts = [replace(diff, hunks=(hunk[at : at + PART],)) for at in range(0, len(hunk), PART)]
    return [
        Rows(partial(rows, part), lines=len(part.hunks[0]), gap=gap and not number) for number, part in enumerate(parts)
    ]


def text_block(text: str, style: str = "") -> Rows:
    """Plain text, wrapped, with nothing hidden in it."""
    return Rows(lambda width: flow_text(text, width, style))


def head_row(diff: Diff, width: int) -> Row:
    """The line above a difference: what becomes of which file, how many lines."""
    from qianda.tui.transcript.diff_rows import head_runs

    runs = head_runs(diff, width)
    return Row(tuple(runs), sum(width_of(text) for text, _ in runs))


class What(Transcript):
    """What is asked about, whole: as high as it is, and scrolled where that is more than its place.

    Args:
        blocks: what to show.
        tell: told how many lines are hidden above and below.
    """

    def __init__(self, *blocks: Block, tell: Callable[[int, int], None] | None = None) -> None:
        super().__init__()
        self.id = "what"
        self.follow = False
        self._tell = tell
        for block in blocks:
            self.stack.push(block)

    def show(self, *blocks: Block) -> None:
        """Show something else."""
        self.clear()
        self.follow = False
        for block in blocks:
            self.stack.push(block)
        self.refresh(layout=True)
        self.settle()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 - Textual's
        """Every row at this width, as far as it leaves room for the transcript."""
        self.stack.resize(max(width - 1, 1))
        most, rows = share_of(self, SHARE), 0
        for block in self.stack.blocks:
            rows += len(block.layout(max(width - 1, 1)))
            if rows >= most:
                return most
        return rows

    def settle(self) -> None:
        """Draw, and say what is hidden."""
        super().settle()
        if self._tell is not None and self.size.height:
            above = self.stack.offset(self.stack.top[0]) + self.stack.top[1]
            self._tell(above, max(self.stack.total - above - self.size.height, 0))

    def move(self, rows: int) -> None:
        """Scroll, and stay at what is read."""
        super().move(rows)
        self.follow = False


def share_of(widget: Widget, share: float) -> int:
    """Rows: a share of the terminal's. Not as ``vh`` in the style sheet, which a height ``auto`` around it forgets."""
    return max(round(widget.screen.size.height * share), 3)
