"""What a run may use up, and the errors that end it."""

from __future__ import annotations

from dataclasses import dataclass

from qianda.models.errors import LimitReached
from qianda.models.messages import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one run; None is no bound.

    Args:
        turns: model replies.
        tool_calls: tool calls, failed and denied ones included.
        tokens: input and output tokens together, as the server counts them.
        seconds: wall-clock time, waiting for approvals included.
    """

    turns: int | None = 50
    tool_calls: int | None = 200
    tokens: int | None = None
    seconds: float | None = None

    def check_turn(self, turns: int, usage: Usage) -> None:
        """See whether the model may be asked once more.

        Args:
            turns: replies so far.
            usage: tokens so far.

        Raises:
            LimitReached: it may not; the message says which limit and how to raise it.
        """
        if self.turns is not None and turns >= self.turns:
            raise self.reached("turns")
        if self.tokens is not None and usage.total_tokens >= self.tokens:
            raise self.reached("tokens")

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
        what = which.replace("_", " ")
        return LimitReached(
            which, f"The run stopped at its limit of {bound} {what}", cure=f"Raise it with Limits({which}=…)"
        )
