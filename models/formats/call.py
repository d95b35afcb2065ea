"""What the machines that read calls out of text have in common: what they give, and how a call is judged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from qianda.models.formats.json_text import write_value
from qianda.models.messages import ToolSchema
from qianda.models.reply import BrokenCall, CallPiece, WholeCall

TOOL_CALL, TOOL_CALL_END = "<tool_call>", "</tool_call>"
FUNCTION, FUNCTION_END = "<function=", "</function>"
PARAMETER, PARAMETER_END = "<parameter=", "</parameter>"

Tools = Mapping[str, ToolSchema]


def beginnings(tag: str) -> str:
    """A pattern for any beginning of a tag, the whole tag included."""
    pattern = ""
    for char in reversed(tag):
        pattern = f"{re.escape(char)}(?:{pattern})?" if pattern else re.escape(char)
    return pattern


@dataclass(frozen=True, slots=True)
class StrayEnd:
    """A ``</think>`` in the text: all text before it was reasoning, if there was no reasoning yet."""


# Text is given as plain ``str``.
Item = str | CallPiece | WholeCall | BrokenCall | StrayEnd


class CallBody(Protocol):
    """Reads one call from its first character on.

    Attributes:
        ended: the call is over; ``finish`` gives it.
        closed: the ``</tool_call>`` was read too.
    """

    ended: bool
    closed: bool

    def feed(self, text: str, at: int, out: list[Item]) -> int:
        """Read ``text`` from ``at``; returns where it stopped: the rest is wanted again, with more behind it."""
        ...

    def finish(self) -> list[Item]:
        """The call, or what is wrong with it, after it ended."""
        ...

    def close(self, rest: str, *, cut: bool) -> tuple[list[Item], str]:
        """The text is over before the call ended.

        Args:
            rest: what ``feed`` left.
            cut: the output was cut, so nothing may be guessed.

        Returns:
            The call, or what is wrong with it, and text that was taken for a part of it and is to be read anew.
        """
        ...


def whole(
    index: int, name: str, arguments: dict[str, Any], *, call_id: str = "", repaired: str = ""
) -> WholeCall | BrokenCall:
    """A call with readable arguments, given that it has a name and they can be written."""
    if not name:
        return nameless(index, write_value(arguments))
    try:
        return WholeCall(index, call_id, name, write_value(arguments), repaired)
    except ValueError as error:
        return unreadable(index, name, repr(arguments), error)


def nameless(index: int, text: str) -> BrokenCall:
    """A call without a name."""
    return BrokenCall("", text.strip(), "it does not say which tool to call: name one of the tools", index)


def unreadable(index: int, name: str, text: str, error: ValueError) -> BrokenCall:
    """A call whose arguments no repair can read."""
    return BrokenCall(name, text.strip(), f"the arguments of {name or 'the call'} are not valid: {error}", index)


def cut_off(index: int, name: str, text: str) -> BrokenCall:
    """A call that the end of the output cut."""
    what = f"the call of {name}" if name else "the call"
    problem = f"{what} was cut off before it ended, so it was not run: write it shorter, or in several calls"
    return BrokenCall(name, text.strip(), problem, index)
