"""Turns what a chat-completions server sends, streamed or whole, into the pieces of a reply."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, cast

from qianda.models.formats.call import Item, StrayEnd
from qianda.models.formats.drift import find_drifted
from qianda.models.formats.finder import CallFinder
from qianda.models.messages import ToolSchema, Usage
from qianda.models.native_calls import NativeCalls
from qianda.models.reply import (
    BrokenCall,
    CallPiece,
    Finish,
    FinishPiece,
    Piece,
    ReasoningPiece,
    Reset,
    TextPiece,
    UsagePiece,
    WholeCall,
)
from qianda.models.think_splitter import CLOSE, OPEN, ThinkSplitter

_FINISHES: dict[str, Finish] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
}


class ReplyReader:
    """Reads one reply, chunk by chunk; ``merge`` of its pieces gives the same reply for a stream and for one document.

    Args:
        tools: what the model may call; without any, only native calls are calls.
        thinking_open: the content begins inside the reasoning, because the prompt ended with ``<think>`` and the server
            does not split it off.
        thinking: False when thinking was switched off: reasoning is then taken for the answer if there is no other.
        formats: ``hermes`` and ``xml``, as far as calls in text are to be read.
    """

    def __init__(
        self,
        *,
        tools: Sequence[ToolSchema],
        thinking_open: bool,
        thinking: bool = True,
        formats: Sequence[str] = ("hermes", "xml"),
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._formats = formats
        self._thinking = thinking
        self._indexes = count()
        self._splitter = ThinkSplitter(thinking_open=thinking_open)
        self._finder = CallFinder(self._tools, self._indexes, formats)
        self._native = NativeCalls(self._indexes)
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._usage: dict[str, Any] = {}
        self._calls = 0
        self._after_call = False
        self._tagged = False
        self._plain = False
        self._closed = False
        self.finish_reason: str | None = None
        """What the server gave, word for word; None while it gave none."""

    def feed(self, chunk: dict[str, Any]) -> list[Piece]:
        """Take one chunk of a stream."""
        if usage := chunk.get("usage"):
            self._usage = usage
        choices = chunk.get("choices")
        if not choices:
            return []
        choice: dict[str, Any] = choices[0]
        return self._take(choice.get("delta") or {"content": choice.get("text")}, choice.get("finish_reason"))

    def read_response(self, body: dict[str, Any]) -> list[Piece]:
        """Take a whole document, as if it had come as one chunk; nothing more is to come."""
        choices: list[dict[str, Any]] = body.get("choices") or [{}]
        self._usage = body.get("usage") or {}
        message = choices[0].get("message") or {"content": choices[0].get("text")}
        return self._take(message, choices[0].get("finish_reason")) + self.close()

    def close(self) -> list[Piece]:
        """The reply is over: what was held back, the calls, the usage. A second time there is nothing."""
        if self._closed:
            return []
        self._closed = True
        out: list[Piece] = []
        cut = self.finish_reason is not None and _FINISHES.get(self.finish_reason) not in ("stop", "tool_calls")
        reasoning, text = self._splitter.close()
        self._give_reasoning(reasoning, out)
        items: list[Item] = []
        self._finder.feed(text, items)
        self._finder.close(items, cut=cut)
        self._give(items, out)
        for call in self._native.close(cut=cut):
            self._calls += 1
            out.append(call)
        if not self._calls and not "".join(self._text).strip():
            self._look_into_reasoning(out, cut=cut)
        elif not self._calls and not cut and self._formats and (drifted := self._drifted()):
            text, calls = drifted
            reasoning = self._untagged() if self._tagged else None
            self._calls += len(calls)
            thought = "".join(self._reasoning) if reasoning is None else reasoning
            out += (
                Reset(),
                *([ReasoningPiece(thought)] if thought else []),
                *([TextPiece(text)] if text else []),
                *calls,
            )
        elif self._tagged and (stray := self._untagged()) is not None:
            out += (Reset(), ReasoningPiece(stray), TextPiece("".join(self._text)))
        out.append(UsagePiece(_usage(self._usage)))
        return out

    def _take(self, delta: dict[str, Any], finish: str | None) -> list[Piece]:
        """Read one delta, or a whole message: they have the same fields."""
        out: list[Piece] = []
        content = delta.get("content")
        if content and not isinstance(content, str):
            content = _joined(content)
        reasoning = delta.get("reasoning") or delta.get("reasoning_content")
        if reasoning and isinstance(reasoning, str):
            self._splitter.settle()
            self._tagged = True
            self._give_reasoning(reasoning, out)
        if content:
            if self._plain and "<" not in content:
                self._text.append(content)
                out.append(TextPiece(content))
            else:
                self._read_content(content, out)
        calls = delta.get("tool_calls")
        if calls:
            self._splitter.settle()
            self._native.feed(calls, out)
            self._after_call = True
            self._plain = False
        if finish:
            self.finish_reason = finish
            out.append(FinishPiece(_FINISHES.get(finish, "stop")))
        return out

    def _read_content(self, content: str, out: list[Piece]) -> None:
        reasoning, text = self._splitter.feed(content)
        if reasoning:
            self._give_reasoning(reasoning, out)
        if text:
            items: list[Item] = []
            if self._text:
                self._finder.last = self._text[-1][-1]
            self._finder.feed(text, items)
            self._give(items, out)
        self._plain = self._splitter.outside and self._finder.idle and bool(self._text) and not self._after_call

    def _give(self, items: list[Item], out: list[Piece]) -> None:
        for item in items:
            match item:
                case str():
                    self._give_text(item, out)
                case StrayEnd():
                    if not self._calls and not self._native and not self._reasoning and self._text:
                        # The opening tag was in the prompt and nobody knew: all this was reasoning.
                        self._reasoning, self._text = self._text, []
                        out += (Reset(), ReasoningPiece("".join(self._reasoning)))
                case CallPiece():
                    out.append(item)
                case WholeCall() | BrokenCall():
                    self._calls += 1
                    self._after_call = True
                    out.append(item)

    def _give_text(self, text: str, out: list[Piece]) -> None:
        """Give text; line breaks in front of it are of the template, those around calls only separated them."""
        if self._after_call:
            text = text.lstrip()
            if text and self._text and not self._text[-1][-1].isspace():
                text = "\n" + text
        elif not self._text:
            text = text.lstrip("\r\n")
        if text:
            self._after_call = False
            self._text.append(text)
            out.append(TextPiece(text))

    def _give_reasoning(self, text: str, out: list[Piece]) -> None:
        if text:
            self._reasoning.append(text)
            out.append(ReasoningPiece(text))

    def _look_into_reasoning(self, out: list[Piece], *, cut: bool) -> None:
        """There is neither text nor a call: the reasoning may hold what should have come outside of it."""
        reasoning = "".join(self._reasoning)
        found: list[Item] = []
        if not cut and "<" in reasoning:
            CallFinder(self._tools, self._indexes, self._formats).feed(reasoning, found)
        calls = [item for item in found if isinstance(item, WholeCall) and item.name in self._tools]
        thought, _, rest = reasoning.replace(OPEN, "").partition(CLOSE) if self._tagged else (reasoning, "", "")
        if calls:
            kept = "".join(item for item in found if isinstance(item, str))
            out += (Reset(), ReasoningPiece(kept), *calls)
        elif rest.strip():
            out += (Reset(), ReasoningPiece(thought), TextPiece(rest.replace(CLOSE, "").strip("\r\n")))
        elif (not self._thinking or (self._splitter.assumed and not cut)) and thought.strip():
            # Thinking was off, or a server that strips reasoning gave an answer without any.
            out += (Reset(), TextPiece(thought.strip("\r\n")))
        elif thought != reasoning:
            out += (Reset(), ReasoningPiece(thought))

    def _drifted(self) -> tuple[str, list[WholeCall]] | None:
        return find_drifted("".join(self._text), self._tools, self._indexes)

    def _untagged(self) -> str | None:
        """The reasoning without tags that the server left in it; None when there are none."""
        reasoning = "".join(self._reasoning)
        clean = reasoning.replace(OPEN, "").replace(CLOSE, "") if "<" in reasoning else reasoning
        return None if clean == reasoning else clean


def _joined(content: Any) -> str:
    """The text of content that comes in parts."""
    parts = cast("list[Any]", content) if isinstance(content, list) else []
    return "".join(str(cast("dict[str, Any]", part).get("text") or "") for part in parts if isinstance(part, dict))


def _usage(usage: dict[str, Any]) -> Usage:
    """Token counts as OpenAI, vLLM and Model Studio name them; details may be missing or null."""
    output: dict[str, Any] = usage.get("completion_tokens_details") or {}
    prompt: dict[str, Any] = usage.get("prompt_tokens_details") or {}
    return Usage(
        input_tokens=usage.get("prompt_tokens") or 0,
        output_tokens=usage.get("completion_tokens") or 0,
        reasoning_tokens=output.get("reasoning_tokens") or 0,
        cached_tokens=prompt.get("cached_tokens") or 0,
        requests=1,
    )
