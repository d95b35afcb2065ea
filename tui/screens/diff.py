"""A difference, or a call, on the whole screen: side by side where there is room, with the next change on a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Static

from qianda.tui.panes.shown import Rows, head_row, hunk_blocks
from qianda.tui.screens.detail import Detail
from qianda.tui.transcript.diff_rows import diff_rows
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.transcript.blocks import Block
    from qianda.tui.transcript.diff import Diff
    from qianda.tui.transcript.rows import Row

SPLIT_WIDTH = 100
"""Columns from which on old and new stand side by side."""


class DiffScreen(Screen[None]):
    """Shows a difference, a block for each place that changes.

    Args:
        title: what it is about.
        diff: the difference, or None.
        blocks: what stands before it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+f", "close", show=False),
        Binding("n,right", "change(1)", show=False),
        Binding("p,left", "change(-1)", show=False),
        Binding("s", "split", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
    ]

    def __init__(self, title: str, diff: Diff | None, blocks: Sequence[Block] = ()) -> None:
        super().__init__()
        self._title = title
        self._diff = diff
        self._before = blocks
        self._split = True
        self._current = 0
        self._changes: list[Block] = []  # where each begins
        self._parts: list[Block] = []
        self.view = Detail()

    def compose(self) -> ComposeResult:
        """What it is, the difference, the keys."""
        yield Static(self._title, id="head", markup=False)
        yield self.view
        yield Static(id="keys", markup=False)

    def on_mount(self) -> None:
        """Show it, from the top."""
        blocks = list(self._before)
        if (diff := self._diff) is not None:
            blocks.append(Rows(lambda width: [head_row(diff, width)]))
            for hunk in diff.hunks:
                parts = hunk_blocks(diff, hunk, self._rows, gap=True)
                self._changes.append(parts[0])
                self._parts += parts
        self.view.show([*blocks, *self._parts])
        self.set_focus(self.view)
        self._say_keys()

    def _rows(self, diff: Diff, width: int) -> list[Row]:
        return diff_rows(diff, width, split=self._split and width >= SPLIT_WIDTH)

    def _say_keys(self) -> None:
        texts = [t("Esc closes"), t("Up/Down, PgUp/PgDn scroll")]
        if self._changes:
            at = t("change {at} of {count}", at=self._current + 1, count=len(self._changes))
            texts = [at, t("n p next and previous change"), *texts]
        if self._diff is not None and self.size.width > SPLIT_WIDTH:
            texts.append(t("s one column") if self._split else t("s two columns"))
        self.query_one("#keys", Static).update(" · ".join(texts))

    def action_change(self, step: int) -> None:
        """The next change, or the one before, at the window's top as far as it goes."""
        if not self._changes:
            return
        self._current = min(max(self._current + step, 0), len(self._changes) - 1)
        stack = self.view.stack
        index = stack.find(self._changes[self._current].serial)
        if index is not None:
            self.view.follow = False
            stack.top = (index, 1)  # past the gap
            self.view.settle()
        self._say_keys()

    def action_split(self) -> None:
        """One column or two."""
        self._split = not self._split
        for block in self._parts:
            block.changed()
            self.view.stack.touch(block)
        self.view.settle()
        self._say_keys()

    def action_page(self, direction: int) -> None:
        """Scroll by a page."""
        self.view.action_page(direction)

    def action_close(self) -> None:
        """Back."""
        self.dismiss()

    def on_resize(self) -> None:
        """One column or two, as there is room."""
        if self.is_mounted:
            self.call_after_refresh(self._say_keys)
