"""A model server for measuring the chat: it streams what the prompt asks for at a scheduled rate, and keeps count.

``python bench/tui_server.py`` prints its address and serves until its standard input is closed. The last prompt says
what comes: ``stream LINES TOKENS RATE`` a Markdown document (rate 0: as fast as it is taken), ``hang`` nothing,
``calls N`` so many tool calls and then an answer, anything else one sentence. ``/report`` gives the characters of each
request and when the last token left, on the system's monotonic clock.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import orjson
from server import MODEL, USAGE, chunk, event, framed

LAST = "THE-LAST-LINE"
ANSWER = ["Hel", "lo", "!"]
WINDOW = 1 << 20
ASKED = b'"role":"user","content":"'


def document(lines: int, tokens: int) -> list[str]:
    """A long answer: headings, paragraphs, lists, code and tables, cut into pieces of about one token each."""
    written: list[str] = []
    section = 0
    while len(written) < lines - 1:
        section += 1
        written += [f"## Section {section}", ""]
        written += ["A paragraph with **bold words**, `code` and a [link](https://x.org).", ""]
        written += [f"- item {n} of the list, with *emphasis* 和中文" for n in range(6)] + [""]
        written += [f"{n}. step number {n}" for n in range(1, 5)] + [""]
        for n in range(4):
            written += [f"def f{n}(x: int) -> int:", f"    return x * {n}  # times"]
        written[-8:] = ["```python", *written[-8:], "```", ""]
        written += ["| name | value |", "|---|---|", *(f"| row {n} | {n * n} |" for n in range(5)), ""]
    text = "\n".join([*written[: lines - 2], "", LAST])
    cuts = [round(n * len(text) / tokens) for n in range(tokens + 1)]
    return [text[a:b] for a, b in itertools.pairwise(cuts)]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    requests: ClassVar[list[int]] = []
    sent: ClassVar[float] = 0.0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Nothing: standard error is the bench's."""

    def handle(self) -> None:
        """Until the chat closes the connection, in the middle of an answer where it is left."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """The models, or the report."""
        if self.path == "/report":
            self._json({"requests": Handler.requests, "sent": Handler.sent})
        elif self.path.endswith("/models"):
            self._json({"object": "list", "data": [{"id": MODEL, "owned_by": "vllm", "max_model_len": WINDOW}]})
        else:
            self._json({"detail": "Not Found"}, 404)

    def do_POST(self) -> None:
        """A completion."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if not self.path.endswith("/chat/completions"):
            self._json({"detail": "Not Found"}, 404)
            return
        Handler.requests.append(len(body.decode()))
        # Found without reading all of a long conversation.
        latest = body[body.rfind(ASKED) + len(ASKED) :]
        asked = latest[: latest.find(b'"')].decode()
        kind, *numbers = asked.split()
        if kind == "hang":
            threading.Event().wait()
        elif kind == "stream":
            lines, tokens, rate = map(int, numbers)
            self._stream([{"content": token} for token in document(lines, tokens)], rate)
        elif kind == "calls" and (made := latest.count(b'"role":"tool"')) < int(numbers[0]):
            function = {"name": "read_file", "arguments": orjson.dumps({"path": f"note-{made}.txt"}).decode()}
            call = {"index": 0, "id": f"call-{made:012}", "type": "function", "function": function}
            self._stream([{"content": None, "tool_calls": [call]}], 0, "tool_calls")
        else:
            self._stream([{"content": word} for word in (*ANSWER, f" {asked} made" if kind == "calls" else "")], 0)

    def _json(self, value: Any, status: int = 200) -> None:
        body = orjson.dumps(value)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, deltas: list[dict[str, Any]], rate: int, finish: str = "stop") -> None:
        """Each token in an HTTP chunk of its own, at its scheduled time; those that are due go out together."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        events = [event(delta) for delta in deltas]
        self.wfile.write(event({"role": "assistant", "content": ""}))
        begun = time.monotonic()
        index = 0
        while index < len(events):
            due = len(events) if not rate else min(int((time.monotonic() - begun) * rate) + 1, len(events))
            if due == index:
                time.sleep(max(begun + index / rate - time.monotonic(), 0.0))
                continue
            self.wfile.write(b"".join(events[index:due]))
            index = due
        Handler.sent = time.monotonic()
        self.wfile.write(event({}, finish) + framed({"choices": [], "usage": USAGE}))
        self.wfile.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def main() -> None:
    """Serve until standard input is closed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
