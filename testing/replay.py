"""The replay server: answers with recorded responses, byte for byte."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qianda.testing.completions import error_body
from qianda.testing.http_server import HOP_BY_HOP, Response
from qianda.testing.vllm_server import VLLMServer

_MODEL = re.compile(rb'"model":\s*"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded HTTP response.

    Args:
        status: HTTP status.
        headers: without those that belong to the connection (framing, encoding).
        body: decoded: without transfer and content encoding.
        streamed: it came with ``transfer-encoding: chunked``.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    streamed: bool

    @classmethod
    def read(cls, path: str | Path) -> Recording:
        """Read a ``*.resp.http`` file: status line, headers, an empty line, the decoded body.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not a recorded response.
        """
        content = Path(path).read_bytes()
        parted = re.split(rb"\r?\n\r?\n", content, maxsplit=1)
        start, *lines = parted[0].decode("latin-1").splitlines() or [""]
        words = start.split(" ")
        if len(parted) != 2 or not words[0].startswith("HTTP/") or len(words) < 2 or not words[1].isdigit():
            raise ValueError(f"{path} is not a recorded HTTP response: it must begin with a status line and headers")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        streamed = headers.get("transfer-encoding", "").lower() == "chunked"
        kept = {name: value for name, value in headers.items() if name not in HOP_BY_HOP}
        return cls(int(words[1]), kept, parted[1], streamed)

    def pieces(self, size: int | None) -> Iterator[bytes]:
        """The body in pieces of ``size`` bytes; with None, one SSE event each."""
        if size is None:
            yield from re.findall(rb"(?s).+?(?:\n\n|\Z)", self.body)
        else:
            for start in range(0, len(self.body), size):
                yield self.body[start : start + size]


class ReplayServer(VLLMServer):
    """Answers the n-th chat completion request with the n-th recording.

    Status, headers and body are the recorded ones; streams are framed anew. ``/v1/models`` names the model of the
    first recording, requests may name any. A request past the last recording gets a status 500 that says so.

    Args:
        recordings: paths of ``*.resp.http`` files, in order.
        piece: bytes per chunk of a stream; None for one SSE event per chunk, as servers send them.
        api_key: the key that requests must bring; None for no key.
        port: the port, or 0 for any free one.
    """

    def __init__(
        self, *recordings: str | Path, piece: int | None = None, api_key: str | None = None, port: int = 0
    ) -> None:
        if piece is not None and piece < 1:
            raise ValueError(f"piece is the number of bytes per chunk, at least 1, not {piece}")
        read = [Recording.read(path) for path in recordings]
        named = next((found for each in read if (found := _MODEL.search(each.body))), None)
        model = named[1].decode() if named else "qwen3-8b"
        super().__init__(model=model, any_model=True, api_key=api_key, port=port)
        self._piece = piece
        self._recordings = deque(read)

    async def complete(self, _body: dict[str, Any], response: Response, /) -> None:
        """Answer with the next recording."""
        if not self._recordings:
            message = f"The recordings of this ReplayServer ran out: this is request {len(self.requests)}"
            await response.send_json(500, error_body(500, message), {"x-should-retry": "false"})
            return
        recording = self._recordings.popleft()
        if not recording.streamed:
            await response.send(recording.status, recording.body, recording.headers)
            return
        await response.start(recording.status, recording.headers)
        for piece in recording.pieces(self._piece):
            await response.write(piece)
        await response.end()
