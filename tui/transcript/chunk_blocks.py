"""The blocks of an answer: chunks of Markdown, and code that can be copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qianda.tui.transcript.blocks import GUTTER, Block
from qianda.tui.transcript.code import code_rows, coloured_lines, plain_lines
from qianda.tui.transcript.rows import Row, Run, shorten, visible, width_of
from qianda.tui.transcript.splitter import Chunk
from qianda.tui.words import t


class MarkdownBlock(Block):
    """A chunk of the model's answer."""

    def __init__(self, chunk: Chunk, references: dict[str, Any]) -> None:
        super().__init__(gap=chunk.gap)
        self.chunk = chunk
        self.references = references

    def _build(self, width: int) -> list[Row]:
        from qianda.tui.transcript.markdown import markdown_rows

        chunk = self.chunk
        return markdown_rows(
            chunk.text,
            width,
            gutter=GUTTER + " " * chunk.indent,
            number=chunk.number,
            references=self.references,
            head=chunk.head,
        )

    def _size(self) -> tuple[int, int]:
        return len(self.chunk.text), self.chunk.text.count("\n") + 1


class CodeBlock(Block):
    """A part of a code fence."""

    def __init__(self, chunk: Chunk, *, finished: bool) -> None:
        super().__init__(gap=chunk.gap)
        self.chunk = chunk
        self.finished = finished
        self._coloured = False

    def _build(self, width: int) -> list[Row]:
        chunk = self.chunk
        gutter = GUTTER + " " * min(chunk.indent, max(width // 2 - len(GUTTER), 0))
        colour = self._coloured and chunk.language
        lines = coloured_lines(chunk.text, chunk.language) if colour else plain_lines(chunk.text)
        rows = code_rows(lines, width, gutter=gutter)
        return [self._label(gutter, width), *rows] if self._labelled else rows

    @property
    def _labelled(self) -> bool:
        return bool(self.chunk.language) and not self.chunk.part

    def _label(self, gutter: str, width: int) -> Row:
        """The language, and at the right what copies the code; nothing of it is copied."""
        copy = t("copy")
        room = width - len(gutter) - 2
        language = shorten(visible(self.chunk.language), max(room - width_of(copy) - 1, 1))
        space = room - width_of(language) - width_of(copy)
        runs: list[Run] = [(gutter, ""), (f" {language}", "code-label")]
        if space > 0:
            runs += [(" " * space, "code-label"), (copy, f"code-label code-copy @copy={self.serial}")]
        return Row(
            tuple(runs), sum(width_of(text) for text, _ in runs), "", sum(len(text) for text, _ in runs), "code-block"
        )

    def seen(self) -> None:
        """Time for the colours."""
        if self.finished and not self._coloured:
            self._coloured = True
            if self.chunk.language:
                self.changed()

    def _size(self) -> tuple[int, int]:
        return 0, self.chunk.text.count("\n") + 1 + self._labelled


def code_at(blocks: Sequence[Block], index: int) -> str | None:
    """The whole code that a block of this list is a part of; None where the block is no code."""
    block = blocks[index]
    if not isinstance(block, CodeBlock):
        return None
    first = index - block.chunk.part
    parts: list[str] = []
    for part in blocks[first:]:
        if not isinstance(part, CodeBlock) or part.chunk.part != len(parts):
            break
        parts.append(part.chunk.text)
    return "\n".join(parts) + "\n"


def last_code(blocks: Sequence[Block]) -> str:
    """The code that is nearest to the end, also of answers that were restored and not looked at; "" without any."""
    for index in range(len(blocks) - 1, -1, -1):
        block = blocks[index]
        code = last_code(block.expand()) if block.lazy else code_at(blocks, index)
        if code:
            return code
    return ""
