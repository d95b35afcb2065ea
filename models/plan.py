"""A run's plan as data: steps with states and notes, and its text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

State = Literal["pending", "doing", "done", "failed", "skipped"]
_MARKS: dict[State, str] = {"pending": "[ ]", "doing": "[doing]", "done": "[x]", "failed": "[failed]"}
_MARK = re.compile(r"^\s*(?:\d+\s*[.):、](?!\d)|[-*•](?=\s|$))?\s*(?:\[(?:[ xX]|doing|done|failed|skipped)\])?")
_OPEN: tuple[State, ...] = ("pending", "doing")


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of a plan.

    Args:
        text: what is to be done.
        state: how far it is.
        note: what came out, or why it failed or was skipped.
    """

    text: str
    state: State = "pending"
    note: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is still to be done."""
        return self.state in _OPEN


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a task.

    Args:
        steps: in the order in which they are done.
        accepted: the user agreed to it, in plan mode.
    """

    steps: tuple[PlanStep, ...] = ()
    accepted: bool = False

    @property
    def open(self) -> list[int]:
        """The numbers, from 1, of the steps that are still to be done."""
        return [number for number, step in enumerate(self.steps, 1) if step.is_open]

    def revised(self, texts: Iterable[str]) -> Plan:
        """The plan with other steps in the place of those that are open; what is over stays, unless it comes again.

        Args:
            texts: what is to be done. A step of the same words that is done is not to be done again.
        """
        wanted = list(dict.fromkeys(filter(None, (" ".join(text.split()) for text in texts))))
        over = [step for step in self.steps if not step.is_open and (step.state == "done" or step.text not in wanted)]
        done = {step.text for step in over}
        return replace(self, steps=(*over, *(PlanStep(text) for text in wanted if text not in done)))

    def moved(self, number: int, state: State, note: str = "") -> Plan:
        """The plan with a step in another state; when it is done or skipped, the next one is begun.

        Args:
            number: the step, from 1.
            state: its new state.
            note: what came out; "" leaves the note that there is.

        Raises:
            ValueError: there is no such step.
        """
        if not 1 <= number <= len(self.steps):
            raise ValueError(f"there is no step {number}; the plan has {len(self.steps)}")
        steps = list(self.steps)
        steps[number - 1] = replace(steps[number - 1], state=state, note=note or steps[number - 1].note)
        moved = replace(self, steps=tuple(steps))
        return moved if state in ("failed", "pending") else moved.begun()

    def begun(self) -> Plan:
        """The plan with its first open step begun, unless one is being done."""
        if any(step.state == "doing" for step in self.steps) or not self.open:
            return self
        return self.moved(self.open[0], "doing")


def plan_text(plan: Plan) -> str:
    """The plan as the model and people read it, a numbered line per step."""
    return "\n".join(step_line(number, step) for number, step in enumerate(plan.steps, 1))


def step_line(number: int, step: PlanStep) -> str:
    """``3. [x] Read the prices (42 of them)``."""
    note = f" ({step.note})" if step.note else ""
    return f"{number}. {_MARKS.get(step.state, f'[{step.state}]')} {step.text}{note}"


def step_texts(lines: Sequence[str]) -> list[str]:
    """The words of steps that are written as a list: without numbers, bullets, marks and empty lines."""
    return [text for line in lines if (text := _MARK.sub("", line, count=1).strip())]
