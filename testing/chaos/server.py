"""The server of the fault table: a good conversation, but for the answers of one row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from qianda.testing.completions import DONE, Completion
from qianda.testing.http_server import Response
from qianda.testing.script import Call, Turn
from qianda.testing.vllm_server import VLLMServer

CITY = "杭州"
REPORT = "23 °C"
SAID = f"It is {REPORT} in {CITY}, and sunny."
RIGHT = {
    "call": Turn(reasoning="I need the weather.", calls=[Call("weather", {"city": CITY})]),
    "text": Turn(SAID),
}
_CREATED = 1_795_321_339

Shape = Literal["json", "sse"]
Edit = Callable[[list[bytes]], list[bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it goes over the wire.

    Args:
        turn: what the model says; None for the right thing.
        deltas: the deltas of the stream in place of a turn; a document has the calls of all of them.
        edit: makes what is written, piece by piece, of the events of a stream or of the one body of a document.
        status: the HTTP status.
        headers: more headers, or others.
        then: what happens behind it.
    """

    turn: Turn | None = None
    deltas: Sequence[Mapping[str, Any]] = ()
    edit: Edit = list
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    then: Literal["end", "cut", "hang"] = "end"

    def pieces(self, right: Turn, number: int, *, streaming: bool) -> list[bytes]:
        """What is written.

        Args:
            right: the right thing to say.
            number: of the completion.
            streaming: a stream was asked for.
        """
        completion = Completion(self.turn or right, "qwen3-8b", number, _CREATED, 100)
        if not streaming:
            body = completion.json()
            if self.deltas:
                calls = [call for delta in self.deltas for call in delta["tool_calls"]]
                choice = {"index": 0, "message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "stop"}
                body["choices"] = [choice]
            return self.edit([orjson.dumps(body)])
        if not self.deltas:
            return self.edit(list(completion.events(with_usage=True)))
        ends: list[tuple[Mapping[str, Any], str | None]] = [
            *((delta, None) for delta in self.deltas),
            ({}, "tool_calls"),
        ]
        choices = ({"index": 0, "delta": delta, "finish_reason": finish} for delta, finish in ends)
        head = {"id": completion.id, "object": "chat.completion.chunk", "created": _CREATED}
        return self.edit([*(event({**head, "choices": [choice]}) for choice in choices), DONE])


@dataclass(frozen=True, slots=True)
class Row:
    """A misbehaviour and what is expected of an agent that meets it.

    Args:
        name: short, unique.
        does: what the server does.
        answers: to the first requests, in order; after them it behaves.
        at: what they stand in the place of: the call or the closing text.
        expected: "recovers", or the name of the error's class.
        shapes: where the row makes sense.
        forever: the last answer comes again and again.
        said: the right answer.
        cities: that the tool ``weather`` is called with.
        patience: the agent's ``request_timeout`` in seconds.
    """

    name: str
    does: str
    answers: Sequence[Answer]
    at: Literal["call", "text"] = "text"
    expected: str = "recovers"
    shapes: Sequence[Shape] = ("json", "sse")
    forever: bool = False
    said: str = SAID
    cities: Sequence[str] = (CITY,)
    patience: float | None = None


def event(value: Any) -> bytes:
    """A server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"


class ChaosServer(VLLMServer):
    """Calls the tool ``weather``, if there is one, and then tells the weather; its row goes wrong.

    Args:
        row: a row, or the name of one of ``ROWS``.
        port: the port, or 0 for any free one.

    Raises:
        ValueError: there is no row of that name.
    """

    def __init__(self, row: Row | str, *, port: int = 0) -> None:
        super().__init__(any_model=True, port=port)
        if isinstance(row, str):
            from qianda.testing.chaos.rows import ROWS

            found = next((each for each in ROWS if each.name == row), None)
            if found is None:
                raise ValueError(f"There is no row {row!r}; there are: {', '.join(each.name for each in ROWS)}")
            row = found
        self.row = row
        self._given = 0

    async def complete(self, body: dict[str, Any], response: Response, /) -> None:
        """Answer as the row says, or well."""
        told = any(REPORT in str(message.get("content")) for message in body["messages"] if message["role"] == "tool")
        knows = any(tool["function"]["name"] == "weather" for tool in body.get("tools") or ())
        at = "call" if knows and not told else "text"
        answer = Answer()
        if at == self.row.at and (self._given < len(self.row.answers) or self.row.forever):
            answer = self.row.answers[min(self._given, len(self.row.answers) - 1)]
            self._given += 1
        streaming = bool(body.get("stream"))
        kind = "text/event-stream; charset=utf-8" if streaming and answer.status == 200 else "application/json"
        headers = {"content-type": kind, **answer.headers}
        pieces = answer.pieces(RIGHT[at], len(self.requests), streaming=streaming)
        if pieces or answer.then == "end":
            await response.start(answer.status, headers)
        for piece in pieces:
            await response.write(piece)
        if answer.then == "end":
            await response.end()
        elif answer.then == "cut":
            response.cut()
        else:
            await asyncio.Event().wait()
