"""Follows JSON text piece by piece to where its first value ends, without building anything."""

from __future__ import annotations

import re

# Quotes that models write around strings, and what closes each. Valid JSON has none but the first outside of strings.
CLOSERS = {'"': '"', "'": "'", "“": "”", "”": "”", "‘": "’", "’": "’"}
# A string's body up to its closing quote; possessive, so that a long one needs no backtracking memory.
BODIES = {closer: re.compile(rf"[^{closer}\\]*+(?:\\.[^{closer}\\]*+)*+", re.DOTALL) for closer in "\"'”’"}
_OUTSIDE = re.compile(r"[^\"'“”‘’{}\[\]<]*+")


class JsonScan:
    """Where JSON text ends, across any split; tolerant of wrong quotes and of raw control characters.

    Attributes:
        depth: open braces and brackets.
        floor: ``scan`` stops where a closing brace or bracket brings ``depth`` down to this.
    """

    __slots__ = ("_closer", "_escaped", "depth", "floor")

    def __init__(self) -> None:
        self.depth = 0
        self.floor = 0
        self._closer = ""
        self._escaped = False

    def scan(self, text: str, start: int = 0) -> tuple[int, str]:
        """Read on in ``text`` from ``start``.

        Returns:
            The position reached, and why there: ``"end"`` just behind the character that ended the value (or brought
            the depth down to the floor), ``"<"`` at a ``<`` outside of strings, ``""`` at the end of ``text``.
        """
        at, size = start, len(text)
        while at < size:
            if self._closer:
                if self._escaped:
                    self._escaped = False
                    at += 1
                    continue
                if body := BODIES[self._closer].match(text, at):
                    at = body.end()
                if at == size:
                    break
                at += 1
                if text[at - 1] == "\\":
                    self._escaped = True
                    break
                self._closer = ""
                if not self.depth:
                    return at, "end"
                continue
            if plain := _OUTSIDE.match(text, at):
                at = plain.end()
            if at == size:
                break
            char = text[at]
            if char == "<":
                return at, "<"
            at += 1
            if char in "{[":
                self.depth += 1
            elif char in "}]":
                self.depth -= 1
                if self.depth <= self.floor:
                    return at, "end"
            else:
                self._closer = CLOSERS[char]
        return size, ""
