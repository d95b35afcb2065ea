"""Tables: how wide the columns get, and the rows of runs that draw them."""

from __future__ import annotations

from collections.abc import Sequence

from qianda.tui.transcript.rows import Run, cut, width_of, wrap

Cells = Sequence[Sequence[Sequence[Run]]]
SEPARATOR = " │ "
NARROWEST = 5


def column_widths(rows: Cells, width: int) -> list[int]:
    """Columns as wide as their content, the widest narrowed until the table fits (or all are at their narrowest)."""
    count = max((len(row) for row in rows), default=0)
    widths = [1] * count
    for row in rows:
        for index, cell in enumerate(row):
            widths[index] = max(widths[index], sum(width_of(text) for text, _ in cell))
    spare = width - len(SEPARATOR) * (count - 1)
    while sum(widths) > spare:
        widest = max(range(count), key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            break
        runner_up = max((w for w in widths if w < widths[widest]), default=NARROWEST)
        level = max(runner_up, NARROWEST)
        excess = sum(widths) - spare
        widths[widest] -= max(1, min(excess, widths[widest] - level))
    return widths


def table_rows(rows: Cells, width: int, head: Cells | None) -> list[list[Run]]:
    """Draw a table.

    Args:
        rows: cells, the head first.
        width: columns that there are; a table of many columns may stay wider and is cut at the screen's edge.
        head: the rows that fixed the columns' widths, when these rows go on with a table whose head is drawn.
    """
    widths = column_widths(head if head is not None else rows, width)
    drawn: list[list[Run]] = []
    for index, row in enumerate(rows):
        if index or head is None:
            drawn += _line(row, widths)
        if not index and head is None:
            drawn.append([("─┼─".join("─" * columns for columns in widths), "rule")])
    return drawn


def _line(row: Sequence[Sequence[Run]], widths: Sequence[int]) -> list[list[Run]]:
    cells = [_cell(row[index] if index < len(row) else (), columns) for index, columns in enumerate(widths)]
    lines: list[list[Run]] = []
    for level in range(max(map(len, cells), default=0)):
        line: list[Run] = []
        for index, cell in enumerate(cells):
            runs = cell[level] if level < len(cell) else []
            missing = widths[index] - sum(width_of(text) for text, _ in runs)
            line += runs
            if index < len(cells) - 1:
                line += [*([(" " * missing, "")] if missing > 0 else []), (SEPARATOR, "rule")]
        lines.append(line)
    return lines


def _cell(runs: Sequence[Run], width: int) -> list[list[Run]]:
    text = "".join(piece for piece, _ in runs)
    return cut(runs, [(start, end) for start, end, _ in wrap(text, width)])
