"""Asking a model: one request, its retries, and the pieces of the reply as they arrive."""

from __future__ import annotations

import random
from asyncio import sleep
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import orjson

from qianda.models.errors import ServerError, ServerOverloaded, ServerUnreachable
from qianda.models.failures import classify, error_of, explain_refusal, status_of, worth_another_try
from qianda.models.family import Sampling, find_family
from qianda.models.http import is_connect_error, patience, send, sse_data
from qianda.models.messages import Message, ToolSchema
from qianda.models.reader import ReplyReader
from qianda.models.reply import FinishPiece, Piece
from qianda.models.resolve import Endpoint, bearer
from qianda.models.servers import not_a_model_server
from qianda.models.wire import MessageEncoder, sampling_body, thinking_body, tool_body

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
        thinking: True, False, or None for the model's default.
        sampling: fields that are set override the family's preset.
        streaming: ask for server-sent events; else for one JSON document.
        extra_body: more request fields, which win over ours.
        seconds: silence after which a request counts as hung, None for 300, or what the HTTP client was made with.

    Raises:
        ConfigurationError: the model cannot think, or cannot do without, against ``thinking``.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        http: AsyncClient,
        *,
        thinking: bool | None = None,
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
        self._thinks = self._family.thinks(thinking)
        preset = self._family.plain if self._thinks is False else self._family.reasoning
        fields = sampling_body(preset, endpoint.kind) | sampling_body(sampling or Sampling(), endpoint.kind)
        if thinking is not None and self._family.thinking in ("on", "off", "unknown"):
            fields |= thinking_body(thinking, endpoint.kind)
        if streaming:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        self._fields = fields | (extra_body or {})

    def encoder(self) -> MessageEncoder:
        """The serialiser for one conversation."""
        return MessageEncoder(self.endpoint.kind, preserve=self._family.preserve)

    async def ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSchema],
        encoder: MessageEncoder,
        *,
        fields: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[list[Piece] | Retry]:
        """Ask for one reply.

        Args:
            messages: the whole conversation.
            tools: what the model may call.
            encoder: this conversation's serialiser.
            fields: request fields of this one request, which win over all others; an object in them is merged into the
                one that is there, None takes a field out.

        Yields:
            The pieces of the reply, in one list per block that the network gave; or a ``Retry``.

        Raises:
            ServerError: the server refused, or failed more often than we try.
            ConfigurationError: an image of the user's that the server or the model does not take.
        """
        every: dict[str, Any] = {"model": self.endpoint.model, **self._fields}
        if tools:
            every["tools"] = [tool_body(schema) for schema in tools]
        body = encoder.request(messages, orjson.dumps(_override(every, fields or {})))
        for attempt in range(1, ATTEMPTS + 1):
            given = False
            try:
                async with aclosing(self._once(body, tools, last=attempt == ATTEMPTS)) as batches:
                    async for pieces in batches:
                        given = True
                        yield pieces
            except ServerError as error:
                hopeless = is_connect_error(error.__cause__) and not self._reached
                if hopeless or attempt == ATTEMPTS or not worth_another_try(error):
                    raise
                wait = _wait(attempt, error)
                yield Retry(error, attempt + 1, wait, discard=given)
                await sleep(wait)
            else:
                return

    async def _once(self, body: bytes, tools: Sequence[ToolSchema], *, last: bool) -> AsyncGenerator[list[Piece]]:
        url = f"{self.endpoint.url}/chat/completions"
        thinks = self._thinks is not False
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
