"""Collects native ``tool_calls`` out of the deltas of a stream, or of a whole message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from qianda.models.formats.arguments import mended, read_object
from qianda.models.formats.call import cut_off, nameless, unreadable, whole
from qianda.models.formats.json_scan import JsonScan
from qianda.models.formats.json_text import read_value, write_value
from qianda.models.reply import BrokenCall, CallPiece, Piece, WholeCall

_SPARE = "}],; \t\r\n"
# vLLM's Hermes parser streams this behind the arguments when the model wrote them before the name.
_NAME_BEHIND = re.compile(r"""\s*,\s*"name"\s*:\s*"[^"]*"[\s}]*\Z""")


@dataclass(slots=True)
class _Call:
    """One call as far as it came."""

    index: int
    id: str = ""
    name: str = ""
    parts: list[str] = field(default_factory=list[str])
    behind: list[str] = field(default_factory=list[str])
    scan: JsonScan = field(default_factory=JsonScan)
    ended: bool = False


class NativeCalls:
    """The native calls of one reply: told apart by id, then by index.

    Empty ids and names in later deltas change nothing; an index that comes again with a new id is a new call; the id
    may come after the name; what follows behind whole arguments and only repeats them is dropped.

    Args:
        indexes: numbers for the calls, in order.
    """

    def __init__(self, indexes: Iterator[int]) -> None:
        self._indexes = indexes
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_key: dict[int, _Call] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, deltas: list[Any], out: list[Piece]) -> None:
        """Take the ``tool_calls`` of one delta."""
        for position, entry in enumerate(deltas):
            if not isinstance(entry, dict):
                continue
            delta = cast("dict[str, Any]", entry)
            function: Any = delta.get("function")
            if not isinstance(function, dict):
                function = {}
            function = cast("dict[str, Any]", function)
            arguments: Any = function.get("arguments")
            if arguments is not None and not isinstance(arguments, str):
                arguments = write_value(arguments)
            key = delta.get("index")
            call_id, name, text = str(delta.get("id") or ""), str(function.get("name") or "").strip(), arguments or ""
            call = self._find(call_id, key if isinstance(key, int) else position, name, text)
            new_id = "" if call.id else call_id
            new_name = "" if call.name else name
            call.id, call.name = call.id or call_id, call.name or name
            new = self._take(call, text)
            if new_id or new_name or new:
                out.append(CallPiece(call.index, new_id, new_name, new))

    def close(self, *, cut: bool) -> list[WholeCall | BrokenCall]:
        """The calls, once the reply is over.

        Args:
            cut: the output was cut, so the last call may be half of what the model meant.
        """
        given: list[WholeCall | BrokenCall] = []
        for call in self._calls:
            given += [_judge(call, cut=cut and call is self._calls[-1])]
            given += [whole(next(self._indexes), name, arguments) for name, arguments in _more_calls(call)]
        return given

    def _find(self, call_id: str, key: int, name: str, text: str) -> _Call:
        """The call that a delta belongs to, made where it is a new one."""
        if call_id and (known := self._by_id.get(call_id)):
            return known
        call = self._by_key.get(key)
        if call is not None and (self._late_id(call, name, text) if call_id else not self._another(call, name, text)):
            if call_id and not call.id:
                self._by_id[call_id] = call
                return call
            if not call_id:
                return call
        call = _Call(next(self._indexes))
        self._calls.append(call)
        self._by_key[key] = call
        if call_id:
            self._by_id[call_id] = call
        return call

    @staticmethod
    def _late_id(call: _Call, name: str, text: str) -> bool:
        """An id comes for a call that had none, rather than with another call."""
        return not call.id and (not name or not call.name or (name == call.name and not (text and call.parts)))

    @staticmethod
    def _another(call: _Call, name: str, text: str) -> bool:
        """A delta without an id begins another call under the index of one that is over."""
        if not name or not call.name:
            return False
        return name != call.name or (call.ended and bool(text) and text.strip() != "".join(call.parts).strip())

    @staticmethod
    def _take(call: _Call, text: str) -> str:
        """Add to a call's arguments; returns what is new of them."""
        if call.ended:
            call.behind.append(text)
            return ""
        at, why = call.scan.scan(text)
        while why == "<":
            at, why = call.scan.scan(text, at + 1)
        if why == "end":
            call.ended = True
            call.behind.append(text[at:])
            text = text[:at]
        if text:
            call.parts.append(text)
        return text


def _judge(call: _Call, *, cut: bool) -> WholeCall | BrokenCall:
    text = "".join(call.parts)
    behind = "".join(call.behind)
    if not call.name:
        return nameless(call.index, text)
    if cut and not call.ended:
        return cut_off(call.index, call.name, text)
    try:
        if not _repeats(behind, text) and not _more_calls(call):
            read_object(text + behind)
        return whole(call.index, call.name, read_object(text), call_id=call.id, repaired=mended(text))
    except ValueError as error:
        return unreadable(call.index, call.name, text + behind, error)


def _more_calls(call: _Call) -> list[tuple[str, dict[str, Any]]]:
    """The further calls of a list of calls, which vLLM's Hermes parser streams behind the arguments of the first."""
    rest = "".join(call.behind).lstrip(_SPARE)
    if not rest.startswith('{"name"'):
        return []
    try:
        entries = cast("list[Any]", read_value(f"[{rest.rstrip().removesuffix(']')}]"))
        return [(str(entry["name"]), read_object(write_value(entry.get("arguments")))) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _repeats(behind: str, text: str) -> bool:
    """What came behind whole arguments says nothing new: spare brackets, or the arguments or their end once more."""
    rest = behind.strip(_SPARE)
    if not rest or _NAME_BEHIND.match(behind):
        return True
    return not behind.replace(text, "").strip() or text.endswith(behind.strip())
