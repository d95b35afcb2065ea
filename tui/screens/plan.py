"""The plan: its steps with their states and notes, and plan mode on a key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from qianda.models.plan import PlanStep
from qianda.tui.screens.detail import TextBlock
from qianda.tui.screens.items import Column, Item, Tone
from qianda.tui.screens.listing import ListScreen
from qianda.tui.transcript.blocks import Block
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.models.plan import State

MARKS: dict[State, tuple[str, Tone]] = {
    "pending": ("○", ""),
    "doing": ("◐", "good"),
    "done": ("✓", "muted"),
    "failed": ("✗", "error"),
    "skipped": ("–", "muted"),
}


class PlanScreen(ListScreen[PlanStep]):
    """A line per step; it follows the run."""

    COLUMNS = (Column(most=3, right=True), Column(most=10), Column(grow=True))
    EMPTY = "There is no plan: the model writes one for a task of many steps, or in plan mode"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "whole"),
        Binding("p", "mode", "plan mode on or off"),
    ]

    @property
    def _mode(self) -> bool:
        wanted = self.chat.changes.plan
        return bool(getattr(self.chat.agent, "plan", False)) if wanted is None else wanted

    def on_mount(self) -> None:
        """Watch the run."""
        super().on_mount()
        self.chat.trace.watchers.add(self.reload)

    def on_unmount(self) -> None:
        """Look away."""
        self.chat.trace.watchers.discard(self.reload)

    def heading(self) -> str:
        """How far it is, and whether it waits for consent."""
        plan = self.chat.plan
        mode = t("plan mode is on") if self._mode else t("plan mode is off")
        if plan is None:
            return f"{t('Plan')} · {mode}"
        over = len(plan.steps) - len(plan.open)
        waits = t("it waits for your consent") if self._mode and self.chat.busy and not plan.accepted else ""
        far = t("Plan: {over} of {count} over", over=over, count=len(plan.steps))
        return " · ".join(filter(None, [far, mode, waits]))

    async def load(self) -> Sequence[Item[PlanStep]]:
        """The steps."""
        plan = self.chat.plan
        return [_item(number, step) for number, step in enumerate(plan.steps if plan else (), 1)]

    async def detail(self, item: Item[PlanStep]) -> Sequence[Block]:
        """The whole of a step."""
        step = item.value
        note = [TextBlock(step.note, "call-note")] if step.note else []
        return [TextBlock(f"{item.cells[0]}. {step.text}", "strong"), TextBlock(t(step.state)), *note]

    def action_mode(self) -> None:
        """Plan mode on or off, for the next runs."""
        self.act(self._switch())

    async def _switch(self) -> None:
        if self.chat.busy:
            self.say(t("Stop the run first: Esc"))
            return
        on = not self._mode
        await self.chat.change(plan=on)
        await self._show()
        self.say(t("From the next prompt on the model plans first") if self._mode else "")


def _item(number: int, step: PlanStep) -> Item[PlanStep]:
    mark, tone = MARKS[step.state]
    note = f" · {step.note}" if step.note else ""
    return Item(str(number), (str(number), f"{mark} {t(step.state)}", step.text + note), step, tone)
