"""A bound of the reasoning that the server does not keep: count, stop, have the same reply go on without thinking."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from qianda.models.errors import ServerRefused
from qianda.models.family import Family
from qianda.models.reply import BrokenCall, CallPiece, Piece, ReasoningPiece, Reset, TextPiece, UsagePiece, WholeCall
from qianda.models.servers import ServerKind
from qianda.models.thinking import OFF, Thinking, server_holds_budget, soft_switch, switched, thinking_fields

Pieces = AsyncGenerator[list[Piece]]

# How the Qwen3 Technical Report (https://arxiv.org/abs/2505.09388, section 4.3) ends the thinking at a budget.
CLOSING = "Considering the limited time by the user, I have to give the solution based on the thinking directly now."
_ANSWER = (TextPiece, CallPiece, WholeCall, BrokenCall, Reset)
SLACK = 2
"""A server that takes the budget is stopped at so many times of it: some take the field and do nothing."""


def bound(thinking: Thinking | None, family: Family, kind: ServerKind) -> int | None:
    """Tokens of reasoning after which the client stops the server, None for no bound."""
    if thinking is None or not thinking.budget or family.thinking == "none":
        return None
    return thinking.budget * (SLACK if server_holds_budget(thinking, kind) else 1)


class BudgetWatch:
    """Counts the reasoning of one reply as it comes, and cuts it at the bound.

    A piece of up to 12 characters counts as one token, as servers stream them; of a longer one, four ASCII characters
    do, and every other character.

    Args:
        tokens: the bound.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._thought: list[str] = []
        self._count = 0
        self._answers = False
        self.spent = False
        """The bound was reached while the model still thought."""

    @property
    def thought(self) -> str:
        """The reasoning so far."""
        return "".join(self._thought)

    def take(self, pieces: list[Piece]) -> list[Piece]:
        """Pieces as they come, up to the bound; when the answer is begun already, there is nothing to bound."""
        self._answers = self._answers or any(isinstance(piece, _ANSWER) for piece in pieces)
        if self._answers:
            return pieces
        reasoning = [piece for piece in pieces if isinstance(piece, ReasoningPiece)]
        for at, piece in enumerate(reasoning, 1):
            self._thought.append(piece.text)
            self._count += count_tokens(piece.text)
            if self._count >= self._tokens:
                self.spent = True
                self._thought.append(f"\n\n{CLOSING}")
                return [*reasoning[:at], ReasoningPiece(self._thought[-1])]
        return pieces

    def resume(self, pieces: list[Piece], *, prefilled: bool) -> list[Piece]:
        """Pieces of the request that goes on: one reply with what was taken before.

        Args:
            pieces: as they come.
            prefilled: the request carried the reasoning.
        """
        joined: list[Piece] = []
        for piece in pieces:
            if isinstance(piece, UsagePiece):
                # The stopped request never said its usage: the prompt counts again, the reasoning as we counted it.
                said, carried = piece.usage, self._count if prefilled else 0
                usage = replace(
                    said,
                    input_tokens=said.input_tokens + max(0, said.input_tokens - carried),
                    output_tokens=said.output_tokens + self._count,
                    reasoning_tokens=said.reasoning_tokens + self._count,
                )
                joined.append(UsagePiece(usage))
            elif not (prefilled and isinstance(piece, ReasoningPiece)):  # which llama.cpp repeats in whole documents
                joined.append(piece)
                if isinstance(piece, Reset):
                    joined.append(ReasoningPiece(self.thought))
        return joined


def count_tokens(text: str) -> int:
    """Tokens of reasoning, roughly; see ``BudgetWatch``."""
    if len(text) <= 12:
        return 1
    ascii_only = len(text.encode("ascii", "ignore"))
    return ceil(ascii_only / 4) + len(text) - ascii_only


@dataclass(frozen=True, slots=True)
class Continuation:
    """A request that goes on where a reply was stopped.

    Args:
        fields: request fields, for ``Client.ask``.
        switch: the soft switch of its prompts, or "".
        prefill: the message that goes on, or None to answer anew.
    """

    fields: dict[str, Any]
    switch: str
    prefill: dict[str, Any] | None = None


def continuations(thought: str, thinking: Thinking | None, family: Family, kind: ServerKind) -> list[Continuation]:
    """How the reply may go on, the best way first: the next one is for a server that refuses this one.

    Args:
        thought: the reasoning, its closing sentence included.
        thinking: what the stopped request wanted.
        family: the model.
        kind: the server.
    """
    off = switched(thinking_fields(thinking, family, kind), thinking_fields(OFF, family, kind))
    switch = soft_switch(OFF, family, kind)
    ways: list[Continuation] = []
    if kind.continues:
        fields = dict(off)
        if kind.thinking == "kwargs":
            # Also for models that always think: so the server's parser knows that what comes is the answer.
            fields["chat_template_kwargs"] = {"enable_thinking": False}
        if kind.continues == "flags":
            fields |= {"continue_final_message": True, "add_generation_prompt": False}
        end = f"{thought.strip()}\n</think>\n\n"
        message = {"role": "assistant", "content": f"<think>\n{end}"}
        if kind.continues == "reasoning":
            # Seen of llama.cpp: as content it would follow the empty thought by which templates switch thinking off.
            message = {"role": "assistant", "content": "", "reasoning_content": end}
        ways.append(Continuation(fields, switch, message))
    if family.thinking != "only":
        ways.append(Continuation(off, switch))
    return ways


async def bounded(watch: BudgetWatch, first: Pieces, go_on: Callable[[str], Iterable[tuple[bool, Pieces]]]) -> Pieces:
    """One reply out of the request that is stopped at the bound and the one that goes on.

    Args:
        watch: the bound.
        first: the pieces of the first request.
        go_on: from the reasoning to the requests that may follow, the best first, each with whether it carries it.

    Raises:
        ServerError: a request failed, or the server refused every way to go on.
    """
    async with aclosing(first) as batches:
        async for pieces in batches:
            yield watch.take(pieces)
            if watch.spent:
                break
        else:
            return
    refused: ServerRefused | None = None
    for prefilled, rest in go_on(watch.thought):
        try:
            async with aclosing(rest) as batches:
                async for pieces in batches:
                    yield watch.resume(pieces, prefilled=prefilled)
        except ServerRefused as error:
            refused = error
        else:
            return
    if refused:
        raise refused
