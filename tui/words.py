"""The texts of the chat in the user's language: the English text is the key, a catalogue holds the rest."""

from __future__ import annotations

import os
import tomllib
from functools import cache
from pathlib import Path

CATALOGUES = Path(__file__).with_name("catalogues")
_chosen = ""


def languages() -> tuple[str, ...]:
    """The languages that there are: English and one per catalogue."""
    return ("en", *sorted(path.stem for path in CATALOGUES.glob("*.toml")))


def use_language(language: str) -> None:
    """Speak a language from now on; ``auto`` asks the environment (LC_ALL, LC_MESSAGES, LANG)."""
    global _chosen
    _chosen = "" if language == "auto" else language
    language_in_use.cache_clear()
    _catalogue.cache_clear()


@cache
def language_in_use() -> str:
    """The language that is spoken, such as ``zh``."""
    wanted = _chosen or next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "en")
    short = wanted.partition(".")[0].partition("_")[0].lower()
    return short if short in languages() else "en"


@cache
def _catalogue() -> dict[str, str]:
    if language_in_use() == "en":
        return {}
    return tomllib.loads((CATALOGUES / f"{language_in_use()}.toml").read_text("utf-8"))


def t(text: str, /, **values: object) -> str:
    """A text in the user's language, with its ``{names}`` filled in.

    Args:
        text: in English; what no catalogue has stays so.
        values: what stands for the names.
    """
    text = _catalogue().get(text, text)
    return text.format(**values) if values else text
