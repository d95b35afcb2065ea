"""The splitter: cuts a Markdown stream into chunks that can be parsed alone, line by line, knowing hardly any Markdown.

A finished chunk never changes; only the tail is parsed again while the stream goes on. It knows fences, headings, blank
lines and top-level list items; everything else is left to the parser that reads the chunks.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Literal

from qianda.tui.transcript.maths import math_end

CODE_PART = 64
"""Lines of code, or rows of a table, after which a chunk is cut."""

_FENCE = re.compile(r"^( *)(`{3,}(?=[^`]*$)|~{3,})\s*([^\s`{]*)")
_HEADING = re.compile(r"^ {0,3}#{1,6}(?:\s|$)")
_RULE = re.compile(r"^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
_ITEM = re.compile(r"^( {0,3})([-*+]|(\d{1,9})[.)])([ \t]+|$)")
_QUOTE = re.compile(r"^ {0,3}>")
_TABLE_RULE = re.compile(r"^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_UNDECIDED = re.compile(r"^\s*(?:[-*+_=#>`~|]{1,3}|\d{1,9}[.)]?)\s*$")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a message.

    Args:
        kind: Markdown, or the inside of a code fence.
        text: Markdown source, or lines of code.
        gap: a blank row belongs before it.
        indent: columns that it is moved to the right, being inside a list item.
        number: of an item of an ordered list; its own marker does not count.
        language: of the code, as its fence said.
        part: from 1 on, the chunk goes on with the code or table of the one before.
        head: of a table's later part: the source of its first part, which fixed the columns.
    """

    kind: Literal["markdown", "code"]
    text: str
    gap: bool = True
    indent: int = 0
    number: int | None = None
    language: str = ""
    part: int = 0
    head: str = ""


@dataclass(frozen=True, slots=True)
class _Fence:
    mark: str
    indent: int
    column: int
    language: str

    def closes(self, line: str) -> bool:
        stripped = line.strip()
        return (
            len(stripped) >= len(self.mark)
            and stripped == self.mark[0] * len(stripped)
            and len(line) - len(line.lstrip(" ")) <= self.indent + 3
        )


class Splitter:
    """Feed it text in any pieces; the chunks that come out are the same."""

    def __init__(self) -> None:
        self._partial = ""
        self._lines: list[str] = []
        self._done: list[Chunk] = []
        self._fence: _Fence | None = None
        self._part = 0
        self._head = ""
        self._blank = True
        self._gap = True
        self._indent = 0  # of the chunk that is being collected
        self._number: int | None = None  # of the item that is being collected
        self._item = 0  # the column where the current list item's content starts; 0 outside lists
        self._math: str | None = None  # what ends the displayed formula that we are in
        self._count: int | None = None  # the last number of the ordered list that we are in

    def feed(self, text: str) -> list[Chunk]:
        """Take more text; give the chunks that it finished."""
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._line(line.removesuffix("\r"))
        done, self._done = self._done, []
        return done

    def tail(self) -> list[Chunk]:
        """What the unfinished rest would be if the text ended here; a line's first marks wait for what they mean."""
        return copy.copy(self).close(undecided=False)

    def close(self, *, undecided: bool = True) -> list[Chunk]:
        """The text has ended: the last chunks.

        Args:
            undecided: whether a last line counts that has only marks so far, and may yet become a list or a fence.
        """
        partial, self._partial = self._partial.removesuffix("\r"), ""
        if partial and (undecided or not _UNDECIDED.match(partial)):
            self._line(partial)
        self._flush()
        done, self._done = self._done, []
        self._fence = None
        return done

    def __copy__(self) -> Splitter:
        other = Splitter()
        vars(other).update(vars(self), _lines=list(self._lines), _done=[])
        return other

    def _flush(self) -> None:
        """Finish the chunk that is being collected."""
        if self._fence:
            if self._lines or not self._part:
                self._emit(
                    Chunk(
                        "code",
                        "\n".join(self._lines),
                        self._gap,
                        self._fence.column,
                        None,
                        self._fence.language,
                        self._part,
                    )
                )
        elif self._lines:
            text = "\n".join(self._lines).rstrip("\n")
            self._emit(Chunk("markdown", text, self._gap, self._indent, self._number, "", self._part, self._head))
        self._lines = []
        self._number, self._part, self._head, self._gap = None, 0, "", True

    def _emit(self, chunk: Chunk) -> None:
        self._done.append(chunk)
        self._blank = False

    def _line(self, line: str) -> None:
        if self._fence:
            self._code(line, self._fence)
        elif self._math and line.strip():
            self._lines.append(line)
            if self._math in line:
                self._flush()
                self._blank, self._math = False, None
        elif not line.strip():
            self._math = None
            if not self._item:
                self._flush()
            elif self._lines:
                self._lines.append("")
            self._blank = True
        else:
            expanded = line.expandtabs(4) if line[0] in " \t" else line
            if not (self._item and self._in_item(expanded)):
                self._top(expanded)
            self._blank = False

    def _code(self, line: str, fence: _Fence) -> None:
        if fence.closes(line):
            self._flush()
            self._fence = None
            self._indent = self._item
            return
        lead = len(line) - len(line.lstrip(" "))
        self._lines.append(line[min(lead, fence.indent) :])
        if len(self._lines) == CODE_PART:
            part = self._part
            self._flush()
            self._part, self._gap = part + 1, False

    def _in_item(self, line: str) -> bool:
        """Take the line if it belongs to the current list item, or starts the next one."""
        indent = len(line) - len(line.lstrip(" "))
        if indent >= self._item:
            if (found := _FENCE.match(line)) is not None:
                self._open_fence(found, indent, gap=self._blank)
            else:
                if not self._lines:  # the item goes on after a fence
                    self._gap, self._indent = self._blank, self._item
                self._lines.append(line[self._indent :])
            return True
        if not _RULE.match(line) and (marker := _ITEM.match(line)) is not None:
            self._start_item(marker, gap=self._blank, nested=indent > 0)
            return True
        if (
            not self._blank
            and self._lines
            and not (_FENCE.match(line) or _HEADING.match(line) or _RULE.match(line) or _QUOTE.match(line))
            and not math_end(line)
        ):
            self._lines.append(line)  # a paragraph that goes on without indentation
            return True
        self._flush()
        self._item, self._count, self._indent = 0, None, 0
        return False

    def _top(self, line: str) -> None:
        lines = self._lines
        if (found := _FENCE.match(line)) is not None and len(found[1]) <= 3:
            self._open_fence(found, 0, gap=True)
        elif _HEADING.match(line):
            self._flush()
            lines = self._lines
            self._lines.append(line)
            self._flush()
        elif (rule := _RULE.match(line)) is not None:
            if not (lines and rule[1] == "-"):  # under a paragraph dashes make it a heading
                self._flush()
            self._lines.append(line)
            self._flush()
        elif (marker := _ITEM.match(line)) is not None and not (lines and marker[3] not in (None, "1")):
            self._start_item(marker, gap=True, nested=False)
        elif (end := math_end(line)) is not None:
            self._flush()
            self._lines.append(line)
            self._math = end
        elif lines and _QUOTE.match(line) and not _QUOTE.match(lines[0]):
            self._flush()
            self._lines.append(line)
        else:
            if len(lines) == CODE_PART + 2 and "|" in lines[0] and _TABLE_RULE.match(lines[1]):
                self._cut_table()
            self._lines.append(line)

    def _open_fence(self, found: re.Match[str], column: int, *, gap: bool) -> None:
        self._flush()
        self._gap = gap
        self._fence = _Fence(mark=found[2], indent=len(found[1]), column=column, language=found[3])

    def _start_item(self, marker: re.Match[str], *, gap: bool, nested: bool) -> None:
        self._flush()
        indent = len(marker[1])
        self._gap = gap
        self._item = indent + len(marker[2]) + (len(marker[4]) if 1 <= len(marker[4]) <= 4 else 1)
        self._indent = indent if nested else 0
        if marker[3] is not None:
            self._count = int(marker[3]) if self._count is None else self._count + 1
            self._number = self._count
        elif not nested:
            self._count = None
        self._lines.append(marker.string[self._indent :])

    def _cut_table(self) -> None:
        lines, part = self._lines, self._part
        head = self._head or "\n".join(lines)
        self._flush()
        self._lines = lines[:2]
        self._part, self._head, self._gap = part + 1, head, False
