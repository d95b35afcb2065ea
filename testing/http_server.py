"""A small HTTP/1.1 server on the loopback interface: what the servers of this package stand on."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self

import orjson

_LARGEST_HEAD = 1 << 20
# What belongs to one connection and not to the message: the server frames its answers itself.
HOP_BY_HOP = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})


_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def phrase(status: int) -> str:
    """The reason phrase of an HTTP status, or "Unknown" for one that has none."""
    return _PHRASES.get(status, "Unknown")


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived.

    Args:
        method: upper case.
        path: without the query.
        headers: names in lower case.
        body: after removal of the transfer encoding.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON value.

        Raises:
            ValueError: the body is not JSON.
        """
        return orjson.loads(self.body)


class Response:
    """Writes one answer: ``send`` for a whole one, or ``start``, some ``write`` and ``end`` for a stream."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.started = False
        self.closed = False

    async def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer with its ``content-length``."""
        self._head(status, {**headers, "content-length": str(len(body))})
        self._writer.write(body)
        await self._writer.drain()

    async def send_json(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON value."""
        await self.send(status, orjson.dumps(value), {"content-type": "application/json", **(headers or {})})

    async def send_part(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Announce the whole body and send its first half."""
        self._head(status, {**headers, "content-length": str(len(body))})
        self._writer.write(body[: len(body) // 2])
        await self._writer.drain()

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin a stream with ``transfer-encoding: chunked``."""
        self._head(status, {**headers, "transfer-encoding": "chunked"})
        await self._writer.drain()

    async def write(self, data: bytes) -> None:
        """Send one chunk of the stream; the client gets the chance to read it before the next one."""
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self._writer.drain()
        await asyncio.sleep(0)

    async def end(self) -> None:
        """End the stream."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def cut(self) -> None:
        """Close the connection here, whatever was promised."""
        self.closed = True
        self._writer.close()

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        lines = [
            f"HTTP/1.1 {status} {phrase(status)}",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        self._writer.write("\r\n".join(lines).encode("latin-1"))


class _Reader(asyncio.StreamReader):
    """Knows at once when the other side went away, also while nobody reads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_LARGEST_HEAD, loop=loop)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, or None when the client has no more.

    Raises:
        ValueError: what came is not HTTP.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    start, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _version = start.split(" ")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method.upper(), target.partition("?")[0], headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    chunks: list[bytes] = []
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        chunks.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass
    return b"".join(chunks)


class LoopbackServer(ABC):
    """An asynchronous context manager that listens on 127.0.0.1 while it is open.

    Args:
        port: the port, or 0 for any free one.
    """

    def __init__(self, *, port: int = 0) -> None:
        self.received: list[Request] = []
        """Every request in the order of arrival, whatever its path."""
        self.disconnects = 0
        """How often a client went away before it had its whole answer."""
        self._port = port
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._changed = asyncio.Event()
        self._fault: BaseException | None = None

    @abstractmethod
    async def answer(self, request: Request, response: Response) -> None:
        """Answer one request; cancelled when the client goes away."""

    @property
    def origin(self) -> str:
        """``http://127.0.0.1:PORT``.

        Raises:
            RuntimeError: the server is not open.
        """
        if self._server is None:
            raise RuntimeError(f"{type(self).__name__} is not open: use it as `async with {type(self).__name__}(…)`")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def wait_disconnects(self, count: int = 1) -> None:
        """Wait until ``count`` clients went away before they had their whole answer."""
        while self.disconnects < count:
            await self._next_change()

    async def wait_received(self, count: int = 1) -> None:
        """Wait until ``count`` requests arrived, whatever their path."""
        while len(self.received) < count:
            await self._next_change()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def connect() -> asyncio.StreamReaderProtocol:
            reader = _Reader(loop)

            def begin(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = loop.create_task(self._converse(reader, writer))
                self._connections[task] = writer
                task.add_done_callback(self._connections.pop)

            return asyncio.StreamReaderProtocol(reader, begin, loop)

        self._server = await loop.create_server(connect, "127.0.0.1", self._port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        if self._server is not None:
            self._server.close()
            await asyncio.sleep(0)  # a connection that was just accepted gets its task
            connections = dict(self._connections)
            for connection, writer in connections.items():
                connection.cancel()
                writer.close()  # a task that is cancelled before its first step closes nothing
            await asyncio.gather(*connections, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None
        if self._fault is not None and kind is None:
            raise self._fault

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _converse(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        try:
            while (request := await _read_request(reader)) is not None:
                self.received.append(request)
                self._changed.set()
                response = Response(writer)
                await self._answer_or_leave(request, response, reader.gone)
                if response.closed or request.headers.get("connection", "").lower() == "close":
                    break
        except (ValueError, asyncio.LimitOverrunError):
            await Response(writer).send(400, b"Invalid HTTP request received.", {"content-type": "text/plain"})
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer_or_leave(self, request: Request, response: Response, gone: asyncio.Event) -> None:
        """Answer until the client goes away."""
        answering = asyncio.create_task(self._answer(request, response))
        leaving = asyncio.create_task(gone.wait())
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            left = not answering.done()
        finally:
            answering.cancel()
            leaving.cancel()
            outcome, _ = await asyncio.gather(answering, leaving, return_exceptions=True)
        if left or isinstance(outcome, ConnectionError):
            response.closed = True
            self.disconnects += 1
            self._changed.set()

    async def _answer(self, request: Request, response: Response) -> None:
        """Answer; a fault of the test's own code becomes a 500 and is raised when the server closes."""
        try:
            await self.answer(request, response)
        except ConnectionError:
            raise
        except Exception as error:
            self._fault = self._fault or error
            if response.started:
                response.cut()
            else:
                message = f"The answer of this {type(self).__name__} failed: {type(error).__name__}: {error}"
                await response.send_json(500, {"error": {"message": message, "type": "TestFault", "code": 500}})
