"""The difference of two texts as data: hunks of lines, pairs for two columns, and what changed within a line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Literal, NamedTuple

from qianda.tui.words import t

CONTEXT = 3
"""Lines around a change."""
_LARGEST = 20_000_000
"""Lines of one text times lines of the other: what is more is shown as replaced, difflib would take seconds."""
_LONGEST_LINE = 400
"""Characters of a line within which words are compared."""
_TOKEN = re.compile(r"\w+|\s+|.")
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@")

Kind = Literal[" ", "-", "+"]


class DiffLine(NamedTuple):
    """A line of a hunk.

    Args:
        kind: " " in both texts, "-" only in the old one, "+" only in the new one.
        text: without its line end.
        old: its number in the old text, from 1; 0 when it is not in it.
        new: its number in the new text likewise.
    """

    kind: Kind
    text: str
    old: int
    new: int


Hunk = tuple[DiffLine, ...]
"""Changed lines that are near each other, with some lines around them."""


@dataclass(frozen=True, slots=True)
class Diff:
    """The difference of a file.

    Args:
        path: the file's, as people know it.
        hunks: what changed, from top to bottom; empty for what is no text.
        kind: what became of the file.
        note: what people should know of a difference that cannot be shown, or not whole.
    """

    path: str
    hunks: tuple[Hunk, ...]
    kind: Literal["created", "changed", "deleted"] = "changed"
    note: str = ""

    @property
    def added(self) -> int:
        """How many lines are new."""
        return sum(line.kind == "+" for hunk in self.hunks for line in hunk)

    @property
    def removed(self) -> int:
        """How many lines are gone."""
        return sum(line.kind == "-" for hunk in self.hunks for line in hunk)

    @property
    def count(self) -> str:
        """``+12 −3``."""
        return f"+{self.added} −{self.removed}"


def compare(old: str | None, new: str | None, path: str = "", *, context: int = CONTEXT) -> Diff:
    """The difference of two texts.

    Args:
        old: None when there was no file.
        new: None when there is no file any more.
        path: the file's, for people.
        context: lines around each change.
    """
    before, after = (old or "").splitlines(), (new or "").splitlines()
    hunks: list[Hunk] = []
    lines: list[DiffLine] = []
    for tag, i1, i2, j1, j2 in _opcodes(before, after):
        if tag != "equal":
            lines += [DiffLine("-", before[i], i + 1, 0) for i in range(i1, i2)]
            lines += [DiffLine("+", after[j], 0, j + 1) for j in range(j1, j2)]
            continue
        same = range(i2 - i1)
        head = same[:context] if lines else same[:0]
        tail = same[max(len(same) - context, len(head)) :] if j2 < len(after) or i2 < len(before) else same[:0]
        lines += [DiffLine(" ", before[i1 + n], i1 + n + 1, j1 + n + 1) for n in head]
        if lines and len(head) + len(tail) < len(same):
            hunks.append(tuple(lines))
            lines = []
        lines += [DiffLine(" ", before[i1 + n], i1 + n + 1, j1 + n + 1) for n in tail]
    if any(line.kind != " " for line in lines):
        hunks.append(tuple(lines))
    note = t("only line ends changed") if not hunks and old is not None and new is not None and old != new else ""
    return Diff(path, tuple(hunks), "created" if old is None else "deleted" if new is None else "changed", note)


def _opcodes(before: Sequence[str], after: Sequence[str]) -> Iterator[tuple[str, int, int, int, int]]:
    """What ``difflib`` finds, only that what is the same at both ends costs nothing."""
    shorter = min(len(before), len(after))
    start = next((n for n in range(shorter) if before[n] != after[n]), shorter)
    end = next((n for n in range(shorter - start) if before[-1 - n] != after[-1 - n]), shorter - start)
    if start:
        yield "equal", 0, start, 0, start
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if len(old) * len(new) > _LARGEST:
        yield "replace", start, start + len(old), start, start + len(new)
    else:
        for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new).get_opcodes():
            yield tag, start + i1, start + i2, start + j1, start + j2
    if end:
        yield "equal", len(before) - end, len(before), len(after) - end, len(after)


def read_unified(text: str, path: str = "") -> Diff | None:
    """The difference that a text holds in the unified format; lines that are no part of it are passed over.

    Args:
        text: for instance a tool's result.
        path: the file's, for people.

    Returns:
        The difference, or None when there is none in the text.
    """
    hunks: list[Hunk] = []
    lines: list[DiffLine] = []
    old = new = 0
    for line in text.splitlines():
        if (found := _HUNK.match(line)) is not None:
            if lines:
                hunks.append(tuple(lines))
                lines = []
            old, new = int(found[1]), int(found[2])
        elif old or new:
            match line[:1]:
                case "-":
                    lines.append(DiffLine("-", line[1:], old, 0))
                    old += 1
                case "+":
                    lines.append(DiffLine("+", line[1:], 0, new))
                    new += 1
                case " ":
                    lines.append(DiffLine(" ", line[1:], old, new))
                    old, new = old + 1, new + 1
                case _:
                    pass
    if lines:
        hunks.append(tuple(lines))
    return Diff(path, tuple(hunks)) if hunks else None


def pairs(hunk: Iterable[DiffLine]) -> Iterator[tuple[DiffLine | None, DiffLine | None]]:
    """The lines for two columns: what was removed beside what came in its place."""
    removed: list[DiffLine] = []
    added: list[DiffLine] = []
    for line in hunk:
        match line.kind:
            case "-" if not added:
                removed.append(line)
            case "+":
                added.append(line)
            case _:
                yield from zip_longest(removed, added)
                removed, added = ([line], []) if line.kind == "-" else ([], [])
                if line.kind == " ":
                    yield line, line
    yield from zip_longest(removed, added)


@lru_cache(maxsize=2000)
def changed_spans(old: str, new: str) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]:
    """Which characters of two lines differ, by words; nothing where the lines have hardly anything in common.

    Returns:
        Starts and ends in the old line, and in the new one.
    """
    if max(len(old), len(new)) > _LONGEST_LINE:
        return (), ()
    before, after = _TOKEN.findall(old), _TOKEN.findall(new)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    words = sum(not token.isspace() for token in (*before, *after))
    same = sum(
        not token.isspace()
        for start, _, size in matcher.get_matching_blocks()
        for token in before[start : start + size]
    )
    if 2 * same < 0.5 * words:
        return (), ()
    changes = [opcode for opcode in matcher.get_opcodes() if opcode[0] != "equal"]
    return (
        tuple(_spans(before, ((i1, i2) for _, i1, i2, _, _ in changes))),
        tuple(_spans(after, ((j1, j2) for _, _, _, j1, j2 in changes))),
    )


def _spans(tokens: Sequence[str], ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    offsets = [0]
    for token in tokens:
        offsets.append(offsets[-1] + len(token))
    for start, end in ranges:
        if end > start:
            yield offsets[start], offsets[end]
