"""How a model is asked: one way of thinking, and all that follows from it for the requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qianda.models.budget import bound
from qianda.models.family import Family, Sampling
from qianda.models.servers import ServerKind
from qianda.models.thinking import Thinking, check_thinking, server_holds_budget, soft_switch, thinking_fields
from qianda.models.wire import sampling_body


@dataclass(frozen=True, slots=True)
class Mode:
    """What follows from a way of thinking.

    Args:
        thinking: what is wanted, None for the model's default.
        thinks: whether the model will think, None when that is unknown.
        fields: request fields.
        switch: what prompts end with, or "".
        bound: tokens of reasoning after which the client stops the server, or None.
        stream: the request must be streamed, because only a stream can be stopped.
    """

    thinking: Thinking | None
    thinks: bool | None
    fields: dict[str, Any]
    switch: str
    bound: int | None
    stream: bool


def mode_of(thinking: Thinking | None, family: Family, kind: ServerKind, sampling: Sampling) -> Mode:
    """All that follows from what is wanted, on this model and server.

    Args:
        thinking: what is wanted, None for the model's default.
        family: the model.
        kind: the server.
        sampling: fields that are set override the family's preset.

    Raises:
        ConfigurationError: the model or the server cannot do it.
    """
    thinks = check_thinking(thinking, family, kind)
    preset = family.plain if thinks is False else family.reasoning
    tokens = bound(thinking, family, kind)
    return Mode(
        thinking=thinking,
        thinks=thinks,
        fields=sampling_body(preset, kind) | sampling_body(sampling, kind) | thinking_fields(thinking, family, kind),
        switch=soft_switch(thinking, family, kind),
        bound=tokens,
        stream=bool(thinking and tokens and not server_holds_budget(thinking, kind)),
    )
