"""The model's answer on its way into blocks: as it streams, or restored and waiting to be seen."""

from __future__ import annotations

import re
from typing import Any

from qianda.tui.transcript.blocks import GUTTER, Block
from qianda.tui.transcript.chunk_blocks import CodeBlock, MarkdownBlock
from qianda.tui.transcript.rows import Row, flow_text
from qianda.tui.transcript.splitter import Chunk, Splitter

_DEFINITION = re.compile(r"^ {0,3}\[(?!\^)[^\]]+\]:", re.MULTILINE)
_REFERENCE = re.compile(r"\](?!\()")


class LazyBlock(Block):
    """A restored answer: split into its blocks when it is first seen."""

    lazy = True

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def expand(self) -> list[Block]:
        """The answer's blocks."""
        return answer_blocks(self.text) or [MarkdownBlock(Chunk("markdown", ""), {})]

    def _build(self, width: int) -> list[Row]:
        return flow_text(self.text, width, prefix=GUTTER)

    def _size(self) -> tuple[int, int]:
        return len(self.text), self.text.count("\n") + 1


class AnswerStream:
    """Text of one answer on its way into blocks."""

    def __init__(self) -> None:
        self.splitter = Splitter()
        self.references: dict[str, Any] = {}
        self.tail: list[Block] = []
        self._referring: list[MarkdownBlock] = []

    def feed(self, text: str, *, end: bool = False) -> tuple[list[Block], list[Block]]:
        """Take more text.

        Returns:
            The blocks that are finished and those of the tail; together they replace the former tail.
        """
        chunks = self.splitter.feed(text)
        if end:
            chunks += self.splitter.close()
        old = {block.chunk: block for block in self.tail if isinstance(block, MarkdownBlock)}
        done = [old.get(chunk) or self._block(chunk, finished=True) for chunk in chunks]
        for block in done:
            if isinstance(block, MarkdownBlock):
                self._link(block)
        rest = [] if end else self.splitter.tail()
        self.tail = [old.get(chunk) or self._block(chunk, finished=False) for chunk in rest]
        return done, self.tail

    def _link(self, block: MarkdownBlock) -> None:
        """A definition that a block holds counts for what was said before it, too."""
        if _REFERENCE.search(block.chunk.text):
            self._referring.append(block)
        if _DEFINITION.search(block.chunk.text):
            from qianda.tui.transcript.markdown import define_links

            define_links(block.chunk.text, self.references)
            for referring in self._referring:
                referring.changed()

    def _block(self, chunk: Chunk, *, finished: bool) -> Block:
        if chunk.kind == "code":
            return CodeBlock(chunk, finished=finished)
        return MarkdownBlock(chunk, self.references)


def answer_blocks(text: str) -> list[Block]:
    """A whole answer as blocks."""
    return AnswerStream().feed(text, end=True)[0]
