"""The seam by which the tool ``plan`` reaches the plan of its run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from qianda.models.errors import ToolError
from qianda.models.plan import State


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What one call changes of a plan.

    Args:
        steps: what is to be done, or nothing to leave it.
        number: the step whose state changes, from 1, or None.
        state: its new state; None begins it.
        note: what came out of it.
    """

    steps: tuple[str, ...]
    number: int | None
    state: State | None
    note: str


Planner = Callable[[PlanChange, Callable[..., Awaitable[Any]]], Awaitable[str]]
"""Changes the plan and says what the model reads; it asks the user by its second argument, a ``Context.ask``."""


async def plan_nothing(change: PlanChange, ask: Callable[..., Awaitable[Any]]) -> str:  # noqa: ARG001 - it is no run
    """Outside of a run.

    Raises:
        ToolError: always.
    """
    raise ToolError("there is no run whose plan this could be")
