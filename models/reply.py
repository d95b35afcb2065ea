"""A model's reply: the deltas that it arrives in, and the pure function that merges them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from qianda.models.messages import NO_USAGE, AssistantMessage, ToolCall, Usage

Finish = Literal["stop", "tool_calls", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class TextPiece:
    """More of the answer's text, free of markup."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningPiece:
    """More of the reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Text and reasoning given so far are void: what they really were follows (reasoning that came as text, say)."""


@dataclass(frozen=True, slots=True)
class CallPiece:
    """More of a tool call that is being written: a preview, which ``WholeCall`` or ``BrokenCall`` replaces.

    Args:
        index: which call of this reply, from 0, in the order of their first pieces.
        id: the server's id, or "" where it gave none (yet).
        name: the whole name, or "" when this piece does not carry it.
        arguments: more of the arguments' text, to be appended.
    """

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class WholeCall:
    """A tool call that was read to its end; replaces the pieces of the same index.

    Args:
        index: which call of this reply, from 0.
        id: the server's id, or "" where it gave none.
        name: the tool's name.
        arguments: JSON text of an object, repaired and in one spelling (``{"key": value}``, as Qwen's templates write).
        repaired: what had to be mended to read it, or "".
    """

    index: int
    id: str
    name: str
    arguments: str
    repaired: str = ""


@dataclass(frozen=True, slots=True)
class BrokenCall:
    """A call that could not be read.

    Args:
        name: the tool's name, or "" when even that was lost.
        text: what the model wrote: the arguments' text where that could be told apart.
        problem: one sentence for the model.
        index: which call of this reply, from 0; replaces the pieces of the same index.
    """

    name: str
    text: str
    problem: str
    index: int = -1


@dataclass(frozen=True, slots=True)
class UsagePiece:
    """The server's token counts for this reply; a later one replaces an earlier one."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class FinishPiece:
    """Why the reply ended."""

    reason: Finish


Piece = TextPiece | ReasoningPiece | Reset | CallPiece | WholeCall | BrokenCall | UsagePiece | FinishPiece


LOST_TOKENS = 8
"""So many may go into tags and line breaks around an answer that is truly empty."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole reply of the model.

    Args:
        text: the answer's text, free of markup.
        reasoning: what came as thinking.
        calls: the tool calls, in order.
        broken: calls that could not be read.
        usage: tokens of this request, as the server counted them.
        finish: why it ended; ``tool_calls`` exactly when there are calls and the output was not cut.
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[ToolCall, ...] = ()
    broken: tuple[BrokenCall, ...] = ()
    usage: Usage = NO_USAGE
    finish: Finish = "stop"

    @property
    def lost(self) -> bool:
        """The server counted an answer and passed on none: vLLM drops from a stream the call that it cannot read."""
        told = self.text.strip() or self.calls or self.broken or self.finish != "stop"
        uncounted = self.reasoning and not self.usage.reasoning_tokens
        return not told and not uncounted and self.usage.output_tokens - self.usage.reasoning_tokens > LOST_TOKENS

    def message(self) -> AssistantMessage:
        """The reply as a message of the conversation."""
        return AssistantMessage(content=self.text, reasoning=self.reasoning, tool_calls=self.calls)


def merge(pieces: Iterable[Piece]) -> Reply:
    """Merge the pieces of one reply, in the order in which they arrived; pure."""
    text: list[str] = []
    reasoning: list[str] = []
    calls: dict[int, tuple[str, str, list[str], str]] = {}
    broken: list[BrokenCall] = []
    usage = Usage()
    finish: Finish = "stop"
    for piece in pieces:
        match piece:
            case TextPiece():
                text.append(piece.text)
            case ReasoningPiece():
                reasoning.append(piece.text)
            case Reset():
                text, reasoning = [], []
            case WholeCall():
                calls[piece.index] = (piece.id, piece.name, [piece.arguments], piece.repaired)
            case CallPiece():
                call_id, name, arguments, _ = calls.get(piece.index, ("", "", [], ""))
                if piece.arguments:
                    arguments.append(piece.arguments)
                calls[piece.index] = (piece.id or call_id, piece.name or name, arguments, "")
            case BrokenCall():
                broken.append(piece)
                calls.pop(piece.index, None)
            case UsagePiece():
                usage = piece.usage
            case FinishPiece():
                finish = piece.reason
    whole = tuple(
        ToolCall(id=call_id or f"call_{index}", name=name, arguments="".join(arguments) or "{}", repaired=repaired)
        for index, (call_id, name, arguments, repaired) in sorted(calls.items())
    )
    if len({call.id for call in whole}) < len(whole):
        whole = tuple(replace(call, id=f"{call.id}_{index}") for index, call in enumerate(whole))
    if finish in ("stop", "tool_calls"):
        finish = "tool_calls" if whole else "stop"
    return Reply(
        text="".join(text).rstrip(),
        reasoning="".join(reasoning).strip("\n"),
        calls=whole,
        broken=tuple(broken),
        usage=usage,
        finish=finish,
    )
