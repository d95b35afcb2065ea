"""Rows: styled text cut to the screen's width, with widths as a terminal counts them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.cells import cell_len

Run = tuple[str, str]
"""Text, and the names of its styles separated by spaces (the palette knows them)."""

TAB = 4


class Row(NamedTuple):
    """One line of the screen.

    Args:
        runs: the styled text.
        cells: its width in terminal columns.
        join: what stood between this row and the next in the source when the line was wrapped here; None at its end.
        pad: leading characters that are decoration, left out when the row is copied.
        fill: style names of the rest of the line.
    """

    runs: tuple[Run, ...]
    cells: int
    join: str | None = None
    pad: int = 0
    fill: str = ""

    @property
    def text(self) -> str:
        """The row's characters."""
        return "".join(text for text, _ in self.runs)


BLANK_ROW = Row((), 0)


def width_of(text: str) -> int:
    """Columns that a terminal needs for the text."""
    return len(text) if text.isascii() else cell_len(text)


# What would move the cursor, switch colours or reverse the reading direction is shown, not obeyed: text comes from
# models, tools and files, and an approval must show what will really run.
_VISIBLE: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)},
    **dict.fromkeys((*range(0x80, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)), "\ufffd"),
    0x7F: "\u2421",
}
_SUSPECT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with its control characters and direction marks made visible; newlines and tabs stay."""
    return text.translate(_VISIBLE) if _SUSPECT.search(text) else text


# Scripts that are written without spaces may break between any two characters, but not before closing punctuation
# nor after opening punctuation. Hangul breaks at spaces.
_OPEN = "（〔［｛〈《「『【〖〘〚“"
_CLOSE = "、。，．・：；？！ー）〕］｝〉》」』】〗〙〛”…‥々〻ゝゞヽヾぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮ％"
_WIDE = (
    f"(?:(?![{_OPEN}{_CLOSE}])"
    "[\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60"
    "\uffe0-\uffe6\U0001f300-\U0001faff\U00020000-\U0003fffd])"
)
_ZERO = "[\u0300-\u036f\u200b-\u200d\u20d0-\u20ff\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef]"
_UNIT = re.compile(
    r"\s+"
    rf"|[{_OPEN}]*{_WIDE}(?:\u200d{_WIDE}|{_ZERO})*(?:[{_CLOSE}]|[.,!?;:)\]}}%](?!\w))*"
    rf"|[{_OPEN}]*(?:(?!{_WIDE})[^\s{_OPEN}{_CLOSE}])+[{_CLOSE}]*"
    rf"|[{_OPEN}{_CLOSE}]+"
)


def _fit(text: str, start: int, end: int, width: int) -> int:
    """Where a word that is too long has to be cut: at least one character, and never before a combining one."""
    position = start
    while position < end:
        step = position + 1
        while step < end and width_of(text[step]) == 0:
            step += 1
        if position > start and width_of(text[start:step]) > width:
            break
        position = step
    return position


def wrap(text: str, width: int) -> list[tuple[int, int, str | None]]:
    """Where one line of text is cut.

    Args:
        text: a line without newlines.
        width: columns; at least 1 is taken.

    Returns:
        Start, end and join (see ``Row``) of each piece; the pieces and joins together are the text.
    """
    width = max(width, 1)
    if len(text) <= width and text.isascii():
        return [(0, len(text), None)]
    measure = len if text.isascii() else width_of
    pieces: list[tuple[int, int, str | None]] = []
    start = end = used = 0
    for match in _UNIT.finditer(text):
        left, right = match.span()
        columns = measure(match.group())
        if text[left].isspace():
            if left == start:  # indentation counts, but never fills the line
                if columns >= width:
                    pieces.append((start, start, text[start:right]))
                    start, columns = right, 0
                end, used = right, columns
            continue
        gap = measure(text[end:left])
        if end > start and used + gap + columns > width:
            pieces.append((start, end, text[end:left]))
            start, end, used, gap = left, left, 0, 0
        while columns > width - used - gap and right > left:
            cut = _fit(text, left, right, width - used - gap)
            if cut >= right:
                break
            pieces.append((start, cut, ""))
            start = end = left = cut
            used = gap = 0
            columns = measure(text[left:right])
        used += gap + columns
        end = right
    pieces.append((start, max(end, start), None))
    return pieces


def cut(runs: Sequence[Run], spans: Iterable[tuple[int, int]]) -> list[list[Run]]:
    """The runs of each span of characters; spans ascend and do not overlap."""
    result: list[list[Run]] = []
    index = offset = 0
    for start, end in spans:
        piece: list[Run] = []
        while index < len(runs) and offset + len(runs[index][0]) <= start:
            offset += len(runs[index][0])
            index += 1
        at, position = index, offset
        while at < len(runs) and position < end:
            text, style = runs[at]
            taken = text[max(start - position, 0) : end - position]
            if taken:
                piece.append((taken, style))
            position += len(text)
            at += 1
        result.append(piece)
    return result


def flow(
    runs: Sequence[Run],
    width: int,
    *,
    first: Sequence[Run] = (),
    rest: Sequence[Run] = (),
    gutter: int = 0,
    fill: str = "",
) -> list[Row]:
    """Wrap one line of styled text.

    Args:
        runs: the text, without newlines.
        width: columns for text and prefix together.
        first: what stands before the first row.
        rest: what stands before the others; as wide as ``first``.
        gutter: leading characters of ``first`` that are not copied.
        fill: see ``Row``.
    """
    text = "".join(piece for piece, _ in runs)
    prefix = sum(width_of(piece) for piece, _ in first)
    pieces = wrap(text, width - prefix)
    cut_runs = (
        [list(runs)]
        if len(pieces) == 1 and pieces[0][:2] == (0, len(text))
        else cut(runs, [(start, end) for start, end, _ in pieces])
    )
    rest_chars = sum(len(piece) for piece, _ in rest)
    return [
        Row(
            (*(rest if index else first), *cut_runs[index]),
            prefix + sum(width_of(piece) for piece, _ in cut_runs[index]),
            join,
            rest_chars if index else gutter,
            fill,
        )
        for index, (_, _, join) in enumerate(pieces)
    ]


def flow_text(text: str, width: int, style: str = "", *, prefix: str = "", prefix_style: str = "") -> list[Row]:
    """Wrap plain text of any number of lines; the prefix stands before every row and is not copied."""
    before = [(prefix, prefix_style)] if prefix else []
    rows: list[Row] = []
    for line in visible(text).expandtabs(TAB).split("\n"):
        rows += flow([(line, style)] if line else [], width, first=before, rest=before, gutter=len(prefix))
    return rows


def shorten(text: str, width: int) -> str:
    """At most ``width`` columns of one line; what is cut off shows as an ellipsis."""
    if width_of(text) <= width:
        return text
    end = min(len(text), max(width - 1, 0))
    while end > 0 and width_of(text[:end]) > width - 1:
        end -= 1
    return text[:end] + "…" if width > 0 else ""
