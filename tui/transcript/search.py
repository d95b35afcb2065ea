"""Finding text in the transcript: the next place of it, and its marks on the screen."""

from __future__ import annotations

from qianda.tui.transcript.rows import Row, cut
from qianda.tui.transcript.stack import Stack


class Search:
    """What is looked for, row by row as the rows are on the screen; what is folded is not searched.

    Attributes:
        text: lower case; "" while nothing is looked for.
        place: serial of the block, and the row in it, that was found last.
    """

    def __init__(self) -> None:
        self.text = ""
        self.place: tuple[int, int] | None = None

    def step(self, stack: Stack, direction: int) -> tuple[int, int] | None:
        """Go to the next place.

        Args:
            stack: where.
            direction: -1 towards the beginning, 1 towards the end; the other end follows each end.

        Returns:
            Index of the block and the row in it; None when the text is nowhere.
        """
        if not stack.blocks or not self.text:
            return None
        known = stack.find(self.place[0]) if self.place is not None else None
        row = self.place[1] + direction if self.place is not None and known is not None else None
        index = known if known is not None else len(stack.blocks) - 1 if direction < 0 else 0
        looked = 0
        while looked <= len(stack.blocks):  # the block where it begins is looked at from both sides
            added = stack.expand(index)
            index += added if direction < 0 else 0
            rows = stack.blocks[index].layout(stack.width)
            last = len(rows) - 1
            first = row if row is not None else 0 if direction > 0 else last
            order = range(first, len(rows)) if direction > 0 else range(min(first, last), -1, -1)
            for number in order:
                if self.text in rows[number].text.lower():
                    self.place = stack.blocks[index].serial, number
                    return index, number
            index, row = (index + direction) % len(stack.blocks), None
            looked += 1
        return None

    def marked(self, serial: int, number: int, row: Row) -> Row:
        """The row with its finds marked."""
        text = row.text.lower()
        if not self.text or self.text not in text or len(text) != len(row.text):
            return row
        spans: list[tuple[int, int]] = []
        end = 0
        while (start := text.find(self.text, end)) >= 0:
            spans += [(end, start), (start, start + len(self.text))]
            end = start + len(self.text)
        mark = "found-now" if self.place == (serial, number) else "found"
        pieces = cut(row.runs, [*spans, (end, len(text))])
        runs = [
            (piece, f"{style} {mark}" if at % 2 else style) for at, runs in enumerate(pieces) for piece, style in runs
        ]
        return row._replace(runs=tuple(runs))
