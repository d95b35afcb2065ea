"""The plan as a checklist that is brought up to date where it stands."""

from __future__ import annotations

from qianda.models.plan import Plan, State
from qianda.tui.transcript.blocks import Block
from qianda.tui.transcript.rows import Row, flow, visible, width_of
from qianda.tui.words import t

_MARKS: dict[State, str] = {"pending": "○", "doing": "◐", "done": "✓", "failed": "✗", "skipped": "–"}


class PlanBlock(Block):
    """The plan of a run.

    Attributes:
        plan: as it stands.
        asked: it waits for the person's consent.
        refused: it was not given.
    """

    keeps_end = True

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.asked = self.refused = False

    def update(self, plan: Plan) -> None:
        """The plan as it stands now."""
        self.plan = plan
        self.asked = self.refused = False
        self.changed()

    def answered(self) -> None:
        """The person has answered; an accepted plan has come already."""
        self.refused, self.asked = self.asked, False
        self.changed()

    def _build(self, width: int) -> list[Row]:
        steps = self.plan.steps
        over = len(steps) - len(self.plan.open)
        if self.asked:
            title = t("Plan, waiting for your yes")
        elif self.refused:
            title = t("Plan, not accepted")
        else:
            title = t("Plan · {over} of {count} over", over=over, count=len(steps))
        rows = [Row(((title, "plan-title"),), width_of(title))]
        digits = len(str(len(steps)))
        for number, step in enumerate(steps, 1):
            style = f"plan-{step.state}"
            first = [(f"  {_MARKS[step.state]} {number:>{digits}}. ", style)]
            runs = [(" ".join(visible(step.text).split()), style)]
            word = {"failed": t("failed"), "skipped": t("skipped")}.get(step.state, "")
            if told := " · ".join(filter(None, (word, " ".join(visible(step.note).split())))):
                runs.append((f" · {told}", "call-note" if step.state != "failed" else style))
            pad = width_of(first[0][0])
            rows += flow(runs, width, first=first, rest=[(" " * pad, style)], gutter=2)
        return rows

    def _size(self) -> tuple[int, int]:
        return 0, len(self.plan.steps) + 1
