"""A model server that costs its clients nothing: precomputed answers, in a process of its own.

``python bench/server.py`` prints its address and serves until its standard input is closed. The address has a path
for each conversation: ``/turns/N/v1`` makes N tool calls and then answers; ``/tokens/N/v1`` answers with N tokens;
``/argument/N/v1`` calls a tool with a text of N characters, 1 KB at a time; ``/hang/NAME/v1`` never answers, and
``/hang/NAME/v1/waiting`` says how many wait there.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections import Counter
from functools import cache

import orjson

MODEL = "qwen3-8b"
# As many events as a busy server hands to the network at once; each is an HTTP chunk of its own, as servers send them.
EVENTS_PER_WRITE = 32
CALL_ARGUMENTS = ['{"', "first", '":', " ", "17", ", ", '"', "second", '":', " ", "25", "}"]
ANSWER = ["The", " sum", " is", " forty", "-two", "."]
waiting: Counter[str] = Counter()
USAGE = {"prompt_tokens": 900, "completion_tokens": 30, "total_tokens": 930}


def event(delta: dict[str, object], finish: str | None = None) -> bytes:
    """One chunk as an HTTP chunk, with the fields that vLLM sends."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": None}
    return framed({"choices": [choice]})


def framed(fields: dict[str, object]) -> bytes:
    """An SSE event as an HTTP chunk."""
    head = {"id": "chatcmpl-8aa457053d2d19ed", "object": "chat.completion.chunk", "created": 1795321339, "model": MODEL}
    return chunk(b"data: " + orjson.dumps(head | fields) + b"\n\n")


def chunk(data: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(deltas: list[dict[str, object]], finish: str) -> list[bytes]:
    """A whole streamed answer, in the pieces that are written at once."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
    events = [event({"role": "assistant", "content": ""}), *map(event, deltas), event({}, finish)]
    events += [framed({"choices": [], "usage": USAGE}), chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"]
    groups = range(0, len(events), EVENTS_PER_WRITE)
    return [head, *(b"".join(events[start : start + EVENTS_PER_WRITE]) for start in groups)]


def document(value: object, status: str = "200 OK") -> list[bytes]:
    """A whole JSON answer."""
    body = orjson.dumps(value)
    return [
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    ]


def completion(message: dict[str, object], finish: str) -> list[bytes]:
    """A JSON completion."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-8aa457053d2d19ed", "object": "chat.completion", "created": 1795321339, "model": MODEL}
    return document({**head, "choices": [choice], "usage": USAGE})


@cache
def call(number: int, *, streamed: bool) -> list[bytes]:
    """The answer that calls the tool ``add``."""
    function: dict[str, object] = {"name": "add"}
    # Never the same call twice: a model that goes in circles is stopped.
    arguments = [str(number) if piece == "17" else piece for piece in CALL_ARGUMENTS]
    head: dict[str, object] = {"id": f"chatcmpl-tool-{number:016x}", "type": "function"}
    if not streamed:
        calls = [{**head, "function": {**function, "arguments": "".join(arguments)}}]
        return completion({"content": None, "reasoning": None, "tool_calls": calls}, "tool_calls")
    pieces: list[dict[str, object]] = [{**head, "index": 0, "function": function}]
    pieces.extend({"index": 0, "function": {"arguments": piece}} for piece in arguments)
    return stream([{"content": None, "tool_calls": [piece]} for piece in pieces], "tool_calls")


@cache
def big_call(size: int) -> list[bytes]:
    """The answer that calls the tool ``keep``, streamed in pieces of 1 KB."""
    head: dict[str, object] = {"id": f"chatcmpl-tool-{size:016x}", "type": "function", "function": {"name": "keep"}}
    arguments = orjson.dumps({"text": "x" * size}).decode()
    pieces: list[dict[str, object]] = [{"index": 0, **head}]
    pieces.extend(
        {"index": 0, "function": {"arguments": arguments[at : at + 1024]}} for at in range(0, len(arguments), 1024)
    )
    return stream([{"content": None, "tool_calls": [piece]} for piece in pieces], "tool_calls")


@cache
def text(tokens: int, *, streamed: bool) -> list[bytes]:
    """The answer in words."""
    words = ANSWER if tokens == 0 else [f" word{number % 1000}" for number in range(tokens)]
    if not streamed:
        return completion({"content": "".join(words), "reasoning": None}, "stop")
    return stream([{"content": word} for word in words], "stop")


def answer(path: str, body: bytes) -> list[bytes]:
    """What is written in answer to one request."""
    scenario, _, route = path.strip("/").partition("/v1/")
    if route == "models":
        return document({"object": "list", "data": [{"id": MODEL, "owned_by": "vllm", "max_model_len": 1 << 20}]})
    if route == "waiting":
        return document(waiting[scenario])
    if route != "chat/completions":
        return document({"detail": "Not Found"}, "404 Not Found")
    request = orjson.loads(body)
    streamed = bool(request.get("stream"))
    kind, _, count = scenario.partition("/")
    if kind == "hang":
        waiting[scenario] += 1
        return []
    if kind == "tokens":
        return text(int(count), streamed=streamed)
    made = sum(message["role"] == "tool" for message in request["messages"])
    if kind == "argument":
        return text(0, streamed=streamed) if made else big_call(int(count))
    return call(made, streamed=streamed) if made < int(count) else text(0, streamed=streamed)


class Connection(asyncio.Protocol):
    """One connection; its requests come with ``content-length``."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._free = asyncio.Event()
        self._free.set()
        self._writing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._free.clear()

    def resume_writing(self) -> None:
        """The client caught up."""
        self._free.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        """Stop what is being written."""
        if self._writing is not None:
            self._writing.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        start, *lines = bytes(self._received[:end]).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        whole = end + 4 + int(headers.get("content-length", "0"))
        if len(self._received) < whole:
            return
        body = bytes(self._received[end + 4 : whole])
        del self._received[:whole]
        self._writing = asyncio.ensure_future(self._write(answer(start.split(" ")[1], body)))

    async def _write(self, pieces: list[bytes]) -> None:
        assert self._transport is not None
        for piece in pieces:
            await self._free.wait()
            self._transport.write(piece)


async def main() -> None:
    """Serve until standard input is closed."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], min(4096, limits[1])), limits[1]))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
