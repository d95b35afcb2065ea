"""The detail of a list's marked item: blocks as the transcript shows them, and plain text among them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from qianda.tui.transcript.answer import LazyBlock
from qianda.tui.transcript.blocks import Block
from qianda.tui.transcript.rows import Row, flow_text
from qianda.tui.transcript.view import Transcript


class Detail(Transcript, can_focus=True):
    """About the marked item."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "rows(-1)", show=False),
        Binding("down", "rows(1)", show=False),
        Binding("home", "edge(False)", show=False),
        Binding("end", "edge(True)", show=False),
    ]

    def show(self, blocks: Sequence[Block], *, end: bool = False) -> None:
        """Show other blocks, from the top or at the end."""
        self.clear()
        self.follow = end
        self.add(*blocks)

    def action_rows(self, rows: int) -> None:
        """Scroll by rows."""
        self.move(rows)

    def action_edge(self, end: bool) -> None:
        """To the beginning or the end, without laying out what is between."""
        self.go(self.stack.total if end else 0)


class TextBlock(Block):
    """Plain text, wrapped.

    Args:
        text: any number of lines.
        style: names of its styles.
        gap: a blank line stands before it.
    """

    def __init__(self, text: str, style: str = "", *, gap: bool = False) -> None:
        super().__init__(gap=gap)
        self.text = text
        self._style = style

    def _build(self, width: int) -> list[Row]:
        return flow_text(self.text, width, self._style)

    def _size(self) -> tuple[int, int]:
        return len(self.text), self.text.count("\n") + 1


def code(text: str, language: str = "") -> LazyBlock:
    """A text as a block of code; nothing in it is read as Markdown."""
    fence = "```"
    while fence in text:
        fence += "`"
    return LazyBlock(f"{fence}{language}\n{text}\n{fence}")


def json_code(text: str) -> LazyBlock:
    """JSON text, indented; what is no JSON stays as it is."""
    try:
        return code(json.dumps(json.loads(text or "{}"), ensure_ascii=False, indent=2), "json")
    except ValueError:
        return code(text)
