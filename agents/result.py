"""What a run gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal

from qianda.models.messages import Message, Usage
from qianda.models.plan import Plan

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=str)
else:
    # typing_extensions costs more to import than all of this package.
    from typing import TypeVar

    T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Generic[T]):
    """The outcome of a run.

    Args:
        output: the answer: its text, or the validated value where the agent has an ``output_type``; "" or None when the
            run ended before there was one.
        messages: the conversation, history included, without the instructions; fit to be the next run's ``history``.
        usage: tokens of all model requests of this run.
        finish: ``done``; ``length`` when the answer was cut at the server's output limit; ``limit`` at one of ours;
            ``cancelled``; ``plan`` when the plan is the answer, as nobody was there to accept it.
        run_id: the run's name in the record.
        cost: USD of all model requests at most, by Model Studio's list prices; None when they are not known.
        plan: the plan as it stands, or None when the model made none.
    """

    output: T
    messages: tuple[Message, ...]
    usage: Usage
    finish: Literal["done", "length", "plan", "limit", "cancelled"]
    run_id: str
    cost: float | None = None
    plan: Plan | None = None
