"""The rows of the fault table: what servers do wrong, and what is to become of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import orjson

from qianda.testing.chaos.server import CITY, SAID, Answer, Edit, Row, Shape, event
from qianda.testing.completions import DONE, error_body
from qianda.testing.script import Call, Turn

_ARGUMENTS = f'{{"city": "{CITY}"}}'
_HERMES = f'<tool_call>\n{{"name": "weather", "arguments": {_ARGUMENTS}}}\n</tool_call>'
_XML = f"<tool_call>\n<function=weather>\n<parameter=city>\n{CITY}\n</parameter>\n</function>\n</tool_call>"
_PAGE = b"<!DOCTYPE html><html><body><h1>Welcome to nginx!</h1></body></html>"
_HTML = {"content-type": "text/html"}
_LONG = "word " * 200_000 + "end"
_BIG = "x" * 2_000_000
_SSE: Sequence[Shape] = ("sse",)


def _upto(events: int, pieces: list[bytes]) -> list[bytes]:
    """The first events of a stream, the first half of a document."""
    return pieces[:events] if len(pieces) > 1 else [pieces[0][: len(pieces[0]) // 2]]


def _only(body: bytes) -> Edit:
    return lambda _: [body]


def _replaced(old: bytes, new: bytes) -> Edit:
    return lambda pieces: [piece.replace(old, new) for piece in pieces]


def _without(*words: bytes) -> Edit:
    return lambda pieces: [piece for piece in pieces if not any(word in piece for word in words)]


def _cut_after(size: int, pieces: list[bytes]) -> list[bytes]:
    whole = b"".join(pieces)
    return [whole[at : at + size] for at in range(0, len(whole), size)]


def _in_characters(pieces: list[bytes]) -> list[bytes]:
    """Cut before every byte that goes on with a character."""
    whole = b"".join(pieces)
    cuts = [0, *(at for at, byte in enumerate(whole) if byte & 0xC0 == 0x80), len(whole)]
    return [whole[start:end] for start, end in pairwise(cuts)]


def _failing(error: Mapping[str, Any], pieces: list[bytes]) -> list[bytes]:
    """An error object: as the third event, or in the place of the document."""
    return [*pieces[:3], event(error), DONE] if len(pieces) > 1 else [orjson.dumps(error)]


def _status(code: int, message: str, **headers: str) -> Answer:
    body = orjson.dumps(error_body(code, message))
    return Answer(edit=_only(body), status=code, headers={name.replace("_", "-"): at for name, at in headers.items()})


def _calls(*deltas: Sequence[Mapping[str, Any]]) -> Answer:
    return Answer(deltas=[{"tool_calls": delta} for delta in deltas])


def _call(arguments: Any, *, index: int = 0, name: str | None = "weather", **fields: Any) -> dict[str, Any]:
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"index": index, "type": "function", **fields, "function": function}


def _row_of_call(name: str, does: str, answer: Answer, **options: Any) -> Row:
    return Row(name, does, [answer], at="call", **options)


_BUSY = error_body(503, "Server is overloaded")
_BILL = {"error": {"message": "Access denied, your account is in arrears", "type": "Arrearage", "code": "Arrearage"}}
_LLAMA = {"error": {"code": 500, "message": f"Failed to parse input at pos 0: {_HERMES}", "type": "server_error"}}
_BREAKS = Answer(edit=partial(_upto, 4), then="cut")
_HANGS = Answer(edit=lambda _: [], then="hang")

ROWS: tuple[Row, ...] = (
    # The connection.
    Row("no answer", "closes the connection unanswered", [Answer(edit=lambda _: [], then="cut")]),
    Row("break before the text", "breaks off before any text", [Answer(edit=partial(_upto, 1), then="cut")]),
    Row("break in the text", "breaks off in the middle, twice", [_BREAKS, _BREAKS]),
    Row("break in a call", "breaks off within the call", [Answer(edit=partial(_upto, 9), then="cut")], at="call"),
    Row("breaks for ever", "always breaks off", [_BREAKS], forever=True, expected="ServerUnreachable"),
    Row("hang", "says nothing", [_HANGS], patience=0.3),
    Row("hang in the text", "falls silent", [Answer(edit=partial(_upto, 4), then="hang")], patience=0.3),
    Row("hangs for ever", "never says anything", [_HANGS], forever=True, patience=0.2, expected="ServerUnreachable"),
    Row("one byte at a time", "writes byte by byte", [Answer(edit=partial(_cut_after, 1))]),
    Row("split UTF-8", "cuts inside characters", [Answer(edit=_in_characters)]),
    Row("huge line", "1 MB in one line", [Answer(Turn(_LONG, chunk=1_000_000))], said=_LONG),
    # Statuses.
    Row("429 with Retry-After", "wants to be left alone", [_status(429, "Slow down", retry_after="1")]),
    Row("500 then fine", "fails once", [_status(500, "Internal error")]),
    Row("503 for ever", "is overloaded", [_status(503, "Busy")], forever=True, expected="ServerOverloaded"),
    Row("502 as a page", "a proxy's error page", [Answer(edit=_only(_PAGE), status=502, headers=_HTML)]),
    Row(
        "redirect",
        "sends us elsewhere",
        [Answer(edit=lambda _: [], status=307, headers={"location": "http://127.0.0.1:9/v1"})],
        expected="ServerRefused",
    ),
    Row("wrong key", "401", [_status(401, "Incorrect API key provided")], expected="ServerRefused"),
    Row(
        "billing 429",
        "429 that no waiting cures",
        [_status(429, "Free allocated quota exceeded.")],
        expected="QuotaExceeded",
    ),
    Row(
        "context too long",
        "the prompt does not fit",
        [_status(400, "This model's maximum context length is 4096 tokens.")],
        expected="ContextTooLong",
    ),
    _row_of_call(
        "text in a 500",
        "gives the model's call up as unreadable (llama.cpp)",
        Answer(edit=_only(orjson.dumps(_LLAMA)), status=500),
    ),
    # A 200 that is none.
    Row("error inside a 200", "an error object", [Answer(edit=partial(_failing, _BUSY))]),
    Row("error as text", "an error in one word (Ollama)", [Answer(edit=partial(_failing, {"error": "EOF"}))]),
    Row("bill inside a 200", "an unpaid bill", [Answer(edit=partial(_failing, _BILL))], expected="QuotaExceeded"),
    Row("HTML", "a web page", [Answer(edit=_only(_PAGE), headers=_HTML)], expected="ServerRefused"),
    Row("wrong content type", "calls it text/plain", [Answer(headers={"content-type": "text/plain"})]),
    Row("not JSON", "half a document, well ended", [Answer(edit=_replaced(b'"choices":[', b'"choices":['[:-3]))]),
    Row("empty body", "a 200 with nothing in it", [Answer(edit=lambda _: [])]),
    Row("empty answer", "neither text nor call", [Answer(Turn())]),
    Row("empty for ever", "never an answer", [Answer(Turn())], forever=True, expected="ModelOutputError"),
    Row(
        "invalid UTF-8",
        "a byte that is no text",
        [Answer(edit=_replaced(b"sunny", b"sunny\xff"))],
        said=SAID.replace("sunny", "sunny\ufffd"),
    ),
    # How a stream is written.
    Row(
        "CRLF and comments",
        "\\r\\n, comments, names and numbers of events",
        [
            Answer(
                edit=lambda all_: [
                    b": ping\r\n\r\nevent: message\r\nid: 7\r\n" + e.replace(b"\n", b"\r\n") for e in all_
                ]
            )
        ],
        shapes=_SSE,
    ),
    Row("no empty lines", "events not set apart", [Answer(edit=_replaced(b"\n\n", b"\n"))], shapes=_SSE),
    Row("no [DONE]", "just ends", [Answer(edit=_without(DONE))], shapes=_SSE),
    Row("no finish_reason", "never says why it ends", [Answer(edit=_without(b'finish_reason":"'))], shapes=_SSE),
    Row(
        "no end at all",
        "neither finish_reason nor [DONE], ever",
        [Answer(edit=_without(DONE, b'finish_reason":"'))],
        forever=True,
        shapes=_SSE,
    ),
    Row(
        "error_finish",
        "ends in a throttling text (Model Studio)",
        [
            Answer(
                Turn("Throttling: requests rate limit exceeded"),
                edit=_replaced(b'reason":"stop"', b'reason":"error_finish"'),
            )
        ],
    ),
    # Native calls.
    _row_of_call(
        "replayed chunks",
        "sends the call's chunks twice",
        Answer(edit=lambda all_: [*all_[:-3], *(e for e in all_ if b'"tool_calls":' in e), *all_[-3:]]),
        shapes=_SSE,
    ),
    _row_of_call(
        "shared index",
        "parallel calls under one index",
        _calls([_call(_ARGUMENTS, id="a")], [_call('{"city": "北京"}', id="b")]),
        cities=(CITY, "北京"),
    ),
    _row_of_call(
        "id after name",
        "the id comes late",
        _calls([_call("")], [_call(_ARGUMENTS[:5], name=None, id="a")], [_call(_ARGUMENTS[5:], name=None)]),
        shapes=_SSE,
    ),
    _row_of_call(
        "empty id and name",
        "later deltas repeat them empty (Model Studio)",
        _calls([_call("", id="a")], [_call(_ARGUMENTS[:5], name="", id="")], [_call(_ARGUMENTS[5:], name="", id="")]),
        shapes=_SSE,
    ),
    _row_of_call("arguments as object", "not a string", _calls([_call({"city": CITY}, id="a")])),
    _row_of_call("double-encoded", "a string in a string", _calls([_call(orjson.dumps(_ARGUMENTS).decode(), id="a")])),
    _row_of_call("null arguments", "null for {}", _calls([_call(None, id="a")]), cities=("here",)),
    _row_of_call(
        "trailing comma", "JSON with a comma too many", Answer(Turn(calls=[Call("weather", _ARGUMENTS[:-1] + ",}")]))
    ),
    _row_of_call("cut arguments", "the last brace is missing", Answer(Turn(calls=[Call("weather", _ARGUMENTS[:-1])]))),
    _row_of_call(
        "length in mid-call", "out of tokens", Answer(Turn(calls=[Call("weather", _ARGUMENTS[:-4])], finish="length"))
    ),
    _row_of_call("no tool name", "a call of nothing", Answer(Turn(calls=[Call("", _ARGUMENTS)]))),
    _row_of_call(
        "2 MB argument",
        "in pieces of 1 KB",
        _calls(
            [_call('{"city": "', id="a")],
            *([_call(_BIG[:1000], name=None)] for _ in range(len(_BIG) // 1000)),
            [_call('"}', name=None)],
        ),
        shapes=_SSE,
        cities=(_BIG,),
    ),
    # Calls and thinking in text.
    _row_of_call("raw Hermes call", "leaves it in the content", Answer(Turn(raw=_HERMES))),
    _row_of_call("raw XML call", "leaves it in the content", Answer(Turn(raw=f"Let me look.\n{_XML}"))),
    _row_of_call("call inside thinking", "takes it for thoughts", Answer(Turn(reasoning=f"I look.\n{_HERMES}"))),
    Row("leaking </think>", "thoughts in the content", [Answer(Turn(raw=f"I know.\n</think>\n\n{SAID}"))]),
    Row(
        "<tool_call> in prose",
        "the answer is about the tag",
        [Answer(Turn(raw=f"{SAID} Write <tool_call> around it."))],
        said=f"{SAID} Write <tool_call> around it.",
    ),
    Row("all thinking", "a reply without an answer", [Answer(Turn(reasoning="Hm, sunny."))]),
)
