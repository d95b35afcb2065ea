"""Themes: the one that is marked is shown at once, Enter keeps it, Esc goes back to the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType

from qianda.tui.screens.items import Column, Item, ItemList
from qianda.tui.screens.listing import ListScreen
from qianda.tui.transcript.answer import answer_blocks
from qianda.tui.transcript.blocks import Block, NoticeBlock, UserBlock
from qianda.tui.transcript.calls import CallBlock
from qianda.tui.transcript.diff import compare
from qianda.tui.words import t


class ThemesScreen(ListScreen[str]):
    """A line per theme, and a bit of a conversation in its colours."""

    COLUMNS = (Column(most=24), Column(grow=True))
    HEADING = "Colours"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "use it")]

    _marked = False

    async def load(self) -> Sequence[Item[str]]:
        """All of them; the chosen one is said."""
        program = self.program
        chosen = program.chosen_theme
        return [Item(name, (name, self._about(name, chosen)), name) for name in program.themes]

    def _about(self, name: str, chosen: str) -> str:
        theme = self.program.get_theme(name)
        if theme is None:
            about = t("follows the terminal")
        elif theme.ansi:
            about = t("the terminal's own 16 colours")
        else:
            about = t("dark") if theme.dark else t("light")
        return f"{about} · {t('chosen')}" if name == chosen else about

    async def detail(self, item: Item[str]) -> Sequence[Block]:
        """What it looks like."""
        del item
        edit = CallBlock("edit_file", '{"path": "area.py"}', "done")
        edit.diffs = (compare(_CODE, _CODE.replace("r * r", "r**2"), "area.py"),)
        run, write = (
            CallBlock("run_command", '{"command": "make test"}', "failed"),
            CallBlock("write_file", "{}", "denied"),
        )
        run.text, write.text = "1 failed, 12 passed", "rule write_file(.env)"
        return [
            UserBlock("What is `area`?"),
            *answer_blocks(f"## Area\n\nThe **area** of a *circle*:\n\n```python\n{_CODE}```\n"),
            *(edit, run, write),
            NoticeBlock("ConnectionReset; attempt 2 in 1 s", "warning"),
        ]

    def on_item_list_moved(self, event: ItemList.Moved) -> None:
        """Show the one that is marked; at first that is the chosen one."""
        names = [item.key for item in self.list.items]
        if not self._marked and self.program.chosen_theme in names:
            self._marked = True
            self.list.go(names.index(self.program.chosen_theme))
        elif event.item is not None:
            self.program.show_theme(event.item.key)

    def choose(self, item: Item[str]) -> None:
        """Keep it."""
        self.act(self._choose(item.value))

    async def _choose(self, name: str) -> None:
        await self.program.choose_theme(name)
        self.dismiss()

    def on_unmount(self) -> None:
        """Back to the chosen one."""
        self.program.show_theme(self.program.chosen_theme)


_CODE = "def area(r: float) -> float:\n    # of a circle\n    return 3.14159 * r * r\n"
