"""One small request of the doctor, listened to only until it is clear what the server does with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import orjson

from qianda.models.errors import ServerError
from qianda.models.failures import error_of, explain_refusal
from qianda.models.family import Family, find_family
from qianda.models.http import send, sse_data
from qianda.models.messages import ToolSchema
from qianda.models.reader import ReplyReader
from qianda.models.reply import Piece, Reply, merge
from qianda.models.resolve import Endpoint, bearer
from qianda.models.thinking import Thinking, soft_switch, thinking_fields
from qianda.models.wire import tool_body

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient

TOO_SLOW = "not known yet: the server was too slow to tell; qianda doctor --full waits longer"
_ONE_SLOT = ("llamacpp", "embedded", "ollama", "lmstudio", "mlx")
# Refusals of the request as a whole, not of what the probe asks for.
_GENERAL = (401, 403, 404, 408, 429, 503)


def one_slot(endpoint: Endpoint) -> bool:
    """Whether the server usually works on one request at a time, so that a second one only waits."""
    return endpoint.kind.kind in _ONE_SLOT


@dataclass(slots=True)
class Heard:
    """What came back for one request, also where it was cut short.

    Args:
        status: HTTP status, 0 while there is none.
        error: what the server refused, one line, or "".
        failure: the same as our error, or None.
        content: the text as it came.
        reasoning: what came apart as reasoning.
        native: whether there was a ``tool_calls``.
        finish: the server's ``finish_reason``.
        tokens: what the server counted as written.
        slow: the time was up first.
        first: seconds to the first word of the answer, None while there is none.
        pieces: what our reader made of it.
    """

    status: int = 0
    error: str = ""
    failure: ServerError | None = None
    content: str = ""
    reasoning: str = ""
    native: bool = False
    finish: str = ""
    tokens: int = 0
    slow: bool = False
    first: float | None = None
    pieces: list[Piece] = field(default_factory=list[Piece])

    @property
    def silent(self) -> bool:
        """It ended before it had said all."""
        return self.slow or bool(self.error)

    @property
    def refused(self) -> bool:
        """The server does not take what this request asks for."""
        return 400 <= self.status < 500 and self.status not in _GENERAL

    @property
    def reply(self) -> Reply:
        """The reply as a run would read it."""
        return merge(self.pieces)

    def why(self) -> str:
        """Why there is no evidence."""
        if self.slow:
            return TOO_SLOW
        return self.error or f"the model answered {self.shown()}"

    def shown(self) -> str:
        """The beginning of what was said."""
        text = " ".join((self.content or self.reasoning).split())
        return repr(text[:60]) if text else "nothing"


class Listener:
    """Makes the requests, side by side where the server works on several.

    Args:
        endpoint: the server and model.
        http: an open client.
        seconds: bound of all requests together.
        each: bound of one of them.
    """

    def __init__(self, endpoint: Endpoint, http: AsyncClient, *, seconds: float, each: float) -> None:
        self.endpoint = endpoint
        self.family: Family = find_family(endpoint.model)
        self.all: list[Heard] = []
        self._http = http
        self._each = each
        self._deadline = time.monotonic() + seconds
        self._slots = asyncio.Semaphore(1 if one_slot(endpoint) else 8)

    async def ask(
        self,
        prompt: str | list[dict[str, Any]],
        enough: Callable[[Heard], bool],
        *,
        thinking: bool = False,
        tokens: int = 64,
        tool: ToolSchema | None = None,
        fields: Mapping[str, Any] = MappingProxyType({}),
    ) -> Heard:
        """Ask, and listen until it is enough.

        Args:
            prompt: the user's message.
            enough: whether what was heard so far tells.
            thinking: how the model's thinking is switched, where it can be.
            tokens: bound of the answer.
            tool: what the model may call.
            fields: more request fields.
        """
        family = self.family
        body: dict[str, Any] = {
            "model": self.endpoint.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
            # A model that cannot do without thinking gets there in the end, or is too slow to tell.
            "max_tokens": 2048 if family.thinking == "only" and not thinking else tokens,
        }
        if tool:
            body["tools"] = [tool_body(tool)]
        if family.thinking in ("on", "off", "unknown"):
            wanted = Thinking(enabled=thinking)
            body |= thinking_fields(wanted, family, self.endpoint.kind)
            if isinstance(prompt, str) and (word := soft_switch(wanted, family, self.endpoint.kind)):
                body["messages"][0]["content"] = f"{prompt} {word}"
        body |= fields
        heard = Heard()
        self.all.append(heard)
        reader = ReplyReader(tools=[tool] if tool else (), thinking_open=False)
        async with self._slots:
            left = min(self._each, self._deadline - time.monotonic())
            if left <= 0:
                heard.slow = True
                return heard
            try:
                async with asyncio.timeout(left):
                    await self._listen(body, heard, reader, enough)
            except TimeoutError:
                heard.slow = True
            except ServerError as error:
                heard.failure, heard.error = error, error.message
        heard.pieces += reader.close()
        return heard

    async def _listen(
        self, body: dict[str, Any], heard: Heard, reader: ReplyReader, enough: Callable[[Heard], bool]
    ) -> None:
        endpoint = self.endpoint
        url, headers = f"{endpoint.url}/chat/completions", bearer(endpoint.api_key)
        started = time.monotonic()
        async with send(self._http, "POST", url, headers=headers, content=orjson.dumps(body)) as response:
            heard.status = response.status_code
            if response.status_code != 200:
                raw = await response.aread()
                heard.failure = explain_refusal(response.status_code, raw, url=endpoint.url, model=endpoint.model)
                heard.error = f"HTTP {response.status_code}: {_said(raw)}"
                return
            if not str(response.headers.get("content-type", "")).startswith("text/event-stream"):
                _take(await response.aread(), heard, reader)
                heard.first = time.monotonic() - started
                return
            async with aclosing(sse_data(response.aiter_bytes())) as blocks:
                async for block in blocks:
                    for data in block:
                        _take(data, heard, reader)
                    if heard.first is None and (heard.content or heard.reasoning or heard.native):
                        heard.first = time.monotonic() - started
                    if heard.error or enough(heard):
                        return


def _take(data: bytes, heard: Heard, reader: ReplyReader) -> None:
    """Read one chunk, or a whole document: a choice has a ``delta`` or a ``message``."""
    try:
        decoded: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    if not isinstance(decoded, dict):
        return
    chunk = cast("dict[str, Any]", decoded)
    if not chunk.get("choices") and (found := error_of(chunk)):
        heard.error = f"an error inside the answer: {found[0][:160]}"
        return
    usage: dict[str, Any] = chunk.get("usage") or {}
    heard.tokens = usage.get("completion_tokens") or heard.tokens
    for choice in cast("list[dict[str, Any]]", chunk.get("choices") or []):
        delta: dict[str, Any] = choice.get("delta") or choice.get("message") or {}
        content = delta.get("content")
        heard.content += content if isinstance(content, str) else ""
        heard.reasoning += delta.get("reasoning") or delta.get("reasoning_content") or ""
        heard.native = heard.native or bool(delta.get("tool_calls"))
        heard.finish = choice.get("finish_reason") or heard.finish
        heard.pieces += reader.feed({"choices": [{**choice, "delta": delta}]})


def _said(raw: bytes) -> str:
    try:
        found = error_of(orjson.loads(raw))
    except orjson.JSONDecodeError:
        found = None
    text = found[0] if found else raw.decode("utf-8", "replace")
    return " ".join(text.split())[:200] or "(nothing said)"
