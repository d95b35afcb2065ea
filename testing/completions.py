"""Turns as chat completions on the wire: the JSON body and the SSE events, in the shapes of vLLM 0.32.

The shapes, their order and their empty fields are those of recorded traffic (Hermes tool parser, Qwen3 reasoning
parser), so that a client meets here what it meets there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from qianda.models.messages import Usage
from qianda.testing.http_server import phrase
from qianda.testing.script import Turn

FINGERPRINT = "vllm-0.32.0-0ede9f22"
DONE = b"data: [DONE]\n\n"

# Near enough to a real tokenizer: markup is one token, a word takes its space along, digits come one by one.
_TOKEN = re.compile(r"</?(?:think|tool_call|tool_response)>| ?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]{1,3}|\s+")


def tokens(text: str) -> list[str]:
    """Cut a text into what stands for tokens here; joined, they are the text."""
    return _TOKEN.findall(text)


def count_prompt(body: dict[str, Any]) -> int:
    """Tokens of a request's messages and tools, or of its prompt, taken as four bytes of JSON each."""
    return len(orjson.dumps([body.get("messages") or body.get("prompt"), body.get("tools")])) // 4


def error_body(code: int, message: str, *, kind: str = "", param: str | None = None) -> dict[str, Any]:
    """The error object of vLLM.

    Args:
        code: the HTTP status, repeated in the body.
        message: what is wrong.
        kind: ``type`` of the error; "" for the one that goes with the status.
        param: the field of the request that is wrong.
    """
    kind = kind or {400: "BadRequestError", 404: "NotFoundError", 500: "InternalServerError"}.get(code, phrase(code))
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True, slots=True)
class Completion:
    """A turn that answers one request.

    Args:
        turn: what is said.
        model: the model's name as the request gave it.
        number: which completion of this server, from 1; ids are made from it.
        created: seconds since the epoch.
        prompt_tokens: tokens of the request.
    """

    turn: Turn
    model: str
    number: int
    created: int
    prompt_tokens: int

    @property
    def id(self) -> str:
        """The completion's id."""
        return f"chatcmpl-{self.number:016x}"

    def json(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        turn = self.turn
        message: dict[str, Any] = {
            "role": "assistant",
            "content": _content(turn),
            "refusal": None,
            "annotations": None,
            "audio": None,
            "function_call": None,
        }
        if turn.calls:
            message["tool_calls"] = [
                {
                    "id": call.id or self._call_id(index),
                    "type": "function",
                    "function": {"name": call.name, "arguments": call.arguments_text()},
                }
                for index, call in enumerate(turn.calls)
            ]
        message["reasoning"] = _reasoning(turn) or None
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": turn.finish_reason,
            "stop_reason": None,
            "token_ids": None,
            "routed_experts": None,
        }
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [choice],
            "service_tier": None,
            "system_fingerprint": FINGERPRINT,
            "usage": self._usage(streamed=False),
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "prompt_text": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }

    def events(self, *, with_usage: bool) -> Iterator[bytes]:
        """The SSE events of a streamed answer, ``[DONE]`` included.

        Args:
            with_usage: the request asked for ``stream_options.include_usage``.
        """
        first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        yield self._event([first], prompt_token_ids=None, prompt_text=None)
        last = {} if with_usage else {"system_fingerprint": FINGERPRINT}
        deltas = list(self._deltas())
        finish = self.turn.finish_reason
        # A cut answer says so on its last token, a whole one in a chunk of its own.
        cut = deltas.pop() if finish == "length" and deltas else {}
        for delta in deltas:
            yield self._event(
                [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, "token_ids": None}]
            )
        end = {"index": 0, "delta": cut, "logprobs": None, "finish_reason": finish, "stop_reason": None}
        yield self._event([{**end, "token_ids": None}], **last)
        if with_usage:
            yield self._event([], usage=self._usage(streamed=True), system_fingerprint=FINGERPRINT)
        yield DONE

    def _event(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        value = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
            **more,
        }
        return b"data: " + orjson.dumps(value) + b"\n\n"

    def _deltas(self) -> Iterator[dict[str, Any]]:
        turn = self.turn
        for piece in self._pieces(_reasoning(turn)):
            yield {"reasoning": piece}
        if turn.raw is None and turn.reasoning and (turn.text or turn.calls):
            yield {"content": "\n\n"}
        for piece in self._pieces(turn.text if turn.raw is None else turn.raw):
            yield {"content": piece}
        for index, call in enumerate(turn.calls):
            head = {"id": call.id or self._call_id(index), "type": "function", "index": index}
            yield {"content": None, "tool_calls": [{**head, "function": {"name": call.name}}]}
            for piece in self._pieces(call.arguments_text()):
                yield {"content": None, "tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def _pieces(self, text: str) -> Iterator[str]:
        rest = iter(tokens(text))
        while piece := "".join(islice(rest, self.turn.chunk)):
            yield piece

    def _call_id(self, index: int) -> str:
        return f"chatcmpl-tool-{self.number:012x}{index:04x}"

    def _usage(self, *, streamed: bool) -> dict[str, Any]:
        usage = self.turn.usage or self._counted()
        counts: dict[str, Any] = {
            "prompt_tokens": usage.input_tokens,
            "total_tokens": usage.total_tokens,
            "completion_tokens": usage.output_tokens,
        }
        if usage.cached_tokens or not streamed:
            cached = {"cached_tokens": usage.cached_tokens} if usage.cached_tokens else None
            counts["prompt_tokens_details"] = cached
        return {**counts, "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens}}

    def _counted(self) -> Usage:
        turn = self.turn
        calls = sum(len(tokens(call.name)) + len(tokens(call.arguments_text())) for call in turn.calls)
        reasoning = len(tokens(_reasoning(turn)))
        return Usage(
            input_tokens=self.prompt_tokens,
            output_tokens=reasoning + len(tokens(_content(turn) or "")) + calls + 1,
            reasoning_tokens=reasoning,
        )


class TextCompletion(Completion):
    """A turn that answers a raw prompt: what the model writes, its calls in Hermes format."""

    def json(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        return self._body([self._choice(self._written(), self._finish)], usage=self._usage(streamed=False))

    def events(self, *, with_usage: bool) -> Iterator[bytes]:
        """The SSE events of a streamed answer, ``[DONE]`` included."""
        for piece in self._pieces(self._written()):
            yield b"data: " + orjson.dumps(self._body([self._choice(piece, None)])) + b"\n\n"
        yield b"data: " + orjson.dumps(self._body([self._choice("", self._finish)])) + b"\n\n"
        if with_usage:
            yield b"data: " + orjson.dumps(self._body([], usage=self._usage(streamed=True))) + b"\n\n"
        yield DONE

    @property
    def _finish(self) -> str:
        return self.turn.finish or "stop"

    def _body(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        head = {"id": f"cmpl-{self.number:016x}", "object": "text_completion", "created": self.created}
        return {**head, "model": self.model, "choices": choices, **more}

    def _choice(self, text: str, finish: str | None) -> dict[str, Any]:
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish, "stop_reason": None}

    def _written(self) -> str:
        turn = self.turn
        if turn.raw is not None:
            return turn.raw
        thought = f"<think>\n{turn.reasoning}\n</think>\n\n" if turn.reasoning else ""
        calls = "".join(
            f'\n<tool_call>\n{{"name": "{call.name}", "arguments": {call.arguments_text()}}}\n</tool_call>'
            for call in turn.calls
        )
        return thought + (turn.text + calls).lstrip("\n")


def _reasoning(turn: Turn) -> str:
    return f"\n{turn.reasoning}\n" if turn.reasoning else ""


def _content(turn: Turn) -> str | None:
    if turn.raw is not None:
        return turn.raw
    if not turn.text:
        return None
    return f"\n\n{turn.text}" if turn.reasoning else turn.text
