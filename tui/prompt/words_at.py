"""The word at the cursor that a list of suggestions is for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

NO_NAME = r"\s\"，。；：！？、（）《》“”"
"""What ends a mention that is not in quotes: blanks, and punctuation of texts that have no blanks."""
BEFORE = r"(?<![A-Za-z0-9_.@/-])"
"""What stands before the @ of a mention is no part of an address or a path."""
_MENTION = re.compile(rf'{BEFORE}@(?:"(?P<quoted>[^"\n]*)|(?P<bare>[^{NO_NAME}]*))$')
_COMMAND = re.compile(r"/(?P<name>[\w:.-]*)$")
_ARGUMENT = re.compile(r"/[\w.-]+:[\w.-]+ (?:.* )?(?P<argument>[^\s=]*(?:=\S*)?)")


@dataclass(frozen=True, slots=True)
class Word:
    """A word that is being written.

    Args:
        kind: what it names.
        text: as far as it is written, without its sign; of an argument all that stands behind the slash.
        row: line of the prompt.
        start: column of its sign.
        end: column of the cursor.
    """

    kind: Literal["command", "argument", "mention", "history"]
    text: str
    row: int
    start: int
    end: int


def word_at(line: str, row: int, column: int) -> Word | None:
    """The command, argument of a server's prompt, or mention that ends at the cursor, if there is one.

    Args:
        line: of the prompt.
        row: its number from 0.
        column: where the cursor is.
    """
    before = line[:column]
    if row == 0 and before.startswith("/") and (found := _COMMAND.fullmatch(before)):
        return Word("command", found["name"], row, 0, column)
    if row == 0 and before.startswith("/") and (found := _ARGUMENT.fullmatch(before)):
        return Word("argument", before[1:], row, found.start("argument"), column)
    if "@" in before and (found := _MENTION.search(before)):
        text = found["bare"] if found["quoted"] is None else found["quoted"]
        return Word("mention", text, row, found.start(), column)
    return None
