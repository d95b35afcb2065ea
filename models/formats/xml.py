"""Reads a call in the XML format of Qwen3-Coder and Qwen3.5 and later.

``<function=NAME>``, then per argument ``<parameter=KEY>``, the value on lines of its own, ``</parameter>``; at the
end ``</function>``, all between ``<tool_call>`` and ``</tool_call>``. It is no XML: nothing is escaped. So a tag ends a
value only where the format goes on behind it; anywhere else it belongs to the value. Source of the format: the chat
template of Qwen3-Coder.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from qianda.models.formats.arguments import read_object
from qianda.models.formats.call import (
    FUNCTION,
    FUNCTION_END,
    PARAMETER,
    PARAMETER_END,
    TOOL_CALL,
    TOOL_CALL_END,
    Item,
    Tools,
    beginnings,
    cut_off,
    unreadable,
    whole,
)
from qianda.models.formats.coercion import coerce_text, types_of
from qianda.models.formats.json_text import write_value
from qianda.models.reply import CallPiece

_NAME = r"=[ \t]*[\"']?([^<>\n\"']{0,128}?)[\"']?[ \t]*[>\n]"
_FUNCTION_TAG = re.compile("<function" + _NAME)
_PARAMETER_TAG = re.compile("<parameter" + _NAME)
_SPACE = r"\s{0,64}"
_AFTER_FUNCTION = f"(?={_SPACE}(?:{TOOL_CALL_END}|{TOOL_CALL}|{FUNCTION}))"
_VALUE_END = re.compile(
    f"{PARAMETER_END}(?={_SPACE}(?:{PARAMETER}|</(?:parameter|function|tool_call)>|{TOOL_CALL}|{FUNCTION}))"
    f"|{FUNCTION_END}{_AFTER_FUNCTION}"
    f"|{TOOL_CALL_END}(?={_SPACE}(?:{TOOL_CALL}|{FUNCTION}))"
    rf"|{PARAMETER}(?<=\n{PARAMETER})([^>\n]{{1,128}})>"  # each begins with "<": the search leaps from one to the next
)
_STRICT_VALUE_END = re.compile(f"{PARAMETER_END}|{FUNCTION_END}|{TOOL_CALL_END}")
_VALUE_END_AT_LAST = re.compile(rf"(?:{PARAMETER_END}|{FUNCTION_END}|{TOOL_CALL_END})\s*\Z")
_TAGS = (PARAMETER, PARAMETER_END, FUNCTION, FUNCTION_END, TOOL_CALL, TOOL_CALL_END)
_LONGEST_TAIL = 160


_ANY_BEGINNING = "|".join(beginnings(tag) for tag in _TAGS)
_UNDECIDED = re.compile(
    rf"(?:{PARAMETER_END}|{FUNCTION_END}|{TOOL_CALL_END})\s{{0,64}}(?:{_ANY_BEGINNING})?\Z"
    rf"|{PARAMETER}[^>\n]{{0,128}}\Z|(?:{_ANY_BEGINNING})\Z"
)


class XmlBody:
    """One call from ``<function=`` on, read at any split.

    Args:
        index: of the call in the reply.
        tools: by name; their schemas say what the values are.
        strict: a closing tag ends a value whatever follows.
    """

    def __init__(self, index: int, tools: Tools, *, strict: bool = False) -> None:
        self.ended = self.closed = False
        self._index = index
        self._tools = tools
        self._value_end = _STRICT_VALUE_END if strict else _VALUE_END
        self._name = ""
        self._schema: dict[str, Any] = {}
        self._arguments: dict[str, Any] = {}
        self._key: str | None = None
        self._value: list[str] = []
        self._junk: list[str] = []
        self._live = False
        self._state: Callable[[str, int, list[Item]], int] = self._read_name

    def feed(self, text: str, at: int, out: list[Item]) -> int:
        """Read on; see ``CallBody``."""
        while not self.ended:
            state = self._state
            at = state(text, at, out)
            if self._state == state:
                break
        return at

    def finish(self) -> list[Item]:
        """The call; see ``CallBody``."""
        junk = "".join(self._junk).strip()
        if junk.startswith("{") and not self._arguments:
            # Llama's way: <function=NAME>{"key": …}</function>.
            try:
                self._arguments = read_object(junk)
            except ValueError as error:
                return [unreadable(self._index, self._name, junk, error)]
        return [whole(self._index, self._name, self._arguments)]

    def reject(self, error: ValueError) -> list[Item]:
        """The call as broken although it could be read."""
        return [unreadable(self._index, self._name, self._written(), error)]

    def close(self, rest: str, *, cut: bool) -> tuple[list[Item], str]:
        """The text is over; see ``CallBody``."""
        if self._key is not None:
            if end := _VALUE_END_AT_LAST.search(rest):
                cut = cut and end[0].startswith(PARAMETER_END)
                self._value.append(rest[: end.start()])
                self._end_value([])
            else:
                self._value.append(rest)
        if cut:
            return [cut_off(self._index, self._name, self._written())], ""
        if self._key is None:
            return self.finish(), ""
        value = "".join(self._value)
        end_at = value.find(TOOL_CALL_END)
        if end_at < 0:
            error = ValueError(f"the parameter {self._key} is not closed by {PARAMETER_END}")
            return self.reject(error), ""
        # The closing tags were left out or misspelt, and other text came behind: here the call did end.
        self._value = [re.sub(rf"(?:\s*(?:{PARAMETER_END}|{FUNCTION_END}))+\s*\Z", "", value[:end_at])]
        self._end_value([])
        return self.finish(), value[end_at + len(TOOL_CALL_END) :]

    def _read_name(self, text: str, at: int, out: list[Item]) -> int:
        tag = _FUNCTION_TAG.match(text, at)
        if tag is None:
            if len(text) - at < _LONGEST_TAIL:
                return at
            at += len(FUNCTION)
        else:
            self._name = tag[1].strip()
            at = tag.end()
        if self._name in self._tools:
            self._schema = self._tools[self._name].parameters
        self._state = self._read_between
        out.append(CallPiece(self._index, name=self._name))
        return at

    def _read_between(self, text: str, at: int, out: list[Item]) -> int:
        """Outside of values: parameters, the end, and what should not be there."""
        size = len(text)
        while at < size:
            begin = text.find("<", at)
            if begin != at:
                self._junk.append(text[at : size if begin < 0 else begin])
                at = size if begin < 0 else begin
                continue
            if tag := _PARAMETER_TAG.match(text, at):
                return self._begin_value(tag, out)
            tag_name = next((tag for tag in _TAGS if text.startswith(tag, at)), "")
            if tag_name == PARAMETER:
                if size - at < _LONGEST_TAIL:
                    break
                at += len(PARAMETER)
            elif tag_name == PARAMETER_END:
                at += len(PARAMETER_END)
            elif tag_name:
                self.ended = True
                self.closed = tag_name == TOOL_CALL_END
                return at + len(tag_name) if tag_name in (FUNCTION_END, TOOL_CALL_END) else at
            elif any(tag.startswith(text[at : at + len(tag)]) for tag in _TAGS):
                break
            else:
                self._junk.append("<")
                at += 1
        return at

    def _begin_value(self, tag: re.Match[str], out: list[Item]) -> int:
        self._key = tag[1].strip()
        self._live = self._types() <= {"string"}
        begun = (", " if self._arguments else "{") + write_value(self._key) + (': "' if self._live else ": ")
        out.append(CallPiece(self._index, arguments=begun))
        self._value = []
        self._state = self._read_value
        # The tag's own line break may stand for the missing ">": it belongs to the value's line then.
        return tag.end() - (tag[0][-1] == "\n")

    def _read_value(self, text: str, at: int, out: list[Item]) -> int:
        search = at
        while end := self._value_end.search(text, search):
            if end.lastindex is None or self._is_next(end[1].strip()):
                self._take(text[at : end.start()], out, last=True)
                self._end_value(out)
                return end.end() if end[0] == PARAMETER_END else end.start()
            search = end.end()
        size = len(text)
        tail = _UNDECIDED.search(text, max(search, size - _LONGEST_TAIL))
        stop = tail.start() if tail else size
        if stop > at and text[stop - 1] == "\n":
            stop -= 1
        if stop > at:
            self._take(text[at:stop], out)
        return stop

    def _take(self, text: str, out: list[Item], *, last: bool = False) -> None:
        """More of a value, shown at once where it can only be a string."""
        if self._live:
            shown = text if self._value else text.removeprefix("\n")
            shown = shown.removesuffix("\n") if last else shown
            out.append(CallPiece(self._index, arguments=write_value(shown)[1:-1]))
        self._value.append(text)

    def _types(self) -> set[str]:
        schema = self._property()
        return types_of(schema, self._schema) if schema else set()

    def _property(self) -> dict[str, Any]:
        schema = self._schema.get("properties", {}).get(self._key)
        return cast("dict[str, Any]", schema) if isinstance(schema, dict) else {}

    def _is_next(self, key: str) -> bool:
        """Whether a parameter's opening tag inside a value begins the next one, the closing tag being left out."""
        known = self._schema.get("properties", {})
        return key != self._key and key not in self._arguments and (key in known or not known)

    def _end_value(self, out: list[Item]) -> None:
        assert self._key is not None
        text = "".join(self._value).removeprefix("\n").removesuffix("\n")
        required = self._key in self._schema.get("required", ())
        value = coerce_text(text, self._property(), self._schema, required=required)
        self._arguments[self._key] = value
        self._key = None
        self._state = self._read_between
        out.append(CallPiece(self._index, arguments='"' if self._live else write_value(value)))

    def _written(self) -> str:
        """The arguments so far as JSON text, cut where they are cut."""
        text = write_value(self._arguments)
        if self._key is None:
            return text[:-1] if self._arguments else ""
        begun = write_value("".join(self._value).removeprefix("\n").removesuffix("\n"))[:-1]
        return f"{text[:-1]}{', ' if self._arguments else ''}{write_value(self._key)}: {begun}"
