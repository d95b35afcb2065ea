"""Rewind: back to before one of this conversation's prompts, with the files as they were then or as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from textual.binding import Binding, BindingType

from qianda.tools.undo import Undone
from qianda.tui.recorded import age, open_record
from qianda.tui.screens.changes import difference, parsed, told
from qianda.tui.screens.detail import TextBlock
from qianda.tui.screens.items import Column, Item
from qianda.tui.screens.listing import ListScreen
from qianda.tui.transcript.blocks import Block
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.agents.journal_forks import Rewound


class Prompt(NamedTuple):
    """A prompt of the conversation.

    Args:
        number: from 1.
        text: of it.
    """

    number: int
    text: str


class RewindScreen(ListScreen[Prompt]):
    """The prompts, the latest first."""

    COLUMNS = (Column(most=4, right=True), Column(grow=True), Column(most=10, right=True))
    HEADING = "Back to before which prompt? What is here now stays a session"
    EMPTY = "This conversation has no prompt in the record yet"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "back, files stay"),
        Binding("f", "files", "back, files too"),
    ]

    async def load(self) -> Sequence[Item[Prompt]]:
        """From the record."""
        return await asyncio.to_thread(self._prompts)

    def _prompts(self) -> list[Item[Prompt]]:
        from qianda.agents.conversation import read_content
        from qianda.models.messages import content_text

        items: list[Item[Prompt]] = []
        journal = open_record()
        try:
            for number, run_id in enumerate(journal.runs(self.chat.session), 1):
                said = next((record for record in journal.records(run_id) if record.kind == "input"), None)
                text = content_text(read_content(said.data)) if said else ""
                when = age(said.time) if said else ""
                items.append(Item(run_id, (str(number), text, when), Prompt(number, text)))
        finally:
            journal.close()
        return items[::-1]

    async def detail(self, item: Item[Prompt]) -> Sequence[Block]:
        """What of the files would go back."""
        would = await asyncio.to_thread(self._would, item.value)
        if not would.restored and not would.conflicts:
            return [TextBlock(t("No file was changed since"), "call-note")]
        blocks: list[Block] = [TextBlock(t("With files, this would go back as well:"), "call-note")]
        for conflict in would.conflicts:
            stays = t("{file} stays as it is: {why}", file=conflict.path, why=conflict.reason)
            blocks.append(TextBlock(stays, "notice-warning"))
        for change in would.restored:
            diff = parsed(change)
            blocks += [
                TextBlock(f"{change.path} {diff.count if diff.hunks else ''}", "strong", gap=True),
                *difference(diff),
            ]
        return blocks

    def _would(self, prompt: Prompt) -> Undone:
        from qianda.agents.journal_forks import files_of_rewind

        journal = open_record()
        try:
            return files_of_rewind(journal, self.chat.session, prompt.number - 1)
        finally:
            journal.close()

    def choose(self, item: Item[Prompt]) -> None:
        """Back, and the files stay."""
        self.act(self._rewind(item.value, files=False))

    def action_files(self) -> None:
        """Back, with the files."""
        if self.item is not None:
            self.act(self._rewind(self.item.value, files=True))

    async def _rewind(self, prompt: Prompt, *, files: bool) -> None:
        chat = self.chat
        if chat.busy:
            self.say(t("Stop the run first: Esc"))
            return
        if files:
            would = await asyncio.to_thread(self._would, prompt)
            if would.restored and not await self.confirm(t("{what}. Go back?", what=told(would))):
                return
        rewound = await asyncio.to_thread(self._do, prompt, files)
        chat.go_to(chat.session)
        self.program.chat_screen.editor.put_back(prompt.text)
        kept = t(
            "Back to before prompt {number}; as it was it is kept as {name}", number=prompt.number, name=rewound.kept_as
        )
        chat.say(" · ".join(filter(None, [kept, told(rewound.files) if rewound.files else ""])))
        self.dismiss()

    def _do(self, prompt: Prompt, files: bool) -> Rewound:
        from qianda.agents.journal_forks import rewind_session

        journal = open_record()
        try:
            return rewind_session(journal, self.chat.session, prompt.number - 1, files=files)
        finally:
            journal.close()
