"""Splits streamed content into reasoning and text where the reasoning comes inside ``<think>`` … ``</think>``."""

from __future__ import annotations

import re
from typing import Literal

OPEN, CLOSE = "<think>", "</think>"
_CALL = "<tool_call>"
# A call that is really begun ends the reasoning, as in Ollama and vLLM; a mere mention of the tag does not.
_END = re.compile(r"</think>|<tool_call>\s{0,64}(?:\[\s{0,64})?(?:\{|<function=)")
# The longest tail that may still become one of these.
_CALL_BEGUN = re.compile(r"<tool_call>\s{0,64}(?:\[\s{0,64})?(?:<[functio=]{0,9})?\Z")
_LONGEST_TAIL = 160


class ThinkSplitter:
    """Takes content in pieces of any size; gives reasoning, then text.

    Reasoning starts with an optional ``<think>``, or at once when the prompt already opened it, and ends with
    ``</think>`` or where a tool call begins. Tags that are cut between two pieces are held back. Once outside, a
    further ``<think>`` before any text starts reasoning again, and further ``</think>`` before any text are swallowed;
    after that everything is text.

    Args:
        thinking_open: the prompt ended with ``<think>``, so the content starts inside the reasoning.
    """

    def __init__(self, *, thinking_open: bool = False) -> None:
        self._state: Literal["start", "open", "inside", "outside"] = "open" if thinking_open else "start"
        self._held = ""
        self.assumed = thinking_open
        """That the content started inside the reasoning was only assumed: no tag has borne it out."""

    @property
    def outside(self) -> bool:
        """All that follows is text."""
        return self._state == "outside"

    def settle(self) -> None:
        """The server splits by itself, or the reasoning ended otherwise: what follows is text but for stray tags."""
        self.assumed = False
        if self._state in ("open", "inside"):
            self._state = "start"

    def feed(self, piece: str) -> tuple[str, str]:
        """Take more content.

        Returns:
            More reasoning, and the text behind it; either may be "".
        """
        if self._state == "outside":
            return "", piece
        if self._state == "inside" and not self._held and "<" not in piece:
            return piece, ""
        buffer, self._held = self._held + piece, ""
        reasoning: list[str] = []
        while not self.outside:
            rest = self._inside(buffer, reasoning) if self._state == "inside" else self._start(buffer)
            if rest is None:
                return "".join(reasoning), ""
            buffer = rest
        return "".join(reasoning), buffer

    def close(self) -> tuple[str, str]:
        """The content is over: give what was held back, as ``feed`` does."""
        held, self._held = self._held, ""
        inside = self._state in ("open", "inside")
        self._state = "outside"
        return (held, "") if inside else ("", held)

    def _start(self, buffer: str) -> str | None:
        """Before any reasoning or text: look for a leading tag. Returns what follows it, None to wait for more."""
        begin = buffer.lstrip()
        # Endless whitespace must not make every further piece dearer; nobody misses it.
        buffer = buffer[: len(buffer) - len(begin)][-_LONGEST_TAIL:] + begin
        if begin.startswith((OPEN, CLOSE)):
            self.assumed = False
        if begin.startswith(OPEN):
            self._state = "inside"
            return begin[len(OPEN) :]
        if begin.startswith(CLOSE):
            self._state = "start"
            return begin[len(CLOSE) :]
        if OPEN.startswith(begin) or CLOSE.startswith(begin):
            self._held = buffer
            return None
        self._state = "inside" if self._state == "open" else "outside"
        return buffer

    def _inside(self, buffer: str, reasoning: list[str]) -> str | None:
        """Read reasoning up to its end. Returns what follows it, None to wait for more."""
        if end := _END.search(buffer):
            self.assumed = False
            reasoning.append(buffer[: end.start()])
            if end[0] == CLOSE:
                self._state = "start"
                return buffer[end.end() :]
            self._state = "outside"
            return buffer[end.start() :]
        cut = self._undecided(buffer)
        reasoning.append(buffer[:cut])
        self._held = buffer[cut:]
        return None

    @staticmethod
    def _undecided(buffer: str) -> int:
        """Where a tail begins that may become an end; the length of the buffer when there is none."""
        size = len(buffer)
        if begun := _CALL_BEGUN.search(buffer, max(0, size - _LONGEST_TAIL)):
            return begun.start()
        last = buffer.rfind("<", max(0, size - len(_CALL)))
        if last >= 0 and (CLOSE.startswith(buffer[last:]) or _CALL.startswith(buffer[last:])):
            return last
        return size
