"""What a scripted server says: turns, the calls in them, and faults."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from qianda.models.messages import Usage
from qianda.models.reply import Finish


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the scripted model makes.

    Args:
        name: name of the tool.
        arguments: the arguments; a string is sent verbatim, also when it is not JSON.
        id: the call's id; "" for one that the server makes up.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict[str, Any])
    id: str = ""

    def arguments_text(self) -> str:
        """The arguments as the model writes them."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(self.arguments, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong; made by one of the class methods.

    Alone in a script it stands for a whole turn; in ``Turn(fault=…)`` it happens to that turn. ``after`` counts the
    chunks of the stream that are sent before it happens (the first chunk is the one that only says ``assistant``);
    with 0 the client gets no answer at all. Of a JSON answer, ``after`` above 0 sends the first half.
    """

    kind: Literal["status", "drop", "hang", "error_in_stream"]
    code: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    after: int = 0

    @classmethod
    def status(
        cls,
        code: int,
        *,
        retry_after: float | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        """Answer with this HTTP status.

        Args:
            code: the status.
            retry_after: seconds for a ``Retry-After`` header.
            body: a JSON value, or text or bytes to be sent as they are; None for vLLM's error object.
            headers: more headers.
        """
        extra = dict(headers or {})
        if retry_after is not None:
            extra["retry-after"] = f"{retry_after:g}"
        return cls("status", code=code, body=body, headers=extra)

    @classmethod
    def drop(cls, after: int = 0) -> Fault:
        """Cut the connection after so many chunks."""
        return cls("drop", after=after)

    @classmethod
    def hang(cls, after: int = 0) -> Fault:
        """Say nothing more after so many chunks, until the client goes away or the server closes."""
        return cls("hang", after=after)

    @classmethod
    def error_in_stream(cls, body: Any = None, *, after: int = 1) -> Fault:
        """Send an error object as an event of the stream that began with status 200; a JSON answer has status 500.

        Args:
            body: the JSON value; None for vLLM's error object.
            after: chunks that are sent before it.
        """
        return cls("error_in_stream", code=500, body=body, after=after)


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer of the scripted model, framed as vLLM frames it.

    With ``reasoning``, the text begins with an empty line, as a Qwen3 in thinking mode makes it begin.

    Args:
        text: the answer.
        reasoning: what comes as ``reasoning``.
        calls: tool calls, sent as native ``tool_calls``.
        raw: content that is sent verbatim, markup included, in place of ``text`` and ``calls``: for servers that do
            not parse what the model writes.
        finish: ``finish_reason``; None for ``tool_calls`` with calls and ``stop`` without.
        usage: token counts; None to have them counted.
        delay: seconds before each chunk of a stream, or before a JSON answer.
        chunk: tokens per chunk of a stream.
        fault: what happens to this answer on its way.
    """

    text: str = ""
    reasoning: str = ""
    calls: Sequence[Call] = ()
    raw: str | None = None
    finish: Finish | None = None
    usage: Usage | None = None
    delay: float = 0.0
    chunk: int = 1
    fault: Fault | None = None

    def __post_init__(self) -> None:
        if self.raw is not None and (self.text or self.calls):
            raise ValueError("A Turn takes either raw or text and calls, not both")
        if self.chunk < 1:
            raise ValueError(f"Turn.chunk is the number of tokens per chunk, at least 1, not {self.chunk}")

    @property
    def finish_reason(self) -> Finish:
        """The ``finish_reason`` that is sent."""
        return self.finish or ("tool_calls" if self.calls else "stop")


Says: TypeAlias = Turn | Fault | str
"""What one request is answered with; a string stands for ``Turn(text=…)``."""

TurnFunction: TypeAlias = Callable[[dict[str, Any]], Says | Awaitable[Says]]
"""Makes the answer from the decoded request body; may be a coroutine function."""


def as_turn(says: Says) -> Turn:
    """The turn that a script's item stands for."""
    if isinstance(says, str):
        return Turn(says)
    if isinstance(says, Fault):
        return Turn("This answer does not arrive whole.", fault=says)
    return says


def echo(body: dict[str, Any]) -> Turn:
    """A turn function: the text of the last user message."""
    for message in reversed(cast("list[dict[str, Any]]", body.get("messages") or [])):
        if message.get("role") == "user":
            return Turn(_text(message.get("content")))
    return Turn()


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = cast("list[dict[str, Any]]", content)
        return "\n".join(str(part.get("text", "")) for part in parts if part.get("type") == "text")
    return str(content or "")
