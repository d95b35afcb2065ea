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
    """

    def __init__(self, limit: int) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._half = limit // 2
        self._head = ""
        self._tail = ""
        self._total = 0

    def add(self, content: bytes, *, final: bool = False) -> str:
        """Take more bytes.

        Args:
            content: at any cut, also inside a character.
            final: nothing more comes.

        Returns:
            Their text, without the control sequences of terminals.
        """
        text = _ESCAPES.sub("", self._decoder.decode(content, final))
        self._total += len(text)
        room = self._half - len(self._head)
        self._head += text[:room]
        self._tail = (self._tail + text[room:])[-self._half :]
        return text

    def text(self) -> str:
        """What was kept; where something is missing, a line says how much."""
        missing = self._total - len(self._head) - len(self._tail)
        return self._head + (left_out(missing, self._total) if missing else "") + self._tail
