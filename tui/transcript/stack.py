"""The stack of blocks: heights and their sums, what is on the screen, and which rows are kept."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from qianda.tui.transcript.blocks import Block, Look
from qianda.tui.transcript.rows import Row

KEPT = 300
"""Blocks whose rows are kept."""


class Stack:
    """A flat list of blocks of which only those near the window are laid out.

    Args:
        look: how people want to see things.

    Attributes:
        top: index of the block, and the row in it, at the window's top: the anchor, of which the scroll offset follows.
    """

    def __init__(self, look: Look | None = None) -> None:
        self.look = look or Look()
        self.blocks: list[Block] = []
        self.top = (0, 0)
        self.width = 0
        self._sums: list[int] = [0]
        self._valid = 0  # sums[0 .. valid] are right
        self._next = 1
        self._kept: OrderedDict[Block, None] = OrderedDict()

    # What is in it

    def push(self, block: Block) -> None:
        """Add a block at the end."""
        block.serial, block.look = self._next, self.look
        block.placed()
        # A lazy block leaves serials free for the blocks that it becomes, at most one for each line.
        self._next += block.lines + 2 if block.lazy else 1
        self.blocks.append(block)
        if self.width:
            block.estimate(self.width)

    def replace_tail(self, count: int, blocks: Sequence[Block]) -> None:
        """Put these blocks in the place of the last ``count``; blocks that stay keep their rows."""
        start = len(self.blocks) - count
        if count:
            self._next = self.blocks[start].serial
            del self.blocks[start:]
        self._invalidate(start)
        for block in blocks:
            if block.rows is not None and block.serial == self._next:
                self._next += 1
                self.blocks.append(block)
            else:
                self.push(block)

    def remove_from(self, index: int) -> None:
        """Drop all blocks from this index on."""
        del self.blocks[index:]
        self._invalidate(index)
        if self.top[0] >= len(self.blocks):
            self.top = (max(len(self.blocks) - 1, 0), 0)

    def remove(self, block: Block) -> None:
        """Drop one block."""
        if block in self.blocks:
            index = self.blocks.index(block)
            del self.blocks[index]
            self._invalidate(index)
            if self.top[0] > index or self.top[0] >= len(self.blocks):
                self.top = (max(self.top[0] - 1, 0), self.top[1] if self.top[0] > index else 0)

    def touch(self, block: Block) -> None:
        """A block's source changed: its rows and height are void."""
        index = self.find(block.serial)
        if index is None:
            return
        self._invalidate(index)
        if self.width:
            before, (top, row) = block.height, self.top
            block.estimate(self.width)
            if index == top and row and block.keeps_end:
                self.top = (index, max(row + self._exact(index) - before, 0))

    def find(self, serial: int) -> int | None:
        """The index of the block with this serial."""
        index = bisect_right(self.blocks, serial, key=_serial) - 1
        return index if index >= 0 and self.blocks[index].serial == serial else None

    def resize(self, width: int) -> None:
        """Another width: every height is an estimate until its block is looked at."""
        if width == self.width:
            return
        index, row = self.top
        before = self.blocks[index].height if index < len(self.blocks) else 0
        self.width = width
        for block in self.blocks:
            block.estimate(width)
        self._kept.clear()
        self._invalidate(0)
        if before:
            self.expand(index)
            height = self._exact(index)
            self.top = (index, min(row * height // before, max(height - 1, 0)))

    # Where things are

    @property
    def total(self) -> int:
        """Rows of all blocks."""
        return self.offset(len(self.blocks))

    def offset(self, index: int) -> int:
        """Rows before this block."""
        if index > self._valid:
            sums = self._sums
            del sums[self._valid + 1 :]
            for block in self.blocks[self._valid : index]:
                sums.append(sums[-1] + block.height)
            self._valid = index
        return self._sums[index]

    def at(self, y: int) -> tuple[int, int]:
        """Index of the block, and the row in it, at this row of the whole."""
        total = self.total
        if not self.blocks:
            return 0, 0
        y = min(max(y, 0), max(total - 1, 0))
        index = min(bisect_right(self._sums, y, 0, len(self.blocks) + 1) - 1, len(self.blocks) - 1)
        return index, y - self._sums[index]

    # Moving the window

    def settle(self, height: int, *, follow: bool) -> int:
        """Lay out what a window of this height shows; at the end of the stack when it follows, else from the anchor.

        Returns:
            The row of the whole at the window's top.
        """
        if follow or not self._fills(height):
            self.top = (len(self.blocks), 0)
            self.up(height)
        return self.offset(self.top[0]) + self.top[1]

    def up(self, rows: int) -> None:
        """Move the anchor up, by rows as they really are."""
        index, row = self.top
        row -= rows
        while row < 0 and index > 0:
            index += self.expand(index - 1)
            if index > 0:
                index -= 1
                row += self._exact(index)
        self.top = (index, max(row, 0))

    def down(self, rows: int) -> None:
        """Move the anchor down, by rows as they really are."""
        index, row = self.top
        row += rows
        while index < len(self.blocks):
            self.expand(index)
            height = self._exact(index)
            if row < height or index == len(self.blocks) - 1:
                row = min(row, max(height - 1, 0))
                break
            row -= height
            index += 1
        self.top = (min(index, max(len(self.blocks) - 1, 0)), row)

    def jump(self, y: int) -> None:
        """Put the anchor at a row of the whole, estimated heights included."""
        self.top = self.at(y)

    def _fills(self, height: int) -> bool:
        """Lay out from the anchor down; whether that fills a window of this height."""
        index, row = self.top
        if index < len(self.blocks):
            self.expand(index)
            row = min(row, max(self._exact(index) - 1, 0))
            self.top = (index, row)
        missing = height + row
        while index < len(self.blocks) and missing > 0:
            self.expand(index)
            missing -= self._exact(index)
            index += 1
        return missing <= 0

    def expand(self, index: int) -> int:
        """Put the blocks of a lazy block in its place; how many more there are now."""
        lazy = self.blocks[index]
        if not lazy.lazy:
            return 0
        blocks = lazy.expand()
        for step, block in enumerate(blocks):
            block.serial = lazy.serial + step
            block.estimate(self.width)
        self.blocks[index : index + 1] = blocks
        self._invalidate(index)
        added = len(blocks) - 1
        if self.top[0] > index:
            self.top = (self.top[0] + added, self.top[1])
        return added

    def _exact(self, index: int) -> int:
        """Lay out this block; its height."""
        block = self.blocks[index]
        height = block.height
        block.layout(self.width)
        if block.height != height:
            self._invalidate(index)
        if not block.height:
            return 0  # hidden ones must not push out what is seen
        self._kept[block] = None
        self._kept.move_to_end(block)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)[0].rows = None
        return block.height

    # What is drawn

    def window(self, top: int, height: int) -> Iterator[tuple[Block, int, Row]]:
        """Block, number of the row in it, and row, for each row of the window that there is."""
        index, row = self.at(top)
        while height > 0 and index < len(self.blocks):
            block = self.blocks[index]
            block.seen()
            for number, drawn in enumerate(block.layout(self.width)[row : row + height], row):
                height -= 1
                yield block, number, drawn
            index, row = index + 1, 0

    def _invalidate(self, index: int) -> None:
        self._valid = min(self._valid, index)


def _serial(block: Block) -> int:
    return block.serial
