"""Keeps head and tail of a process's output in bounded memory."""

from __future__ import annotations

import codecs
import re

from qianda.tools.results import left_out

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


class Output:
    """Takes bytes as they come and gives text.

    Args:
        limit: characters that are kept, half of them from the end.

    Attributes:
        total: characters that came.
    """

    def __init__(self, limit: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._half = limit // 2
        self._head = ""
        self._tail: list[str] = []
        self._tail_size = 0
        self.total = 0

    def add(self, content: bytes, *, final: bool = False) -> str:
        """Take more bytes.

        Args:
            content: at any cut, also inside a character.
            final: nothing more comes.

        Returns:
            Their text, without the control sequences of terminals.
        """
        text = _ESCAPES.sub("", self._decoder.decode(content, final))
        self.total += len(text)
        room = self._half - len(self._head)
        self._head += text[:room]
        self._tail.append(text[room:])
        self._tail_size += len(self._tail[-1])
        if self._tail_size > 2 * self._half:  # not at each piece: it copies all of it
            self._tail = [self._kept_tail()]
            self._tail_size = self._half
        return text

    @property
    def missing(self) -> int:
        """How many characters were not kept."""
        return max(self.total - 2 * self._half, 0)

    def text(self) -> str:
        """What was kept; where something is missing, a line says how much."""
        return self._head + (left_out(self.missing, self.total) if self.missing else "") + self._kept_tail()

    def _kept_tail(self) -> str:
        return "".join(self._tail)[-self._half :]
