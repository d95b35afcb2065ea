"""Differences to rows: unified or in two columns, with the colours of the language and of what changed."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, Any, cast

from qianda.tui.transcript.code import coloured_lines
from qianda.tui.transcript.diff import Diff, DiffLine, Hunk, changed_spans, pairs
from qianda.tui.transcript.rows import TAB, Row, Run, cut, flow, shorten, visible, width_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SPLIT_WIDTH = 120
"""Columns from which on two texts stand side by side where that is wanted."""
_STYLE = {" ": "", "-": "diff-removed", "+": "diff-added"}

_Runs = dict[int, list[Run]]
"""The styled text of a hunk's lines, by the line's id."""


def diff_rows(diff: Diff, width: int, *, split: bool = False, gutter: str = "", most: int | None = None) -> list[Row]:
    """Lay out a difference.

    Args:
        diff: what to show; its path and note are not.
        width: columns.
        split: old and new side by side, where there is anything to compare.
        gutter: stands before every row and is not copied.
        most: lines of the difference to show at most.
    """
    split = split and diff.kind == "changed"
    language = language_of(diff.path)
    digits = max(
        (len(str(line.old or line.new)) for hunk in diff.hunks for line in hunk if line.old or line.new), default=0
    )
    rows: list[Row] = []
    for number, whole in enumerate(diff.hunks):
        hunk = whole if most is None else whole[: max(most, 0)]
        if not hunk:
            break
        if number:
            rows.append(Row(((f"{gutter}{'⋯':>{max(digits, 1)}}", "diff-number"),), len(gutter) + max(digits, 1)))
        runs = _styled(hunk, language)
        if split:
            rows += _side_by_side(hunk, runs, width, gutter, digits)
        else:
            for line in hunk:
                rows += _line_rows(line, runs, width, gutter, digits)
        most = None if most is None else most - len(hunk)
    return rows


def head_runs(diff: Diff, width: int, style: str = "") -> list[Run]:
    """A line about one file: what became of it, its path, how many lines, and the note."""
    mark = {"created": "A", "changed": "M", "deleted": "D"}[diff.kind] if diff.path else " "
    tail = " ".join(filter(None, (diff.count if diff.hunks else "", diff.note)))
    path = shorten(visible(diff.path), width - len(mark) - width_of(tail) - 2)
    runs = [(f"{mark} {path} ", style)] if diff.path else []
    return [
        *runs,
        *(count_runs(diff) if diff.hunks else []),
        *([(f" {diff.note}".strip(), style)] if diff.note else []),
    ]


def count_runs(diff: Diff, style: str = "") -> list[Run]:
    """``+12 −3`` in its colours."""
    return [
        (f"+{diff.added}", f"diff-more {style}".strip()),
        (" ", style),
        (f"−{diff.removed}", f"diff-less {style}".strip()),
    ]


@lru_cache(maxsize=64)
def language_of(path: str) -> str:
    """What pygments calls the language of a file of this name; "" when it knows none."""
    import pygments.lexers

    find: Callable[[str], Any] = cast("Any", pygments.lexers).find_lexer_class_for_filename
    lexer = find(path.rpartition("/")[2])
    return next(iter(lexer.aliases), "") if lexer is not None else ""


def _styled(hunk: Hunk, language: str) -> _Runs:
    """The lines with colours: of the language, and of the words that changed."""
    result: _Runs = {}
    for kinds in (" -", " +"):
        lines = [line for line in hunk if line.kind in kinds]
        if not lines:
            continue
        texts = [_shown(line) for line in lines]
        coloured = (
            coloured_lines("\n".join(texts), language) if language else [[(text, "")] if text else [] for text in texts]
        )
        for line, runs in zip(lines, coloured, strict=True):
            background = _STYLE[line.kind]
            result[id(line)] = [
                (text, style.replace("code-block", background).strip() or background) for text, style in runs
            ]
    for old, new in pairs(hunk):
        if old is not None and new is not None and old is not new:
            spans = changed_spans(_shown(old), _shown(new))
            for line, changed in zip((old, new), spans, strict=True):
                result[id(line)] = _emphasised(result[id(line)], changed, f"{_STYLE[line.kind]}-word")
    return result


def _shown(line: DiffLine) -> str:
    return visible(line.text).expandtabs(TAB)


def _emphasised(runs: Sequence[Run], spans: Sequence[tuple[int, int]], style: str) -> list[Run]:
    if not spans:
        return list(runs)
    bounds = [0, *(bound for span in spans for bound in span), sum(len(text) for text, _ in runs)]
    pieces = cut(runs, list(pairwise(bounds)))
    return [
        (text, f"{names} {style}".strip() if number % 2 else names)
        for number, piece in enumerate(pieces)
        for text, names in piece
    ]


def _line_rows(line: DiffLine, runs: _Runs, width: int, gutter: str, digits: int, *, old: bool = False) -> list[Row]:
    style = _STYLE[line.kind]
    number = (line.old if old or line.kind == "-" else line.new) if digits else 0
    shown = f"{number or '':>{digits}}" if digits else ""
    first = [(f"{gutter}{shown}", "diff-number"), (f" {line.kind} ", style)]
    rest = [(gutter + " " * digits, "diff-number"), ("   ", style)]
    pad = len(gutter) + digits + 3
    return flow(runs[id(line)], width, first=first, rest=rest, gutter=pad, fill=style)


def _side_by_side(hunk: Hunk, runs: _Runs, width: int, gutter: str, digits: int) -> list[Row]:
    half = (width - len(gutter) - 3) // 2
    rows: list[Row] = []
    for old, new in pairs(hunk):
        left = _line_rows(old, runs, half + len(gutter), gutter, digits, old=True) if old else []
        right = _line_rows(new, runs, half, "", digits) if new else []
        for one, other in zip_longest(left, right):
            before: tuple[Run, ...] = one.runs if one else ((gutter, ""),)
            missing = len(gutter) + half - (one.cells if one else len(gutter))
            after: tuple[Run, ...] = other.runs if other else ()
            rows.append(
                Row(
                    (*before, (" " * missing, one.fill if one else ""), (" │ ", "diff-number"), *after),
                    len(gutter) + half + 3 + (other.cells if other else 0),
                    None,
                    len(gutter),
                    other.fill if other else "",
                )
            )
    return rows
