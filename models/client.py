"""Asking a model: one request, its retries, and the pieces of the reply as they arrive."""

from __future__ import annotations

import random
from asyncio import sleep
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any

import orjson

from qianda.models.budget import BudgetWatch, bounded, continuations
from qianda.models.errors import ServerError, ServerRefused
from qianda.models.exchange import Exchange
from qianda.models.failures import repaired_fields, wants_text, with_text, worth_another_try
from qianda.models.family import Sampling, find_family
from qianda.models.http import is_connect_error, patience
from qianda.models.messages import Message, ToolSchema
from qianda.models.mode import Mode, mode_of
from qianda.models.modelstudio import studio_fields, with_cache_marks
from qianda.models.ollama import native_fields
from qianda.models.reader import ReplyReader
from qianda.models.reply import Piece
from qianda.models.resolve import Endpoint
from qianda.models.thinking import OFF, Thinking, less_thinking
from qianda.models.tokens import output_limit
from qianda.models.wire import MessageEncoder, tool_body

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient

ATTEMPTS = 4
LONGEST_WAIT = 60.0
TOTAL_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Retry:
    """The request failed and is made again after ``wait`` seconds.

    Args:
        error: what went wrong.
        attempt: the attempt that comes now, from 2.
        wait: seconds.
        discard: the pieces given so far are void.
    """

    error: ServerError
    attempt: int
    wait: float
    discard: bool


class Client:
    """Talks to one model on one server; safe to use from many runs at once.

    Args:
        endpoint: the chosen server and model.
        http: the pooled HTTP client; closed by whoever opened it.
        thinking: what is wanted; None for the model's default.
        sampling: fields that are set override the family's preset.
        streaming: ask for server-sent events; else for one JSON document.
        extra_body: more request fields, which win over ours.
        seconds: silence after which a request counts as hung, None for 300, or what the HTTP client was made with.
        total: seconds for one reply, all attempts together.

    Raises:
        ConfigurationError: the model or the server cannot do what ``thinking`` wants.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        http: AsyncClient,
        *,
        thinking: Thinking | bool | None = None,
        sampling: Sampling | None = None,
        streaming: bool = True,
        extra_body: dict[str, Any] | None = None,
        seconds: float | None = None,
        total: float = TOTAL_SECONDS,
    ) -> None:
        self.endpoint = endpoint
        self._family = find_family(endpoint.model)
        self._streaming = streaming
        self._total = total
        self._exchange = Exchange(endpoint, http, patience(http, seconds))
        self._kind = endpoint.kind
        self._sampling = sampling or Sampling()
        self._extra = extra_body or {}
        self._thinking = Thinking.of(thinking)
        # Ollama's /v1 can neither choose the window nor say how to think.
        wants_native = endpoint.num_ctx is not None or thinking is not None or "options" in self._extra
        self._native = endpoint.kind.kind == "ollama" and wants_native
        self._text_only = False
        self._mode = self._mode_of(self._thinking)

    def _mode_of(self, thinking: Thinking | None) -> Mode:
        mode = mode_of(thinking, self._family, self._kind, self._sampling)
        streamed: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        fields = mode.fields | (streamed if self._streaming or mode.stream else {})
        return replace(mode, fields=_override(fields, self._extra))

    def less_thinking(self, thinking: Thinking | None) -> Thinking | None:
        """What to try after a reply that was all reasoning; None when the model cannot think less.

        Args:
            thinking: what that reply was asked with.
        """
        less = less_thinking(thinking or self._thinking, self._family)
        before, after = (self._mode_of(each) for each in (thinking or self._thinking, less))
        return None if (before.fields, before.switch) == (after.fields, after.switch) else less

    def encoder(self) -> MessageEncoder:
        """The serialiser for one conversation."""
        return MessageEncoder(
            self._kind, preserve=self._family.preserve, resend=self._family.resend, model=self.endpoint.model
        )

    async def ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSchema],
        encoder: MessageEncoder,
        *,
        fields: Mapping[str, Any] | None = None,
        thinking: Thinking | None = None,
    ) -> AsyncGenerator[list[Piece] | Retry]:
        """Ask for one reply.

        Args:
            messages: the whole conversation.
            tools: what the model may call.
            encoder: this conversation's serialiser.
            fields: request fields of this one request, which win over all others; an object in them is merged into the
                one that is there, None takes a field out.
            thinking: for this one request, in the place of the client's.

        Yields:
            The pieces of the reply, in one list per block that the network gave; or a ``Retry``.

        Raises:
            ServerError: the server refused, or failed more often than we try.
            ConfigurationError: an image of the user's that the server or the model does not take.
        """
        mode = self._mode if thinking is None else self._mode_of(thinking)
        every: dict[str, Any] = {"model": self.endpoint.model, **mode.fields}
        if tools:
            every["tools"] = [tool_body(schema) for schema in tools]
        every = _override(every, fields or {})
        told = fields is not None and "max_tokens" in fields
        if self._kind.tell_output and not told and (room := self._room(every, encoder.size(messages))):
            every["max_tokens"] = room
        every = self._shaped(every, mode.thinking, thinks=mode.thinks)
        body = self._whole_body(encoder.request(messages, orjson.dumps(every), switch=mode.switch))
        deadline = monotonic() + self._total
        repaired = last = False

        def go_on(thought: str) -> Iterator[tuple[bool, AsyncGenerator[list[Piece]]]]:
            for way in continuations(thought, mode.thinking, self._family, self._kind):
                rest = self._shaped(_override(every, {**way.fields, "think": None}), OFF, thinks=False)
                rest = orjson.dumps(rest)
                rest = encoder.request(messages, rest, switch=way.switch, prefill=way.prefill)
                rest = self._whole_body(rest)
                yield way.prefill is not None, self._once(rest, tools, thinks=False, last=last, deadline=deadline)

        for attempt in count(1):
            given = False
            last = attempt - repaired >= ATTEMPTS
            try:
                reply = self._once(body, tools, thinks=mode.thinks is not False, last=last, deadline=deadline)
                if mode.bound:
                    reply = bounded(BudgetWatch(mode.bound), reply, go_on)
                async with aclosing(reply) as batches:
                    async for pieces in batches:
                        given = True
                        yield pieces
            except ServerError as error:
                mended = None if repaired else self._mended(error, every)
                if mended is not None:
                    every, repaired, wait = mended, True, 0.0
                    body = self._whole_body(encoder.request(messages, orjson.dumps(every), switch=mode.switch))
                elif self._refuses_budget(error):
                    async with aclosing(self.ask(messages, tools, encoder, fields=fields, thinking=thinking)) as again:
                        async for batch in again:
                            yield batch
                    return
                else:
                    wait = _wait(attempt, error)
                    hopeless = is_connect_error(error.__cause__) and not self._exchange.reached
                    if hopeless or last or monotonic() + wait > deadline or not worth_another_try(error):
                        raise
                yield Retry(error, attempt + 1, wait, discard=given)
                await sleep(wait)
            else:
                return

    def _room(self, fields: dict[str, Any], size: int) -> int | None:
        """Tokens that a reply may have, for servers that must be told; None to leave it to them.

        Args:
            fields: of the request.
            size: of the conversation, in bytes; a token has three or more.
        """
        if fields.keys() & {"max_tokens", "max_completion_tokens"}:
            return None
        if (window := self.endpoint.window) is None:
            return self._family.max_output if self._kind.tell_output == "always" else None
        prompt = (size + len(orjson.dumps(fields.get("tools", [])))) // 3
        # An estimate that leaves no room is no reason to cut the reply.
        return output_limit(self._family, window, prompt) if prompt + 4_000 < window else None

    def _mended(self, error: ServerError, fields: dict[str, Any]) -> dict[str, Any] | None:
        """The fields for a request that may pass where this one was refused, None where there is nothing to mend."""
        if wants_text(error) and not self._text_only:
            self._text_only = True
            return fields
        return repaired_fields(error, fields)

    def _refuses_budget(self, error: ServerError) -> bool:
        """Whether a server does not take the budget after all (vLLM before --reasoning-config); it is ours from now."""
        if not (isinstance(error, ServerRefused) and self._kind.budget and self._kind.budget in str(error)):
            return False
        self._kind = replace(self._kind, budget="")
        self._mode = self._mode_of(self._thinking)
        return True

    def _once(
        self, body: bytes, tools: Sequence[ToolSchema], *, thinks: bool, last: bool, deadline: float
    ) -> AsyncGenerator[list[Piece]]:
        reader = ReplyReader(tools=tools, thinking_open=self._family.opens and thinks, thinking=thinks)
        return self._exchange.once(body, reader, native=self._native, last=last, deadline=deadline)

    def _shaped(self, fields: dict[str, Any], thinking: Thinking | None, *, thinks: bool | None) -> dict[str, Any]:
        """The fields as this kind of server takes them."""
        if self._kind.is_model_studio:
            return studio_fields(fields, thinks=thinks)
        if self._native:
            return native_fields(fields, thinking, num_ctx=self.endpoint.num_ctx)
        return {"parallel_tool_calls": True, **fields} if self._kind.parallel and "tools" in fields else fields

    def _whole_body(self, body: bytes) -> bytes:
        """The body of a request as this server takes it."""
        body = with_cache_marks(body) if self._kind.is_model_studio and "cache_control" in self._extra else body
        return with_text(body) if self._text_only else body


def _override(fields: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Request fields with others put over them: objects are merged, None takes a field out."""
    merged = dict(fields)
    for name, value in more.items():
        old = merged.get(name)
        merged[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return {name: value for name, value in merged.items() if name not in more or value is not None}


def _wait(attempt: int, error: ServerError) -> float:
    """Seconds before the next attempt: what the server asked for, else exponential with jitter."""
    if error.retry_after is not None:
        return min(error.retry_after, LONGEST_WAIT)
    return min(0.5 * 2 ** (attempt - 1), 8.0) * random.uniform(0.8, 1.2)  # noqa: S311 -- jitter, not a secret
