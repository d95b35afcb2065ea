"""Asking a model: one request, its retries, and the pieces of the reply as they arrive."""

from __future__ import annotations

import random
from asyncio import sleep
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import orjson

from qianda.models.budget import BudgetWatch, bounded, continuations
from qianda.models.errors import ServerError, ServerOverloaded, ServerRefused, ServerUnreachable
from qianda.models.failures import classify, error_of, explain_refusal, status_of, worth_another_try
from qianda.models.family import Sampling, find_family
from qianda.models.http import is_connect_error, patience, send, sse_data
from qianda.models.messages import Message, ToolSchema
from qianda.models.mode import Mode, mode_of
from qianda.models.reader import ReplyReader
from qianda.models.reply import FinishPiece, Piece
from qianda.models.resolve import Endpoint, bearer
from qianda.models.servers import not_a_model_server
from qianda.models.thinking import Thinking, less_thinking
from qianda.models.wire import MessageEncoder, tool_body

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient

ATTEMPTS = 4
LONGEST_WAIT = 60.0


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
    ) -> None:
        self.endpoint = endpoint
        self._family = find_family(endpoint.model)
        self._http = http
        self._streaming = streaming
        self._patience = patience(http, seconds)
        self._reached = False
        self._headers = bearer(endpoint.api_key)
        self._kind = endpoint.kind
        self._sampling = sampling or Sampling()
        self._extra = extra_body or {}
        self._thinking = Thinking.of(thinking)
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
        return MessageEncoder(self._kind, preserve=self._family.preserve, resend=self._family.resend)

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
        body = encoder.request(messages, orjson.dumps(every), switch=mode.switch)

        def go_on(thought: str) -> Iterator[tuple[bool, AsyncGenerator[list[Piece]]]]:
            for way in continuations(thought, mode.thinking, self._family, self._kind):
                rest = orjson.dumps(_override(every, way.fields))
                rest = encoder.request(messages, rest, switch=way.switch, prefill=way.prefill)
                yield way.prefill is not None, self._once(rest, tools, thinks=False, last=True)

        for attempt in range(1, ATTEMPTS + 1):
            given = False
            try:
                reply = self._once(body, tools, thinks=mode.thinks is not False, last=attempt == ATTEMPTS)
                if mode.bound:
                    reply = bounded(BudgetWatch(mode.bound), reply, go_on)
                async with aclosing(reply) as batches:
                    async for pieces in batches:
                        given = True
                        yield pieces
            except ServerError as error:
                if self._refuses_budget(error):
                    async with aclosing(self.ask(messages, tools, encoder, fields=fields, thinking=thinking)) as again:
                        async for batch in again:
                            yield batch
                    return
                hopeless = is_connect_error(error.__cause__) and not self._reached
                if hopeless or attempt == ATTEMPTS or not worth_another_try(error):
                    raise
                wait = _wait(attempt, error)
                yield Retry(error, attempt + 1, wait, discard=given)
                await sleep(wait)
            else:
                return

    def _refuses_budget(self, error: ServerError) -> bool:
        """Whether a server does not take the budget after all (vLLM before --reasoning-config); it is ours from now."""
        if not (isinstance(error, ServerRefused) and self._kind.budget and self._kind.budget in str(error)):
            return False
        self._kind = replace(self._kind, budget="")
        self._mode = self._mode_of(self._thinking)
        return True

    async def _once(
        self, body: bytes, tools: Sequence[ToolSchema], *, thinks: bool, last: bool
    ) -> AsyncGenerator[list[Piece]]:
        url = f"{self.endpoint.url}/chat/completions"
        reader = ReplyReader(tools=tools, thinking_open=self._family.opens and thinks, thinking=thinks)
        async with send(self._http, "POST", url, headers=self._headers, content=body, **self._patience) as response:
            self._reached = True
            kind = str(response.headers.get("content-type", ""))
            if response.status_code != 200 or not kind.startswith("text/event-stream"):
                yield self._whole(response.status_code, await response.aread(), reader, response.headers)
                return
            finished = given = False
            async with aclosing(sse_data(response.aiter_bytes())) as blocks:
                async for block in blocks:
                    pieces: list[Piece] = []
                    for data in block:
                        if data == b"[DONE]":
                            finished = True
                        else:
                            pieces += reader.feed(self._decode(data))
                    if pieces:
                        given = True
                        yield pieces
            if not finished and reader.finish_reason is None:
                if not (last and given):
                    raise ServerUnreachable(f"The answer of {self.endpoint.url} broke off in the middle")
                # A server that never says when it is done; what there is may be cut, so no half call is guessed.
                reader.finish_reason = "length"
                yield [FinishPiece("length")]
            if pieces := reader.close():
                yield pieces

    def _whole(self, status: int, body: bytes, reader: ReplyReader, headers: Any) -> list[Piece]:
        if status != 200:
            retry_after = headers.get("retry-after")
            raise explain_refusal(
                status, body, url=self.endpoint.url, model=self.endpoint.model, retry_after=retry_after
            )
        if not body.strip():
            raise ServerUnreachable(f"{self.endpoint.url} sent an empty answer")
        if not body.lstrip().startswith(b"{"):
            raise not_a_model_server(self.endpoint.url)
        return reader.read_response(self._decode(body))

    def _decode(self, data: bytes) -> dict[str, Any]:
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            try:
                chunk = orjson.loads(data.decode("utf-8", "replace"))
            except orjson.JSONDecodeError:
                raise ServerOverloaded(f"{self.endpoint.url} sent something that is not JSON") from error
        if not isinstance(chunk, dict):
            raise ServerOverloaded(f"{self.endpoint.url} sent something that is not a JSON object")
        chunk = cast("dict[str, Any]", chunk)
        # Some servers report a failure inside a 200: an error object instead of choices.
        if not chunk.get("choices") and (found := error_of(chunk)):
            raise classify(*found, status=status_of(found[1]), url=self.endpoint.url, model=self.endpoint.model)
        return chunk


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
