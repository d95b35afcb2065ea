"""Tables: how wide the columns get, and the rows of runs that draw them.

A table that has too many columns for the screen is drawn as a list: each row a group of lines with the column's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from qianda.tui.transcript.rows import Run, cut, shorten, width_of, wrap

SEPARATOR = " │ "
NARROWEST = 5


class Cell(NamedTuple):
    """A cell of a table.

    Args:
        lines: its styled text; more than one where it has line breaks.
        align: ``left``, ``center``, ``right`` or "".
    """

    lines: list[list[Run]]
    align: str = ""


Cells = Sequence[Sequence[Cell]]


def _width(runs: Sequence[Run]) -> int:
    return sum(width_of(text) for text, _ in runs)


def column_widths(rows: Cells, width: int) -> list[int] | None:
    """Columns as wide as their content, the widest narrowed until the table fits; None when it cannot fit."""
    count = max((len(row) for row in rows), default=0)
    widths = [1] * count
    for row in rows:
        for index, cell in enumerate(row):
            widths[index] = max(widths[index], *map(_width, cell.lines))
    spare = width - len(SEPARATOR) * (count - 1)
    while sum(widths) > spare:
        widest = max(range(count), key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            return None
        runner_up = max((w for w in widths if w < widths[widest]), default=NARROWEST)
        level = max(runner_up, NARROWEST)
        excess = sum(widths) - spare
        widths[widest] -= max(1, min(excess, widths[widest] - level))
    return widths


def table_rows(rows: Cells, width: int, head: Cells | None) -> list[list[Run]]:
    """Draw a table.

    Args:
        rows: cells, the head first.
        width: columns of the screen that there are.
        head: the rows that fixed the columns' widths, when these rows go on with a table whose head is drawn.
    """
    widths = column_widths(head if head is not None else rows, width)
    if widths is None:
        return _as_list(rows, width, begun=head is not None)
    drawn: list[list[Run]] = []
    for index, row in enumerate(rows):
        if index or head is None:
            drawn += _row(row, widths)
        if not index and head is None:
            drawn.append([("─┼─".join("─" * columns for columns in widths), "rule")])
    return drawn


def _row(row: Sequence[Cell], widths: Sequence[int]) -> list[list[Run]]:
    cells = [_wrapped(row[index], columns) if index < len(row) else [] for index, columns in enumerate(widths)]
    lines: list[list[Run]] = []
    for level in range(max(map(len, cells), default=0)):
        line: list[Run] = []
        for index, cell in enumerate(cells):
            runs = cell[level] if level < len(cell) else []
            missing = max(widths[index] - _width(runs), 0)
            align = row[index].align if index < len(row) else ""
            before = missing if align == "right" else missing // 2 if align == "center" else 0
            after = missing - before if index < len(cells) - 1 else 0
            line += [(" " * before, ""), *runs, (" " * after, ""), (SEPARATOR, "rule")]
        lines.append([run for run in line[:-1] if run[0]])
    return lines


def _wrapped(cell: Cell, width: int) -> list[list[Run]]:
    """A cell's text in lines of this width."""
    return [
        piece
        for runs in cell.lines
        for piece in cut(runs, [(start, end) for start, end, _ in wrap("".join(text for text, _ in runs), width)])
    ]


def _as_list(rows: Cells, width: int, *, begun: bool) -> list[list[Run]]:
    """The rows one below the other, each with its columns' names."""
    names = [" ".join("".join(text for text, _ in line) for line in cell.lines) for cell in rows[0]]
    widest = min(max(map(width_of, names), default=0), max(width // 3, 1))
    drawn: list[list[Run]] = []
    for number, row in enumerate(rows[1:]):
        if number or begun:
            drawn.append([("─" * min(width, widest + 2), "rule")])
        for name, cell in zip(names, row, strict=False):
            label = shorten(name, widest)
            for at, line in enumerate(_wrapped(cell, max(width - widest - 2, 1)) or [[]]):
                said = label if not at else ""
                space = " " * (widest + 2 - width_of(said))
                drawn.append([run for run in ((said, "strong"), (space, ""), *line) if run[0]])
    return drawn
