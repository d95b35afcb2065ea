"""How much the model is to think: the ways that there are, in a person's words and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from qianda.models.errors import ConfigurationError
from qianda.models.thinking import EFFORTS, Effort, Thinking, check_thinking
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.models.family import Family
    from qianda.models.servers import ServerKind

Wanted = Thinking | bool | Literal["default"]
"""What a person asked for; ``default`` is the model's own, whatever the settings say."""


def fits(wanted: Wanted | None, family: Family, kind: ServerKind) -> bool:
    """Whether a model at a server can think so."""
    try:
        check_thinking(None if wanted == "default" else Thinking.of(wanted), family, kind)
    except ConfigurationError:
        return False
    return True


def ways(family: Family, kind: ServerKind) -> list[Wanted]:
    """What can be chosen for a model at a server."""
    levels = [Thinking(effort=level) for level in reversed(EFFORTS) if level in family.efforts]
    every: list[Wanted] = ["default", True, *levels, False]
    return [way for way in every if fits(way, family, kind)]


def read_thinking(text: str) -> Wanted:
    """What a person wrote: on, off, default, a level, or tokens at most.

    Raises:
        ConfigurationError: it is none of these.
    """
    word = text.strip().lower().replace(",", "")
    named: dict[str, Wanted] = {"on": True, "off": False, "default": "default"}
    if word in named:
        return named[word]
    if word.isdecimal():
        return Thinking(budget=int(word))
    found: list[Effort] = [level for level in EFFORTS if level == word]
    if not found:
        choices = ", ".join((*named, *EFFORTS))
        raise ConfigurationError(
            t("There is no thinking {text}", text=text),
            cure=t("Write one of: {choices}, or a number of tokens", choices=choices),
        )
    return Thinking(effort=found[0])


def thinking_words(wanted: Wanted | None) -> str:
    """What was asked for, in a few words; "" where nobody said."""
    match wanted:
        case None:
            return ""
        case "default":
            return t("default thinking")
        case bool():
            return t("thinking") if wanted else t("no thinking")
        case Thinking(budget=int(tokens)):
            return t("thinking, {tokens} tokens at most", tokens=f"{tokens:,}")
        case Thinking(effort=str(level)):
            return t("thinking: {level}", level=level)
        case _:
            return t("thinking") if wanted.on else t("no thinking")
