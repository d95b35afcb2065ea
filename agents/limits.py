"""What a run may use up, and the errors that end it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qianda.models.errors import ConfigurationError, LimitReached
from qianda.models.messages import Usage
from qianda.models.settings import DEFAULT_LIMITS

if TYPE_CHECKING:
    from qianda.models.resolve import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one run; None is no bound.

    Args:
        turns: model replies.
        tool_calls: tool calls, failed and denied ones included.
        tokens: input and output tokens together, as the server counts them.
        cost: USD by Model Studio's list prices; for models that have one.
        seconds: wall-clock time, waiting for approvals included.
        depth: how deep agents as tools may stand in each other; 0 for none.
        context: tokens of one prompt: a conversation that grows beyond is made shorter, as when it reaches the model's
            window; ends no run.
    """

    turns: int | None = DEFAULT_LIMITS["turns"]
    tool_calls: int | None = DEFAULT_LIMITS["tool_calls"]
    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    depth: int | None = DEFAULT_LIMITS["depth"]
    context: int | None = None

    def check_turn(self, turns: int, usage: Usage, cost: float | None = None) -> None:
        """See whether the model may be asked once more.

        Args:
            turns: replies so far.
            usage: tokens so far.
            cost: USD so far, None when it is not known.

        Raises:
            LimitReached: it may not; the message says which limit and how to raise it.
        """
        if self.turns is not None and turns >= self.turns:
            raise self.reached("turns")
        if self.tokens is not None and usage.total_tokens >= self.tokens:
            raise self.reached("tokens")
        if self.cost is not None and cost is not None and cost >= self.cost:
            raise self.reached("cost")

    def check_calls(self, calls: int) -> None:
        """See whether so many tool calls, those of the last reply included, may run.

        Raises:
            LimitReached: they may not.
        """
        if self.tool_calls is not None and calls > self.tool_calls:
            raise self.reached("tool_calls")

    def reached(self, which: str) -> LimitReached:
        """The error for one of the limits."""
        bound = getattr(self, which)
        what = {"cost": "USD"}.get(which) or which.replace("_", " ")
        return LimitReached(
            which, f"The run stopped at its limit of {bound} {what}", cure=f"Raise it with Limits({which}=…)"
        )


def opening_cost(limits: Limits, endpoint: Endpoint) -> float | None:
    """What a run has cost before its first request: 0, or None where nobody knows what its requests cost.

    Raises:
        ConfigurationError: the cost is limited and not known.
    """
    if limits.cost is None and not endpoint.kind.is_model_studio:
        return None
    from qianda.models.catalog.prices import has_price

    if has_price(endpoint.model):
        return 0.0
    if limits.cost is not None:
        raise ConfigurationError(
            f"The price of {endpoint.model} is not known, so that its cost cannot be limited",
            cure="Limit its tokens: Limits(tokens=…), on the command line --max-tokens",
        )
    return None
