"""The selection: which block and row a key means, and the text between two of them without the wrapping."""

from __future__ import annotations

from textual.selection import Selection

from qianda.tui.transcript.blocks import Block
from qianda.tui.transcript.rows import Row
from qianda.tui.transcript.stack import Stack

_ROW_BITS = 20


def row_key(block: Block, row: int) -> int:
    """Names a row so that folding other blocks does not move it; grows along the transcript."""
    return (block.serial << _ROW_BITS) + row


def selected_text(stack: Stack, selection: Selection) -> str:
    """The selected text: wrapped lines joined again, gutters and the code's pad column left out."""
    start = selection.start.y >> _ROW_BITS if selection.start is not None else None
    end = selection.end.y >> _ROW_BITS if selection.end is not None else None
    text: list[str] = []
    for block in stack.blocks:
        if (start is not None and block.serial < start) or (end is not None and block.serial > end):
            continue
        for number, row in enumerate(block.layout(stack.width)):
            span = selection.get_span(row_key(block, number))
            if span is not None:
                text.append(_piece(row, *span))
    return "".join(text).strip("\n")


def _piece(row: Row, start: int, end: int) -> str:
    whole = row.text
    last = len(whole) if end < 0 else min(end, len(whole))
    piece = whole[max(start, row.pad) : last]
    if end >= 0 and end < len(whole):
        return piece
    return piece + ("\n" if row.join is None else row.join)
