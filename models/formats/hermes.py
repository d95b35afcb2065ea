"""Reads a call in Hermes format: ``{"name": …, "arguments": {…}}`` between ``<tool_call>`` and ``</tool_call>``.

Source of the format: the chat templates of Qwen2.5 and Qwen3.
"""

from __future__ import annotations

import re
from typing import Any, cast

from qianda.models.formats.arguments import mended, read_object
from qianda.models.formats.call import TOOL_CALL, TOOL_CALL_END, Item, Tools, cut_off, nameless, unreadable, whole
from qianda.models.formats.json_scan import JsonScan
from qianda.models.formats.json_text import read_value, write_value
from qianda.models.reply import BrokenCall, CallPiece

_NAME = r"""\s*\{\s*["']name["']\s*:\s*["']([^"'\\]*)["']\s*"""
_HEAD = re.compile(_NAME + r"""(?:,\s*["'](?:arguments|parameters)["']\s*:\s*(?=(\S)))?""")
_ANY_NAME = re.compile(r"""["']name["']\s*:\s*["']([^"'\\]+)["']""")
_LONGEST_HEAD = 600
_IM_END = "<|im_end|>"
_ENDS = (TOOL_CALL_END, TOOL_CALL, _IM_END)


class HermesBody:
    """One JSON object that holds a call, read at any split.

    Args:
        index: of the call in the reply.
        tools: by name, to tell arguments from other keys where they are not nested.
        strict: ``</tool_call>`` ends the call wherever it stands, also inside a string.
        quiet: no previews.
    """

    def __init__(self, index: int, tools: Tools, *, strict: bool = False, quiet: bool = False) -> None:
        self.ended = self.closed = False
        self._index = index
        self._tools = tools
        self._strict = strict
        self._parts: list[str] = []
        self._size = 0
        self._scan = JsonScan()
        self._preview = "none" if quiet else "head"

    @property
    def text(self) -> str:
        """What was read so far."""
        return "".join(self._parts)

    def feed(self, text: str, at: int, out: list[Item]) -> int:
        """Read on; see ``CallBody``."""
        if self._strict:
            return self._feed_strict(text, at)
        begin = at
        while True:
            stop, why = self._scan.scan(text, at)
            if why == "end" and self._scan.floor:
                # The arguments are over, the call is not.
                self._show(text[begin:stop], out)
                self._take(text[begin:stop])
                self._preview = "none"
                self._scan.floor = 0
                begin = at = stop
                continue
            if why == "<" and not self._is_end(text, stop):
                if any(end.startswith(text[stop:]) for end in _ENDS):
                    break
                # Scanning goes on behind a "<" that begins no tag.
                at = stop + 1
                continue
            self.ended = why != ""
            break
        self._show(text[begin:stop], out)
        self._take(text[begin:stop])
        if self.ended and why == "<" and text.startswith(TOOL_CALL_END, stop):
            self.closed = True
            stop += len(TOOL_CALL_END)
        return stop

    def finish(self) -> list[Item]:
        """The call; see ``CallBody``."""
        text = self.text
        try:
            return [whole(self._index, *self._read(read_value(text.strip())), repaired=mended(text))]
        except ValueError as error:
            name, arguments = self._parted(text)
            return [self._judge(name, arguments, error) if name else nameless(self._index, text)]

    def reject(self, error: ValueError) -> list[Item]:
        """The call as broken although its JSON could be read."""
        return [unreadable(self._index, *self._parted(self.text), error)]

    def close(self, rest: str, *, cut: bool) -> tuple[list[Item], str]:
        """The text is over; see ``CallBody``."""
        self._take(rest)
        text = self.text
        name, arguments = self._parted(text)
        scan = JsonScan()
        if name and arguments.startswith("{") and scan.scan(arguments)[1] == "end":
            return self.finish(), ""
        if cut:
            return [cut_off(self._index, name, arguments)], ""
        end = text.find(TOOL_CALL_END)
        if end >= 0:
            # A quotation mark is missing somewhere before: the tag did end this call.
            self._parts = [text[:end]]
            return self.finish(), text[end + len(TOOL_CALL_END) :]
        return self.finish(), ""

    def _judge(self, name: str, arguments: str, error: ValueError) -> BrokenCall:
        """What is wrong: with the arguments alone if it is they, so that the place named is one within them."""
        try:
            read_object(arguments)
        except ValueError as inner:
            error = inner
        return unreadable(self._index, name, arguments, error)

    def _feed_strict(self, text: str, at: int) -> int:
        end = text.find(TOOL_CALL_END, at)
        stop = max(at, len(text) - len(TOOL_CALL_END)) if end < 0 else end
        self._take(text[at:stop])
        if end >= 0:
            self.ended = self.closed = True
            stop += len(TOOL_CALL_END)
        return stop

    def _take(self, text: str) -> None:
        if text:
            self._parts.append(text)
            self._size += len(text)

    @staticmethod
    def _is_end(text: str, at: int) -> bool:
        return any(text.startswith(end, at) for end in _ENDS)

    def _show(self, new: str, out: list[Item]) -> None:
        """Give previews of the arguments, from where name and arguments come in their usual order."""
        if self._preview == "arguments":
            if new:
                out.append(CallPiece(self._index, arguments=new))
        elif self._preview == "head" and not self.ended:
            so_far = self.text + new
            if (head := _HEAD.match(so_far)) and head[2]:
                self._preview = "none"
                if head[2] == "{" and self._scan.depth >= 2:
                    self._preview = "arguments"
                    self._scan.floor = 1
                    out.append(CallPiece(self._index, name=head[1], arguments=so_far[head.end() :]))
            elif len(so_far) > _LONGEST_HEAD:
                self._preview = "none"

    def _read(self, value: Any) -> tuple[str, dict[str, Any]]:
        """Name and arguments in a parsed call; also as OpenAI nests them, and with the arguments beside the name."""
        if not isinstance(value, dict):
            raise ValueError("a JSON object with name and arguments is expected")  # noqa: TRY004 -- of what the model wrote
        call = cast("dict[str, Any]", value)
        if isinstance(call.get("function"), dict):
            call = cast("dict[str, Any]", call["function"])
        name: Any = call.get("name") or call.get("function") or ""
        if not isinstance(name, str) or not name.strip():
            raise ValueError("it has no name")
        name = name.strip()
        for key in ("arguments", "parameters"):
            if key in call:
                arguments: Any = call[key]
                return name, read_object(arguments) if isinstance(arguments, str) else _object(arguments)
        beside = {key: item for key, item in call.items() if key not in ("name", "function", "type", "id")}
        known: dict[str, Any] = self._tools[name].parameters.get("properties", {}) if name in self._tools else {}
        return name, beside if all(key in known for key in beside) else {}

    def _parted(self, text: str) -> tuple[str, str]:
        """The name and the arguments' text in a call that is not whole, each "" when it was not reached."""
        if head := _HEAD.match(text):
            return head[1], text[head.end() :] if head[2] else ""
        # Any key may be called "name": only one that names a tool is believed.
        return next((found[1] for found in _ANY_NAME.finditer(text) if found[1] in self._tools), ""), text


def _object(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else read_object(write_value(value))
