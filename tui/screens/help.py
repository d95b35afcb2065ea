"""The help screen: every key and command, and Enter does what is marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar, cast

from textual.binding import Binding, BindingType

from qianda.tui.commands import COMMANDS, EDITOR_KEYS, Command
from qianda.tui.screens.items import Column, Item
from qianda.tui.screens.listing import ListScreen
from qianda.tui.words import t


class HelpScreen(ListScreen[Command | None]):
    """Lists them by groups."""

    COLUMNS = (Column(most=20), Column(grow=True))
    HEADING = "Keys and commands"
    HAS_DETAIL = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "choose", "do it")]

    async def load(self) -> Sequence[Item[Command | None]]:
        """The table, by groups, and the editor's keys."""
        prompt = [
            Item(keys, (t(keys), t(text)), cast("Command | None", None), group=t("In the prompt"))
            for keys, text in EDITOR_KEYS
        ]
        # Their words with what they do: in a column of their own they would leave too little of 80 columns to that.
        return [*prompt, *(replace(item, cells=(item.cells[0], _told(*item.cells[1:]))) for item in command_items())]

    def choose(self, item: Item[Command | None]) -> None:
        """Do it, in the chat."""
        if item.value is None:
            self.say(t("This key works in the prompt"))
            return
        self.dismiss()
        self.program.call_later(self.program.begin, item.value)


def _told(word: str, text: str) -> str:
    return f"{word}: {text}" if word else text


def command_items() -> Iterable[Item[Command | None]]:
    """The table as items: keys, word, what it does."""
    groups = list(dict.fromkeys(command.group for command in COMMANDS))
    for command in sorted(COMMANDS, key=lambda command: groups.index(command.group)):
        word = f"/{command.name} {t(command.takes)}".strip() if command.name else ""
        yield Item(
            word or command.shown,
            (command.shown, word, t(command.text)),
            command,
            group=t(command.group),
            words=command.text,
        )
