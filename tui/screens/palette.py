"""The command palette: type some letters of what is wanted, Enter does it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.fuzzy import Matcher

from qianda.tui.commands import Command
from qianda.tui.screens.help import HelpScreen, command_items
from qianda.tui.screens.items import Column, Item


class PaletteScreen(HelpScreen):
    """All commands, the best match first."""

    COLUMNS = (Column(most=18), Column(grow=True), Column(most=20))
    HEADING = "What is to be done?"
    FIND_FIRST = True

    async def load(self) -> Sequence[Item[Command | None]]:
        """The table; a command in the place of a key."""
        return [
            Item(item.key, (word, text, keys), item.value, group=item.group, words=item.words)
            for item in command_items()
            for keys, word, text in [item.cells]
        ]

    async def found(self, words: str) -> Sequence[Item[Command | None]]:
        """Those that have the letters in this order; whole words and their beginnings come first."""
        matcher = Matcher(words)
        scored = [(max(matcher.match(text) for text in (*item.cells, item.words)), item) for item in self.items]
        return [item for score, item in sorted(scored, key=lambda pair: -pair[0]) if score > 0]
