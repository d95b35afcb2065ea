"""One HTTP request to a model and the pieces of its answer, in whatever form the server gives it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import orjson

from qianda.models.errors import ServerError, ServerOverloaded, ServerUnreachable
from qianda.models.failures import classify, error_of, explain_refusal, status_of, text_in_error
from qianda.models.http import Response, send, sse_data
from qianda.models.ollama import NativeChunks, ndjson
from qianda.models.reader import ReplyReader
from qianda.models.reply import CallPiece, FinishPiece, Piece, TextPiece
from qianda.models.resolve import Endpoint, bearer
from qianda.models.servers import not_a_model_server

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient


class Exchange:
    """Makes the requests of one client.

    Args:
        endpoint: the server and model.
        http: the pooled HTTP client.
        patience: options of each request: how long silence may last.
        url: where requests go.
        native: that is Ollama's own interface, which streams lines of JSON.
    """

    def __init__(
        self, endpoint: Endpoint, http: AsyncClient, patience: dict[str, Any], *, url: str, native: bool
    ) -> None:
        self._endpoint = endpoint
        self._http = http
        self._patience = patience
        self._url = url
        self._native = native
        self._headers = bearer(endpoint.api_key)
        self._parsed: Any = None  # the address as the HTTP package has it: parsing it anew took 50 µs of each request

    async def once(
        self, body: bytes, reader: ReplyReader, *, last: bool, deadline: float
    ) -> AsyncGenerator[list[Piece]]:
        """Make one request.

        Args:
            body: of the request.
            reader: of this reply.
            last: what there is of an answer that breaks off is better than nothing.
            deadline: on the clock of ``time.monotonic``; an answer that still trickles then is given up.

        Yields:
            The pieces of the reply, in one list per block that the network gave.

        Raises:
            ServerError: no answer, or none that can be read.
        """
        sending = send(
            self._http, "POST", self._parsed or self._url, headers=self._headers, content=body, **self._patience
        )
        async with sending as response:
            self._parsed = response.request.url
            if response.status_code != 200:
                yield self._refused(response, await response.aread(), reader)
                return
            blocks = response.aiter_bytes()
            kind = str(response.headers.get("content-type", ""))
            if not self._native and not kind.startswith("text/event-stream"):
                whole = await response.aread()
                if not whole.lstrip().startswith((b"data:", b"event:", b"id:", b": ")):
                    yield self._whole(whole, reader)
                    return
                blocks = _one(whole)  # a stream that calls itself something else
            lines = ndjson(blocks) if self._native else sse_data(blocks)
            async with aclosing(lines), aclosing(self._stream(lines, reader, last=last)) as batches:
                async for pieces in batches:
                    yield pieces
                    if time.monotonic() > deadline:
                        raise ServerUnreachable(
                            f"The answer of {self._endpoint.url} did not come to an end",
                            cure="Bound it by max_tokens, or allow more time",
                        )

    async def _stream(
        self, lines: AsyncIterator[list[bytes]], reader: ReplyReader, *, last: bool
    ) -> AsyncGenerator[list[Piece]]:
        chunks = NativeChunks() if self._native else None
        finished = called = recovered = False
        given: list[Piece] = []  # the latest of what was given
        async for block in lines:
            pieces: list[Piece] = []
            for data in block:
                if data == b"[DONE]":
                    finished = True
                    continue
                chunk = self._decode(data)
                if not chunk.get("choices") and (found := error_of(chunk)):
                    text = None if called else text_in_error(found[0], begun=bool(given))
                    if text is None:
                        raise self._classified(*found)
                    chunk, recovered = _said(text), True
                pieces += reader.feed(chunks.read(chunk) if chunks else chunk)
            if pieces:
                given = pieces
                called = called or any(isinstance(piece, CallPiece) for piece in pieces)
                yield pieces
            if recovered:
                break
        self._check_finish(reader, given)
        if not finished and reader.finish_reason is None:
            if not (last and given):
                raise ServerUnreachable(f"The answer of {self._endpoint.url} broke off in the middle")
            # A server that never says when it is done; what there is may be cut, so no half call is guessed.
            reader.finish_reason = "length"
            yield [FinishPiece("length")]
        if pieces := reader.close():
            yield pieces

    def _refused(self, response: Response, body: bytes, reader: ReplyReader) -> list[Piece]:
        """Raise for a refusal, unless the error carries the model's text."""
        try:
            found = error_of(orjson.loads(body))
        except orjson.JSONDecodeError:
            found = None
        text = text_in_error(found[0], begun=False) if found else None
        if text is not None:
            return [*reader.feed(_said(text)), *reader.close()]
        raise explain_refusal(
            response.status_code,
            body,
            url=self._endpoint.url,
            model=self._endpoint.model,
            retry_after=response.headers.get("retry-after"),
        )

    def _whole(self, body: bytes, reader: ReplyReader) -> list[Piece]:
        if not body.strip():
            raise ServerUnreachable(f"{self._endpoint.url} sent an empty answer")
        if not body.lstrip().startswith(b"{"):
            raise not_a_model_server(self._endpoint.url)
        document = self._decode(body)
        # Some servers report a failure inside a 200: an error object instead of choices.
        if not document.get("choices") and (found := error_of(document)):
            raise self._classified(*found)
        pieces = reader.read_response(document)
        self._check_finish(reader, pieces)
        return pieces

    def _decode(self, data: bytes) -> dict[str, Any]:
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            try:
                chunk = orjson.loads(data.decode("utf-8", "replace"))
            except orjson.JSONDecodeError:
                raise ServerOverloaded(f"{self._endpoint.url} sent something that is not JSON") from error
        if not isinstance(chunk, dict):
            raise ServerOverloaded(f"{self._endpoint.url} sent something that is not a JSON object")
        return cast("dict[str, Any]", chunk)

    def _check_finish(self, reader: ReplyReader, pieces: list[Piece]) -> None:
        """Raise where Model Studio ends a reply by an error: its last text says which."""
        if reader.finish_reason == "error_finish":
            text = "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))
            raise self._classified(text or "the answer ended in an error", "")

    def _classified(self, message: str, code: str) -> ServerError:
        return classify(message, code, status=status_of(code), url=self._endpoint.url, model=self._endpoint.model)


def _said(text: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}


async def _one(body: bytes) -> AsyncGenerator[bytes]:
    yield body
