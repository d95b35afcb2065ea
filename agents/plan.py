"""What a run does with its plan: changes, the user's consent in plan mode, and steps that are left open."""

from __future__ import annotations

import json
import re
import weakref
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from qianda.agents.journal import Record, read_back
from qianda.agents.output import Answer
from qianda.models.errors import ToolError
from qianda.models.events import Notice, PlanChanged
from qianda.models.messages import AssistantMessage
from qianda.models.plan import Plan, plan_text, step_texts
from qianda.tools.planning import PlanChange

if TYPE_CHECKING:
    from qianda.agents.resources import Resources
    from qianda.agents.run import Run

PLAN_MODE = "plan mode"
INSTRUCTIONS = (
    "Plan mode: until the user has accepted your plan, only tools that change nothing run. "
    "Look at what you need, then call plan with all steps; the user is asked. Carry it out once it is accepted."
)
NOT_YET = "in plan mode the user has to accept a plan first. Look with tools that change nothing, then call plan"
NOT_YET_THERE = (  # for an agent that works for one in plan mode
    "in plan mode the user has to accept a plan first. Look with tools that change nothing, and say what you find"
)
_LISTED = re.compile(r"\s*(?:\d+\s*[.):、]|[-*•])\s*\S")
PLAN_ANSWERS = ACCEPT, REJECT = "Accept the plan", "Reject the plan"
ASK = "Carry out this plan? A list of steps in its place changes it, other words say what is wrong with it."

_UNWRITTEN = (
    "There is no plan yet. Call plan with the steps, so that the user can accept it; "
    "if there is nothing to change, give your answer again."
)
_REVISE = (
    "Step {number} has failed. Call plan now with the steps that remain, in another way; "
    "what is done stays and need not be named."
)


class Planning:
    """The plan of one run.

    Args:
        run: whose ``plan`` it changes.
        resources: whether a plan has to be accepted, and the record.
    """

    def __init__(self, run: Run[Any], resources: Resources) -> None:
        self._run: Run[Any] = weakref.proxy(run)
        self._resources, self._journal = resources, resources.journal
        self._nudged = False
        self.unasked = False  # there is a plan, and nobody who could accept it
        run.reminders.append(self._reminder)
        if run.plan is not None and not run.resumed:  # of the session
            self._journal.note(run.id, "plan", run.plan)

    async def change(self, change: PlanChange, ask: Callable[..., Awaitable[Any]]) -> str:
        """Write the plan or move a step of it.

        Args:
            change: what the model wants.
            ask: asks the user.

        Returns:
            What the model reads.

        Raises:
            ToolError: what is wrong with the call.
        """
        old = self._run.plan
        self._run.plan_changed = True
        if change.steps:
            plan = (old or Plan()).revised(step_texts(change.steps))
            if self._resources.plan and not plan.accepted:
                return await self._proposed(plan, ask)
            plan = plan.begun()
            if change.number is None and change.state is None:
                self._set(plan)
                return f"The plan:\n{plan_text(plan)}"
            old = plan
        if old is None:
            raise ToolError("there is no plan yet; write it with steps")
        doing = [number for number, step in enumerate(old.steps, 1) if step.state == "doing"]
        number = change.number or next(iter(doing), None)
        if number is None:
            raise ToolError(f"say which step, from 1 to {len(old.steps)}")
        if self._resources.plan and not old.accepted:
            raise ToolError("the user has not accepted the plan yet; call plan with all steps")
        try:
            plan = old.moved(number, change.state or "doing", change.note)
        except ValueError as error:
            raise ToolError(str(error)) from None
        self._set(plan)
        if change.state == "failed":
            return _REVISE.format(number=number)
        if not plan.open:
            return "All steps are over."
        at = plan.open[0]
        return f"{len(plan.steps) - len(plan.open)} of {len(plan.steps)} over. Now {at}. {plan.steps[at - 1].text}"

    async def _proposed(self, plan: Plan, ask: Callable[..., Awaitable[Any]]) -> str:
        """Ask the user for consent; the model reads what became of it."""
        self._set(plan)
        try:
            answer = await ask(f"{plan_text(plan)}\n{ASK}", PLAN_ANSWERS)
        except ToolError:
            self.unasked = True
            return "Nobody is there to accept the plan."
        words, steps = _read_answer(answer)
        if steps:
            plan = plan.revised(steps)
        elif words != ACCEPT:
            why = f", and says: {words}\nCall plan with a better one." if words else ". Change nothing, and end."
            return f"The user does not accept the plan{why}"
        plan = replace(plan, accepted=True).begun()
        self._set(plan)
        return f"The user has {'changed and ' if steps else ''}accepted the plan. Carry it out:\n{plan_text(plan)}"

    def _set(self, plan: Plan) -> None:
        run = self._run
        if plan != run.plan:
            run.plan = plan
            self._journal.note(run.id, "plan", plan)
            run.emit(PlanChanged, plan=plan)

    def _reminder(self) -> str:
        """What a model that goes on from a summary is told."""
        return f"Your plan:\n{plan_text(self._run.plan)}" if self._run.plan else ""

    def nudged(self) -> bool:
        """See, when the model gives its answer, to what is left of the plan; whether it was asked, once, to go on.

        An answer is the last step itself, where that is the only open one.
        """
        plan = self._run.plan
        if plan is None or not self._run.plan_changed:
            return (
                self._resources.plan
                and not (plan and plan.accepted)
                and self._nudge(_UNWRITTEN, "The model answered without a plan; it is asked for one")
            )
        if not plan.open or (self._resources.plan and not plan.accepted):
            return False
        if plan.open == [len(plan.steps)]:
            self._set(plan.moved(plan.open[0], "done"))
            return False
        names = ", ".join(map(str, plan.open))
        told = (
            f"Steps of your plan are open: {names}. Do them now, or mark each as skipped with a note why; then answer."
        )
        said = f"The model answered with open steps in its plan ({names})"
        if self._nudge(told, f"{said}; it is asked to go on"):
            return True
        self._run.emit(Notice, text=said)
        return False

    def _nudge(self, told: str, said: str) -> bool:
        if self._nudged:
            return False
        self._nudged = True
        self._run.take_input(told)
        self._run.emit(Notice, text=said)
        return True


def _read_answer(answer: str | None) -> tuple[str, list[str]]:
    """What a person said about a plan: their words, ``ACCEPT`` or "" for a bare no; and the steps of a changed plan."""
    text = (answer or "").strip()
    if text.startswith("{"):  # a form, filled in
        try:
            steps = cast("dict[str, Any]", json.loads(text)).get("steps")
        except ValueError:
            steps = None
        if isinstance(steps, list):
            return "", step_texts([str(step) for step in cast("list[object]", steps)])
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and all(_LISTED.match(line) for line in lines):
        return "", step_texts(lines)
    match text.casefold().rstrip(".!"):
        case "accept the plan" | "accept" | "accepted" | "yes" | "y" | "ok" | "true":
            return ACCEPT, []
        case "reject the plan" | "reject" | "rejected" | "no" | "n" | "":
            return "", []
        case _:
            return text, []


def latest_plan(records: Iterable[Record]) -> Plan | None:
    """The plan as it stands at the end of a run's record."""
    last = None
    for record in records:
        if record.kind == "plan":
            last = record
    return None if last is None else read_back(last.data, Plan)


def proposed_answer(run: Run[Any], resources: Resources) -> Answer | None:
    """The plan as the run's answer, in plan mode, where nobody is there to accept it."""
    if not resources.plan or run.plan is None or not run.planning.unasked:
        return None
    text = plan_text(run.plan)
    resources.journal.note(run.id, "answer", text)
    run.conversation.append(AssistantMessage(text))
    return Answer(text if resources.output is None else None, text, "plan")
