"""The files that this conversation changed: their differences, and taking them back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from qianda.tools.undo import Change, Undone, changes_of_steps, undo_steps
from qianda.tui.panes.shown import Rows
from qianda.tui.recorded import open_record
from qianda.tui.screens.detail import TextBlock
from qianda.tui.screens.items import Column, Item
from qianda.tui.screens.listing import ListScreen
from qianda.tui.transcript.blocks import Block
from qianda.tui.transcript.diff import Diff, read_unified
from qianda.tui.transcript.diff_rows import diff_rows
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.chat import Chat

Changed = tuple[Change, Diff]


class ChangesScreen(ListScreen[Changed]):
    """A line per file."""

    COLUMNS = (Column(grow=True), Column(most=10), Column(most=7, right=True), Column(most=7, right=True))
    EMPTY = "This conversation has changed no files that are left to undo"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "difference"),
        Binding("u", "undo", "undo file"),
        Binding("U", "undo_all", "undo all"),
    ]

    def heading(self) -> str:
        """How many files, how many lines."""
        added, removed = (sum(getattr(item.value[1], name) for item in self.items) for name in ("added", "removed"))
        count = len(self.items)
        return t(
            "Files changed in this conversation: {count} (+{added} −{removed})",
            count=count,
            added=added,
            removed=removed,
        )

    async def load(self) -> Sequence[Item[Changed]]:
        """The files that are not as they were before."""
        changes = await asyncio.to_thread(lambda: changes_of_steps(steps_of(self.chat)))
        return [_item(change) for change in changes]

    async def detail(self, item: Item[Changed]) -> Sequence[Block]:
        """The difference."""
        return difference(item.value[1])

    def choose(self, item: Item[Changed]) -> None:
        """The difference on the whole screen."""
        from qianda.tui.screens.diff import DiffScreen

        self.program.push_screen(DiffScreen(item.value[0].path, item.value[1]))

    def action_undo(self) -> None:
        """Take one file back."""
        if self.item is not None:
            self.act(self._undo([self.item.value[0].path]))

    def action_undo_all(self) -> None:
        """Take all files back."""
        self.act(self._undo([item.value[0].path for item in self.items]))

    async def _undo(self, paths: Sequence[str]) -> None:
        if self.chat.busy:
            self.say(t("Stop the run first: Esc"))
            return
        steps = await asyncio.to_thread(steps_of, self.chat)
        would = await asyncio.to_thread(lambda: undo_steps(steps, paths=paths, dry=True))
        if not would.restored:
            self.say(told(would) or t("Everything is as it was already"))
            return
        what = would.restored[0].path if len(would.restored) == 1 else t("{count} files", count=len(would.restored))
        spared = (
            t("; {count} stay, as others changed them since", count=len(would.conflicts)) if would.conflicts else ""
        )
        if await self.confirm(t("Take back what was changed in {what}{spared}?", what=what, spared=spared)):
            undone = await asyncio.to_thread(lambda: undo_steps(steps, paths=paths))
            await self._reload()
            self.say(told(undone))


def steps_of(chat: Chat) -> list[tuple[str, int | None]]:
    """The steps of the conversation, from the record; where it is not recorded, those that this program has seen."""
    from qianda.agents.journal_forks import session_steps

    journal = open_record()
    try:
        return session_steps(journal, chat.session) or [(run, None) for run in chat.trace.runs]
    finally:
        journal.close()


def told(undone: Undone) -> str:
    """What taking back did, or would do."""
    back = [change.path for change in undone.restored]
    more = t(" and {count} more", count=len(back) - 3) if len(back) > 3 else ""
    parts = [t("Back as before: {files}{more}", files=", ".join(back[:3]), more=more)] if back else []
    parts += [t("{file} stays as it is: {why}", file=one.path, why=one.reason) for one in undone.conflicts[:3]]
    return " · ".join(parts)


def difference(diff: Diff) -> list[Block]:
    """A difference as blocks."""
    if diff.hunks:
        return [Rows(lambda width: diff_rows(diff, width))]
    return [TextBlock(t("It cannot be shown: it is no text, or too long"), "call-note")]


def parsed(change: Change) -> Diff:
    """A change's difference as data."""
    kind = change.kind if change.kind in ("created", "deleted") else "changed"
    diff = read_unified(change.diff, change.path) or Diff(change.path, ())
    return replace(diff, kind=kind)


def _item(change: Change) -> Item[Changed]:
    diff = parsed(change)
    counts = (f"+{diff.added}", f"−{diff.removed}") if diff.hunks else ("", "")
    return Item(change.path, (change.path, t(change.kind), *counts), (change, diff))
