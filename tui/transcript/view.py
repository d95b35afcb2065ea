"""The transcript's widget: feeding, following, scrolling, folding, selecting and drawing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Offset, Region
from textual.message import Message
from textual.selection import Selection
from textual.strip import Strip

from qianda.tui.transcript.answer import AnswerStream
from qianda.tui.transcript.blocks import Block, NoticeBlock, ThinkingBlock
from qianda.tui.transcript.calls import CallBlock, Card
from qianda.tui.transcript.chunk_blocks import code_at, last_code
from qianda.tui.transcript.images import ImageBlock
from qianda.tui.transcript.paint import COMPONENTS, PREFIX, Frame, Painter, scrollbar
from qianda.tui.transcript.scrolling import Scroller
from qianda.tui.transcript.search import Search
from qianda.tui.transcript.selection import row_key, selected_text
from qianda.tui.transcript.stack import Stack

FASTEST = 1 / 15
"""Seconds between flushes at least."""

Target = ThinkingBlock | AnswerStream | CallBlock


class Transcript(Scroller, can_focus=False):
    """Everything that was said and done, as one widget that draws its own lines."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {PREFIX + name for name in COMPONENTS}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]

    @dataclass
    class LinkClicked(Message):
        """A link of an answer was clicked."""

        url: str

    @dataclass
    class CodeCopied(Message):
        """Somebody wants to have the code of a block."""

        code: str

    def __init__(self) -> None:
        super().__init__()
        self.search = Search()
        self._pending: list[tuple[Target, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flush_cost = self._paint_cost = 0.0
        self._painter: Painter | None = None

    # Putting things in

    def add(self, *blocks: Block) -> None:
        """Append blocks."""
        self.flush()
        for block in blocks:
            self.stack.push(block)
        self.settle()

    def feed(self, target: Target, text: str) -> None:
        """More text for a thinking block, a call or the answer at the end; drawn with the next flush."""
        self._pending.append((target, text))
        if self._timer is None:
            delay = max(FASTEST, 3 * (self._flush_cost + self._paint_cost))
            self._timer = asyncio.get_running_loop().call_later(delay, self.flush)

    def end(self, target: ThinkingBlock | AnswerStream) -> None:
        """The thinking or the answer is complete."""
        self.flush()
        if isinstance(target, ThinkingBlock):
            # What is being read does not fold under the reader's eyes.
            target.pinned |= not self.follow and self.stack.top[0] == self.stack.find(target.serial)
            target.finish()
            self.stack.touch(target)
        else:
            self._take(target, "", end=True)
        self.settle()

    def flush(self) -> None:
        """Lay out what was fed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._pending:
            return
        started = time.perf_counter()
        pending, self._pending = self._pending, []
        index = 0
        while index < len(pending):
            target = pending[index][0]
            texts: list[str] = []
            while index < len(pending) and pending[index][0] is target:
                texts.append(pending[index][1])
                index += 1
            self._take(target, "".join(texts))
        self.settle()
        self._flush_cost = time.perf_counter() - started

    def _take(self, target: Target, text: str, *, end: bool = False) -> None:
        if not isinstance(target, AnswerStream):
            target.feed(text)
            self.stack.touch(target)
        else:
            before = len(target.tail)
            done, tail = target.feed(text, end=end)
            self.stack.replace_tail(before, [*done, *tail])

    def update_block(self, block: Block) -> None:
        """A block's content changed."""
        self.stack.touch(block)
        self.settle()

    def remove_blocks(self, blocks: Iterable[Block]) -> None:
        """Take blocks out again."""
        self.flush()
        for block in blocks:
            self.stack.remove(block)
        self.settle()

    def cut_to(self, count: int) -> None:
        """Drop all blocks but the first ``count`` and the program's own lines; what was fed goes with them."""
        self._pending.clear()
        self.flush()
        kept = [block for block in self.stack.blocks[count:] if isinstance(block, NoticeBlock)]
        self.stack.remove_from(count)
        for block in kept:
            self.stack.push(block)
        self.settle()

    def clear(self) -> None:
        """Drop everything."""
        self._pending.clear()
        self.flush()
        self.stack = Stack(self.stack.look)
        self.follow = True
        self.settle()

    # Folding and links

    def action_toggle_block(self, serial: int) -> None:
        """Fold or open a block; its first row stays where it is."""
        self.flush()
        index = self.stack.find(serial)
        if index is None:
            return
        for block in self.stack.blocks[index].toggle():
            self.stack.touch(block)
        if self.stack.top[0] == index:
            self.stack.top = (index, 0)
        self.follow = False
        self.settle()
        self.follow = self.at_end

    def fold_lowest(self) -> None:
        """Fold or open the lowest of what folds in the window, and show what opened."""
        self.flush()
        top, height = self.scroll_offset.y, self.size.height
        shown = [block for block, _, _ in self.stack.window(top, height) if block.foldable]
        if not shown:
            return
        block = shown[-1]
        self.action_toggle_block(block.serial)
        index = self.stack.find(block.serial)
        if index is not None and not block.folded:
            first = self.stack.offset(index)
            block.layout(self.stack.width)
            self.move(max(min(first + block.height - self.scroll_offset.y - height, first - self.scroll_offset.y), 0))

    def split_diffs(self) -> None:
        """Show differences side by side, or one below the other; side by side needs a wide window."""
        self.stack.look.split = not self.stack.look.split
        for block in self.stack.blocks:
            if isinstance(block, Card):
                block.changed()
                self.stack.touch(block)
        self.settle()

    def fold_all(self, kind: type[Block]) -> None:
        """Open all blocks of a kind if one is folded, else fold them all."""
        self.flush()
        blocks = [block for block in self.stack.blocks if isinstance(block, kind) and block.foldable]
        opened = any(block.folded for block in blocks)
        if kind is ThinkingBlock:
            self.stack.look.thinking = opened
        for block in blocks:
            if block.folded == opened:
                for changed in block.toggle():
                    self.stack.touch(changed)
        self.settle()

    @property
    def last_code(self) -> str:
        """The code under the mouse, else the last one; "" where there is none."""
        self.flush()
        mouse: Offset = cast("Any", self).app.mouse_position  # the type of ``app`` has an unknown part
        under = self._block_at(mouse)
        code = code_at(self.stack.blocks, under) if under is not None else None
        return code or last_code(self.stack.blocks)

    def _block_at(self, place: Offset) -> int | None:
        """The index of the block at this place of the screen."""
        if not self.region.contains_point(place):
            return None
        for block, _, _ in self.stack.window(self.scroll_offset.y + place.y - self.region.y, 1):
            return self.stack.find(block.serial)
        return None

    def action_copy_block(self, serial: int) -> None:
        """The word that copies code was clicked."""
        index = self.stack.find(serial)
        if index is not None and (code := code_at(self.stack.blocks, index)) is not None:
            self.post_message(self.CodeCopied(code))

    # Finding

    def find_text(self, text: str) -> bool:
        """Look for a text from the end on and mark it; "" takes the marks away. Whether it is there."""
        self.search.text, self.search.place = text.lower(), None
        found = self.find_next(-1)
        self.refresh()
        return found

    def find_next(self, direction: int) -> bool:
        """Show the next place of what is looked for: -1 towards the beginning, 1 towards the end."""
        self.flush()
        place = self.search.step(self.stack, direction)
        if place is not None:
            self.follow = False
            self.stack.top = place
            self.stack.up(self.size.height // 3)
            self.settle()
        return place is not None

    def action_open_link(self, url: str) -> None:
        """A link was clicked."""
        self.post_message(self.LinkClicked(url))

    # Drawing

    def notify_style_update(self) -> None:
        """Another theme."""
        self._painter = None
        super().notify_style_update()

    @property
    def painter(self) -> Painter:
        """Paints with the colours of the theme."""
        if self._painter is None:
            self._painter = Painter(self._component, self.rich_style)
        return self._painter

    def _component(self, name: str) -> Style:
        partial = self.get_component_rich_style(name, partial=True)
        # Only the whole style has its transparency worked out.
        whole = self.get_component_rich_style(name)
        return partial + Style(color=partial.color and whole.color, bgcolor=partial.bgcolor and whole.bgcolor)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw the rows of the window; past Textual's styles cache, which would keep far too much."""
        started = time.perf_counter()
        width, height = self.size
        painter = self.painter
        if width != self.stack.width + 1:
            return [Strip.blank(crop.width, painter.base)] * crop.height
        top = self.scroll_offset.y
        selection = self.text_selection
        frame = Frame(width, scrollbar(self.stack.total, top, height), self.selection_style)
        window = list(self.stack.window(top + crop.y, crop.height))
        rows = [
            (
                self.search.marked(block.serial, number, row) if self.search.text else row,
                selection.get_span(row_key(block, number)) if selection is not None else None,
            )
            for block, number, row in window
        ]
        strips = painter.strips(rows, crop.y, crop.height, frame, whole=crop.height == height)
        if line_filters := self.get_line_filters():
            background = self.background_colors[1]
            for line_filter in line_filters:
                strips = [strip.apply_filter(line_filter, background) for strip in strips]
        if crop.width != width:
            strips = [strip.crop(crop.x, crop.x + crop.width) for strip in strips]
        if strips and (data := "".join(block.take_data() for block, _, _ in window if isinstance(block, ImageBlock))):
            strips[0] = painter.with_data(strips[0], data)
        self._paint_cost = time.perf_counter() - started
        return strips

    def render_line(self, y: int) -> Strip:
        """The row under the mouse, for the selection."""
        for block, number, row in self.stack.window(self.scroll_offset.y + y, 1):
            return self.painter.offsets(row, row_key(block, number))
        return Strip.blank(self.size.width)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text as it was before wrapping."""
        return selected_text(self.stack, selection), "\n"
