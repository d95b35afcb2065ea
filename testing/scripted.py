"""The scripted server: a vLLM on loopback whose model says what the test wants."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from typing import Any

import orjson

from qianda.testing.completions import Completion, TextCompletion, count_prompt, error_body
from qianda.testing.http_server import Response
from qianda.testing.script import Fault, Says, Turn, TurnFunction, as_turn, echo
from qianda.testing.vllm_server import VLLMServer

_STREAM_HEADERS = {"content-type": "text/event-stream; charset=utf-8"}


class ScriptedServer(VLLMServer):
    """A real HTTP server on 127.0.0.1 that answers chat completions with scripted turns, one per request.

    Use it as ``async with ScriptedServer(Turn("Hello")) as server`` and connect to ``server.url``; in a test that is
    not asynchronous, as ``with serving(ScriptedServer(…)) as server``. A request past the end of the script gets a
    status 500 that says so. An exception in a turn function is answered with a 500 and raised again when the server
    closes.

    Args:
        turns: what the model says, in order: turns, faults, strings (the text of a turn), or functions that make one
            of these from the decoded request body.
        default: what answers when the script ran out.
        model: the one model that is served.
        api_key: the key that requests must bring; None for no key.
        window: the context window in tokens (four bytes of JSON count as one); None for no limit.
        port: the port, or 0 for any free one.
    """

    def __init__(
        self,
        *turns: Says | TurnFunction,
        default: Says | TurnFunction | None = None,
        model: str = "qwen3-8b",
        api_key: str | None = None,
        window: int | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(model=model, api_key=api_key, window=window, port=port)
        self._script = deque(turns)
        self._default = default
        self._length = len(turns)
        self._completions = 0

    @property
    def remaining(self) -> int:
        """Turns that were not asked for yet."""
        return len(self._script)

    def add(self, *turns: Says | TurnFunction) -> None:
        """Append turns to the script."""
        self._script.extend(turns)
        self._length += len(turns)

    async def complete(self, body: dict[str, Any], response: Response, /) -> None:
        """Answer with the next turn of the script."""
        item = self._script.popleft() if self._script else self._default
        if item is None:
            message = (
                f"The script of this ScriptedServer ran out: it has {self._length} turn(s) and this is request "
                f"{len(self.requests)}. Add the missing Turn, or give default="
            )
            await response.send_json(500, error_body(500, message), {"x-should-retry": "false"})
            return
        if callable(item):
            made = item(body)
            item = await made if inspect.isawaitable(made) else made
        turn = as_turn(item)
        if turn.fault is not None and turn.fault.kind == "status":
            await _send_status(turn.fault, response)
            return
        self._completions += 1
        completion = self.completion(turn, body)
        if body.get("stream"):
            options: dict[str, Any] = body.get("stream_options") or {}
            await _stream(completion, response, with_usage=bool(options.get("include_usage")))
        else:
            await _send_json(completion, response)

    def completion(self, turn: Turn, body: dict[str, Any]) -> Completion:
        """How a turn goes over the wire."""
        model = str(body.get("model") or self.model)
        kind = TextCompletion if "prompt" in body else Completion
        return kind(turn, model, self._completions, int(time.time()), count_prompt(body))


class EchoServer(ScriptedServer):
    """A scripted server that answers every request with the text of its last user message.

    Args:
        model: the one model that is served.
        api_key: the key that requests must bring; None for no key.
        window: the context window in tokens; None for no limit.
        port: the port, or 0 for any free one.
    """

    def __init__(
        self, *, model: str = "qwen3-8b", api_key: str | None = None, window: int | None = None, port: int = 0
    ) -> None:
        super().__init__(default=echo, model=model, api_key=api_key, window=window, port=port)


async def _send_status(fault: Fault, response: Response) -> None:
    match fault.body:
        case None:
            body, kind = orjson.dumps(error_body(fault.code, f"Scripted status {fault.code}")), "application/json"
        case bytes():
            body, kind = fault.body, "application/octet-stream"
        case str():
            body, kind = fault.body.encode(), "text/plain; charset=utf-8"
        case _:
            body, kind = orjson.dumps(fault.body), "application/json"
    await response.send(fault.code, body, {"content-type": kind, **fault.headers})


async def _send_json(completion: Completion, response: Response) -> None:
    turn = completion.turn
    if turn.delay:
        await asyncio.sleep(turn.delay)
    body = orjson.dumps(completion.json())
    if turn.fault is None:
        await response.send(200, body, {"content-type": "application/json"})
    elif turn.fault.kind == "error_in_stream":
        await response.send_json(500, _stream_error(turn.fault))
    else:
        if turn.fault.after:
            await response.send_part(200, body, {"content-type": "application/json"})
        await _stop(turn.fault, response)


async def _stream(completion: Completion, response: Response, *, with_usage: bool) -> None:
    turn = completion.turn
    fault = turn.fault
    if fault is not None and fault.after == 0 and fault.kind != "error_in_stream":
        await _stop(fault, response)
        return
    await response.start(200, _STREAM_HEADERS)
    events = completion.events(with_usage=with_usage)
    if fault is not None:
        # The end is not sent: a fault that comes late comes in its place.
        events = iter(list(events)[:-1][: fault.after])
    for event in events:
        if turn.delay:
            await asyncio.sleep(turn.delay)
        await response.write(event)
    if fault is None:
        await response.end()
        return
    if fault.kind == "error_in_stream":
        await response.write(b"data: " + orjson.dumps(_stream_error(fault)) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.end()
        return
    await _stop(fault, response)


def _stream_error(fault: Fault) -> Any:
    return error_body(fault.code, "Scripted error in the stream") if fault.body is None else fault.body


async def _stop(fault: Fault, response: Response) -> None:
    """Cut the connection, or say nothing more."""
    if fault.kind == "hang":
        await asyncio.Event().wait()
    response.cut()
