"""Finds tool calls in streamed text, in Hermes and XML format, at any split; everything else stays text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from qianda.models.formats.call import FUNCTION, TOOL_CALL, TOOL_CALL_END, Item, StrayEnd, Tools, beginnings, cut_off
from qianda.models.formats.hermes import HermesBody
from qianda.models.formats.xml import XmlBody

_THINK_END = "</think>"
# A call is begun by "{" or "<function=" behind the tag; the tag alone may be a word in prose.
_BEGIN = re.compile(r"<tool_call>\s{0,64}(?:\[\s{0,64})?(?:(?=(\{))|(?=<function=))")
_MAYBE_BEGIN = re.compile(rf"<tool_call>\s{{0,64}}(?:\[\s{{0,64}})?(?:{beginnings(FUNCTION)})?\Z")
_FUNCTION_NAME = re.compile(r"<function=[ \t]*[\"']?([^<>\n\"']{1,128}?)[\"']?[ \t]*>")
_LONGEST_NAME = 160
_LONGEST_HEAD = 300
# Spare brackets and commas behind a call are dropped, and the whitespace between calls with them.
_SPARE = re.compile(r"[\s,;\]}]*")
# In front of a tag, these make it a quotation.
_QUOTES = "`\"'“‘「『"


class CallFinder:
    """Takes text in pieces; gives text, calls and ``</think>`` that strayed into it.

    Args:
        tools: the tools by name. Without a single one the text is not searched for calls.
        indexes: numbers for the calls, in order.
        formats: ``hermes`` and ``xml``, as far as they are to be read.
        strict: ``</tool_call>`` always ends a call, also inside a string.

    Attributes:
        last: the last character of the text so far; to be set by who lets text go past ``feed``.
    """

    def __init__(
        self, tools: Tools, indexes: Iterator[int], formats: Sequence[str] = ("hermes", "xml"), *, strict: bool = False
    ) -> None:
        self._tools = tools
        self._indexes = indexes
        self._formats = formats if tools else ()
        self._strict = strict
        self._tags = [_THINK_END, *((TOOL_CALL, TOOL_CALL_END) if self._formats else ())]
        if "xml" in self._formats:
            self._tags.append(FUNCTION)
        self._tag = re.compile("|".join(self._tags))
        self._held = ""
        self.last = "\n"
        self._body: HermesBody | XmlBody | None = None
        self._bare = False
        self._wrapped = False
        self._spare = ""
        # Plain functions: bound methods would tie the finder to itself, and each reply to the garbage collector.
        self._state = CallFinder._read_start if "hermes" in self._formats else CallFinder._read_text

    @property
    def idle(self) -> bool:
        """Nothing is held back or begun: text without a ``<`` would come out as it goes in."""
        return not self._held and self._state is CallFinder._read_text

    def feed(self, piece: str, out: list[Item]) -> None:
        """Take more text; what is certain by now is appended to ``out``."""
        text = self._held + piece
        at, size = 0, len(text)
        while at < size:
            state, before = self._state, at
            at = state(self, text, at, out)
            if at == before and self._state is state:
                break
        self._held = text[at:]

    def close(self, out: list[Item], *, cut: bool) -> None:
        """The text is over.

        Args:
            out: gets what was held back, and the call that was begun.
            cut: the output was cut, so an unfinished call is no call.
        """
        held, self._held = self._held, ""
        if self._state is CallFinder._read_call and self._body:
            items, rest = self._body.close(held, cut=cut)
            out += items
            if rest:
                again = CallFinder(self._tools, self._indexes, self._formats, strict=True)
                again.feed(rest, out)
                again.close(out, cut=cut)
        elif self._state is CallFinder._read_after:
            self._finish(out)
        elif self._state is CallFinder._skip:
            return
        elif held.startswith(TOOL_CALL) and cut:
            out.append(cut_off(next(self._indexes), "", ""))
        elif held:
            out.append(held)

    def _read_start(self, text: str, at: int, out: list[Item]) -> int:
        """Before any text: a reply may be a bare call, without tags. Only a known tool's call is taken for one."""
        begin = len(text) - len(text[at:].lstrip())
        if begin == len(text):
            self._give(text[at:], out)
            return begin
        if text[begin] == "{":
            head = "".join(text[begin : begin + _LONGEST_HEAD].split())
            calls = [f'{{"name":"{name}","{key}":{{' for name in self._tools for key in ("arguments", "parameters")]
            if any(head.startswith(call) for call in calls):
                self._give(text[at:begin], out)
                self._bare = True
                return self._begin(HermesBody(next(self._indexes), self._tools, quiet=True), begin)
            if len(text) - begin < _LONGEST_HEAD and any(call.startswith(head) for call in calls):
                return at
        self._state = CallFinder._read_text
        return at

    def _read_text(self, text: str, at: int, out: list[Item]) -> int:
        tag = self._tag.search(text, at)
        if tag is None:
            stop = len(text)
            last = text.rfind("<", max(at, stop - len(TOOL_CALL_END)))
            if last >= 0 and any(tag.startswith(text[last:]) for tag in self._tags):
                stop = last
            self._give(text[at:stop], out)
            return stop
        begin = tag.start()
        self._give(text[at:begin], out)
        if tag[0] == _THINK_END and self.last not in _QUOTES:
            out.append(StrayEnd())
            return tag.end()
        if tag[0] == TOOL_CALL_END and self._wrapped:
            self._wrapped = False
            return tag.end()
        if tag[0] == TOOL_CALL:
            call = _BEGIN.match(text, begin)
            if call and ("hermes" if call[1] else "xml") in self._formats:
                self._wrapped = True
                body = HermesBody if call[1] else XmlBody
                return self._begin(body(next(self._indexes), self._tools, strict=self._strict), call.end())
            if call is None and _MAYBE_BEGIN.match(text, begin):
                return begin
        if tag[0] == FUNCTION:
            name = _FUNCTION_NAME.match(text, begin)
            if self._wrapped or (name and name[1] in self._tools):
                return self._begin(XmlBody(next(self._indexes), self._tools, strict=self._strict), begin)
            ahead = text[begin : begin + _LONGEST_NAME]
            if len(ahead) < _LONGEST_NAME and not set(">\n") & set(ahead):
                return begin
        self._give(tag[0], out)
        return tag.end()

    def _read_call(self, text: str, at: int, out: list[Item]) -> int:
        assert self._body is not None
        at = self._body.feed(text, at, out)
        if self._body.ended:
            self._spare = ""
            self._state = CallFinder._read_after
            if self._body.closed:
                self._wrapped = False
                self._finish(out)
        return at

    def _read_after(self, text: str, at: int, out: list[Item]) -> int:
        """Behind a call that no ``</tool_call>`` ended yet: what follows says whether it was one, and whole."""
        assert self._body is not None
        spare = _SPARE.match(text, at)
        begin = spare.end() if spare else at
        self._spare += text[at:begin]
        ahead = text[begin : begin + len(TOOL_CALL_END)]
        if not ahead or any(tag != ahead and tag.startswith(ahead) for tag in self._tags):
            return begin
        if text.startswith(TOOL_CALL_END, begin):
            self._wrapped = False
            self._finish(out)
            return begin + len(TOOL_CALL_END)
        if ahead[0] == "{" and (self._bare or self._wrapped):
            bare = self._bare
            self._finish(out)
            if bare:
                self._state = CallFinder._read_start
                return begin
            return self._begin(HermesBody(next(self._indexes), self._tools, strict=self._strict), begin)
        if text.startswith((TOOL_CALL, FUNCTION), begin) or not (self._bare or ahead[0] in "\"'\\"):
            self._finish(out)
        elif self._bare:
            self._give(self._body.text + self._spare if isinstance(self._body, HermesBody) else "", out)
            self._end(CallFinder._read_text)
        else:
            # The call only seemed to end: a quotation mark inside a string ended the string too early.
            out += self._body.reject(ValueError('a quotation mark inside a string has to be written \\"'))
            self._end(CallFinder._skip)
        return begin

    def _skip(self, text: str, at: int, out: list[Item]) -> int:  # noqa: ARG002 -- one of the states
        """The rest of a broken call."""
        end = text.find(TOOL_CALL_END, at)
        if end < 0:
            return max(at, len(text) - len(TOOL_CALL_END))
        self._state = CallFinder._read_text
        self._wrapped = False
        return end + len(TOOL_CALL_END)

    def _begin(self, body: HermesBody | XmlBody, at: int) -> int:
        self._body = body
        self._state = CallFinder._read_call
        return at

    def _finish(self, out: list[Item]) -> None:
        assert self._body is not None
        out += self._body.finish()
        self._end(CallFinder._read_text)

    def _end(self, state: Callable[[CallFinder, str, int, list[Item]], int]) -> None:
        self._body, self._bare, self._spare = None, False, ""
        self._state = state

    def _give(self, text: str, out: list[Item]) -> None:
        if text:
            self.last = text[-1]
            out.append(text)
