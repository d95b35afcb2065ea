"""What the folder brings, file by file, and trusting it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from qianda.tools.mcp.brought import Brought, look_at
from qianda.tui.screens.detail import TextBlock, code
from qianda.tui.screens.items import Column, Item
from qianda.tui.screens.listing import ListScreen
from qianda.tui.transcript.blocks import Block
from qianda.tui.transcript.diff_rows import language_of
from qianda.tui.words import t

_MOST = 200_000
"""Characters of a file that are shown."""


class TrustScreen(ListScreen[str]):
    """The files that a folder brings; the detail shows what is in them."""

    COLUMNS = (Column(most=40), Column(grow=True))
    HEADING = "What this folder brings"
    EMPTY = "This folder brings nothing that has to be trusted"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "trust", "trust all of it")]
    _brought: Brought | None = None

    def heading(self) -> str:
        """Whether it is trusted."""
        if self._brought is None or not self._brought.lines:
            return super().heading()
        state = t("trusted") if self._brought.known else t("not trusted, and not used")
        return f"{super().heading()}: {state}"

    async def load(self) -> Sequence[Item[str]]:
        """A line for each file."""
        problems: list[str] = []
        self._brought = brought = await asyncio.to_thread(look_at, self.chat.workspace, problems.append)
        self.say(" ".join(problems))
        told = {name: [line for line in brought.lines if line.startswith(f"{name}: ")] for name in brought.files}
        # MCP servers are told by the bare name of their file.
        bare = {
            name: [line for line in brought.lines if line.startswith(f"{name.rpartition('/')[2]}: MCP")]
            for name in told
        }
        return [
            Item(name, (name, "; ".join(line.partition(": ")[2] for line in (*told[name], *bare[name]))), name)
            for name in brought.files
        ]

    async def detail(self, item: Item[str]) -> Sequence[Block]:
        """The file."""
        path = self.chat.workspace / item.value
        text = await asyncio.to_thread(path.read_text, encoding="utf-8", errors="replace")
        more = [TextBlock(t("… and {count} more characters", count=len(text) - _MOST))] if len(text) > _MOST else []
        return [TextBlock(item.cells[1], "call-name"), code(text[:_MOST], language_of(item.value)), *more]

    def action_trust(self) -> None:
        """Trust it, as it was loaded."""
        brought = self._brought
        if brought is None or not brought.lines or brought.known:
            self.say(t("There is nothing to trust"))
            return
        self.dismiss()
        self.program.call_later(self.chat.welcome.trust, brought)
