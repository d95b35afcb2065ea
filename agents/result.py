"""What a run gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qianda.models.messages import Message, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The outcome of a run.

    Args:
        output: the answer's text; "" when the run ended before there was one.
        messages: the conversation, history included, without the instructions; fit to be the next run's ``history``.
        usage: tokens of all model requests of this run.
        finish: ``done``; ``length`` when the answer was cut at the server's output limit; ``limit`` at one of ours;
            ``cancelled``.
        run_id: the run's name in the record.
    """

    output: str
    messages: tuple[Message, ...]
    usage: Usage
    finish: Literal["done", "length", "limit", "cancelled"]
    run_id: str
