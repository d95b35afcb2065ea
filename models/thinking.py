"""Thinking: what is wanted of it, and the request fields that say so to each server and family; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from qianda.models.errors import ConfigurationError
from qianda.models.family import Family
from qianda.models.servers import ServerKind

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = get_args(Effort)


@dataclass(frozen=True, slots=True)
class Thinking:
    """How much a model thinks before it answers.

    Args:
        budget: tokens of reasoning at most in one reply; None for as many as the model wants. Servers that cannot hold
            it are stopped when it is reached, and answer from what was thought.
        effort: for models that have levels (Qwen3.8); the nearest one that there is. ``none`` is off, None the model's
            default.
        enabled: False for no thinking.

    Raises:
        ConfigurationError: a value that there is not, or values that contradict each other.
    """

    budget: int | None = None
    effort: Effort | None = None
    enabled: bool = True

    def __post_init__(self) -> None:
        if self.effort is not None and self.effort not in EFFORTS:
            raise ConfigurationError(
                f"There is no thinking effort {self.effort!r}", cure=f"Choose one of: {', '.join(EFFORTS)}"
            )
        if self.budget is not None and self.budget < 1:
            raise ConfigurationError(
                f"A thinking budget of {self.budget} tokens is none", cure="Give 1 or more, or switch thinking off"
            )
        if not self.on and (self.budget is not None or self.effort not in (None, "none")):
            raise ConfigurationError(
                "Thinking is switched off and given a budget or an effort", cure="Choose one of the two"
            )

    @property
    def on(self) -> bool:
        """Whether the model is to think."""
        return self.enabled and self.effort != "none"

    @classmethod
    def of(cls, wanted: Thinking | bool | None) -> Thinking | None:
        """What True, False and None (the model's default) stand for."""
        return cls(enabled=wanted) if isinstance(wanted, bool) else wanted


OFF = Thinking(enabled=False)


def check_thinking(thinking: Thinking | None, family: Family, kind: ServerKind) -> bool | None:
    """Whether the model will think; None when that is unknown.

    Raises:
        ConfigurationError: this model, or this server, cannot do what is wanted.
    """
    thinks = family.thinks(None if thinking is None else thinking.on)
    if thinking is None or not thinking.on:
        return thinks
    if thinking.effort and not family.efforts and family.thinking != "unknown":
        raise ConfigurationError(
            f"{family.name} has no levels of thinking effort",
            cure="Leave the effort out, or bound the thinking by tokens: Thinking(budget=…), --thinking-budget",
        )
    if thinking.budget and family.thinking == "only" and not (kind.budget or kind.continues):
        raise ConfigurationError(
            f"{family.name} always thinks, and {kind.title} cannot be held to a thinking budget",
            cure="Leave the budget out, or serve the model with vLLM, SGLang or llama.cpp",
        )
    return thinks


def thinking_fields(thinking: Thinking | None, family: Family, kind: ServerKind) -> dict[str, Any]:
    """The request fields that say what is wanted; none for a default that needs no word.

    Args:
        thinking: what is wanted, None for the model's default.
        family: the model.
        kind: the server.
    """
    fields: dict[str, Any] = {}
    kwargs: dict[str, Any] = {}
    on = thinking is None or thinking.on
    if thinking is not None and family.thinking != "none":
        switchable = family.thinking != "only"
        level = _level(thinking, kind.efforts or family.efforts)
        match kind.thinking:
            case "kwargs":
                kwargs |= {"enable_thinking": on} if switchable else {}
                kwargs |= {"reasoning_effort": level} if level else {}
            case "top":
                # An effort and these two exclude each other, so models with levels are switched off by the effort.
                off_by_effort = not on and bool(family.efforts)
                if level or off_by_effort:
                    fields["reasoning_effort"] = level or "none"
                elif switchable:
                    fields["enable_thinking"] = on
            case "effort" | "":
                known = kind.thinking == "effort" or (family.thinking in ("on", "off") and not family.soft_switch)
                if level or (not on and switchable and known):
                    fields["reasoning_effort"] = level or "none"
        if thinking.budget and server_holds_budget(thinking, kind):
            fields[kind.budget] = thinking.budget
    if on and family.preserve_switch:
        if kind.thinking == "kwargs":
            kwargs["preserve_thinking"] = True
        elif kind.thinking == "top":
            fields["preserve_thinking"] = True
    return fields | ({"chat_template_kwargs": kwargs} if kwargs else {})


def server_holds_budget(thinking: Thinking, kind: ServerKind) -> bool:
    """Whether the server takes the budget; Model Studio takes no effort beside it."""
    return bool(kind.budget) and not (kind.thinking == "top" and thinking.effort)


def soft_switch(thinking: Thinking | None, family: Family, kind: ServerKind) -> str:
    """What is appended to the prompts where the server has no switch and the model heeds one in them; else ""."""
    if thinking is None or kind.thinking or not family.soft_switch:
        return ""
    return "/think" if thinking.on else "/no_think"


def less_thinking(thinking: Thinking | None, family: Family) -> Thinking | None:
    """The next lower effort, then off; None when the model cannot think less.

    Xhigh gives no answer at all in about every sixth reply: https://github.com/QwenLM/Qwen3.8/issues/216.
    """
    if family.thinking == "none" or (thinking is not None and not thinking.on):
        return None
    now = (thinking and _level(thinking, family.efforts)) or next(iter(family.efforts), "")
    lower = [level for level in family.efforts if _rank(level) < _rank(now)]
    if lower:
        return Thinking(effort=EFFORTS[max(map(_rank, lower))], budget=thinking.budget if thinking else None)
    return None if family.thinking == "only" else OFF


def _rank(level: str) -> int:
    return [str(effort) for effort in EFFORTS].index(level)


def _level(thinking: Thinking, allowed: Sequence[str]) -> str:
    """The nearest level that is taken, of two the higher one; "" when none is wanted."""
    if thinking.effort in (None, "none") or not allowed:
        return thinking.effort if thinking.on and thinking.effort else ""
    wanted = _rank(thinking.effort)
    return min(allowed, key=lambda level: (abs(_rank(level) - wanted), -_rank(level)))


def switched(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that make one request say the second in the place of the first; for ``Client.ask``."""
    return dict.fromkeys(before) | dict(after)
