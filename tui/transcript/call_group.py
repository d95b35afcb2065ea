"""Neighbouring calls that only look, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from qianda.tui.transcript.call_text import QUIET, counted
from qianda.tui.transcript.calls import CallBlock, Card
from qianda.tui.transcript.rows import BLANK_ROW, Row, shorten, width_of

if TYPE_CHECKING:
    from qianda.tui.transcript.blocks import Block

GROUP_FROM = 3
"""Calls that only looked, from which on they share a line."""


class CallGroup(Card):
    """Neighbouring calls that only look: from a few on, those that are done share one line; no failure is in it."""

    def __init__(self, *, gap: bool = True) -> None:
        super().__init__(gap=False)
        self.members: list[CallBlock] = []
        self.folded = True
        self._blank = gap

    @property
    def active(self) -> bool:
        """Whether there are enough; each call asks for it, so not all of them are counted."""
        return len(list(islice(self._done, GROUP_FROM))) == GROUP_FROM

    @property
    def _done(self) -> Iterator[CallBlock]:
        return (member for member in self.members if member.state == "done")

    def add(self, member: CallBlock) -> None:
        """One more call."""
        member.group = self
        member.gap = False
        self.members.append(member)

    def toggle(self) -> list[Block]:
        """Fold or open it, and with it its calls."""
        changed: list[Block] = [*super().toggle(), *self.members]
        for block in changed:
            block.changed()
        return changed

    def _build(self, width: int) -> list[Row]:
        rows = [BLANK_ROW] if self._blank else []
        if not self.active:
            return rows
        counts: dict[str, int] = {}
        for member in self._done:
            counts[member.name] = counts.get(member.name, 0) + 1
        told = ", ".join(counted(count, *QUIET[name]) for name, count in counts.items())
        text = shorten(f"{'▸' if self.folded else '▾'} {told}", width)
        return [*rows, Row(((text, f"call-done @toggle={self.serial}"),), width_of(text))]

    def _size(self) -> tuple[int, int]:
        return 0, self._blank + self.active
