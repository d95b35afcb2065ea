"""What is sent: the fields and the body of a request, as this model and this server take them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from qianda.models.budget import Continuation, continuations
from qianda.models.completions import Api, completion_body
from qianda.models.errors import ServerError, ServerRefused
from qianda.models.failures import repaired_fields, wants_text, with_text
from qianda.models.family import Sampling, find_family
from qianda.models.messages import Message, ToolSchema
from qianda.models.mode import Mode, mode_of
from qianda.models.modelstudio import studio_fields, with_cache_marks
from qianda.models.ollama import native_body, native_fields, native_url
from qianda.models.resolve import Endpoint
from qianda.models.thinking import OFF, Thinking
from qianda.models.tokens import output_limit
from qianda.models.wire import MessageEncoder, tool_body


@dataclass(slots=True)
class Request:
    """One request for a reply: ``fields`` are all but the messages; the rest as of ``Client.ask``."""

    messages: Sequence[Message]
    tools: Sequence[ToolSchema]
    encoder: MessageEncoder
    mode: Mode
    fields: dict[str, Any]


class RequestMaker:
    """Makes a client's requests, and remembers what the server refused; arguments and errors as of ``Client``.

    Attributes:
        native: requests go to Ollama's own interface.
        url: where requests go.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        thinking: Thinking | None,
        sampling: Sampling,
        *,
        streaming: bool,
        extra: dict[str, Any],
        api: Api,
    ) -> None:
        self.family = find_family(endpoint.model)
        # Ollama's /v1 can neither choose the window nor say how to think.
        wants_native = endpoint.num_ctx is not None or thinking is not None or "options" in extra
        self._raw = api == "completions"
        self.native = endpoint.kind.kind == "ollama" and (wants_native or self._raw)
        path = "/completions" if self._raw else "/chat/completions"
        self.url = native_url(endpoint.url, raw=self._raw) if self.native else endpoint.url + path
        self._endpoint = endpoint
        self._kind = endpoint.kind
        self._thinking = thinking
        self._sampling = sampling
        self._streaming = streaming
        self._extra = extra
        self._text_only = False
        self._usual = self.mode(thinking)

    def room(self, window: int) -> int:
        """Tokens of a window that are left for a reply: those asked for, else enough for long reasoning."""
        fields = self._usual.fields
        asked = fields.get("max_tokens") or fields.get("max_completion_tokens")
        return min(asked, window // 2) if asked else min(self.family.max_output, window // 4)

    def mode(self, thinking: Thinking | None) -> Mode:
        """How the model is asked when this is wanted, None for its own default."""
        mode = mode_of(thinking, self.family, self._kind, self._sampling)
        streamed: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        fields = mode.fields | (streamed if self._streaming or mode.stream else {})
        return replace(mode, fields=_override(fields, self._extra))

    def request(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSchema],
        encoder: MessageEncoder,
        *,
        fields: Mapping[str, Any],
        thinking: Thinking | None,
    ) -> Request:
        """The request for a reply; arguments as of ``Client.ask``."""
        mode = self._usual if thinking is None else self.mode(thinking)
        every: dict[str, Any] = {"model": self._endpoint.model, **mode.fields}
        if tools:
            every["tools"] = [tool_body(schema) for schema in tools]
        every = _override(every, fields)
        told = "max_tokens" in fields
        if self._kind.tell_output and not told and (room := self._room(every, encoder.size(messages))):
            every["max_tokens"] = room
        return Request(messages, tools, encoder, mode, self._shaped(every, mode.thinking, thinks=mode.thinks))

    def body(self, request: Request) -> bytes:
        """The body of the request."""
        return self._body(request, request.fields, request.mode.switch, thinks=request.mode.thinks)

    def going_on(self, request: Request, thought: str) -> Iterator[tuple[Continuation, bytes]]:
        """The bodies of the requests that may go on after this thought, where the reply was stopped; the best first."""
        for way in continuations(thought, request.mode.thinking, self.family, self._kind):
            fields = self._shaped(_override(request.fields, {**way.fields, "think": None}), OFF, thinks=False)
            yield way, self._body(request, fields, way.switch, way.prefill, thinks=False)

    def mend(self, request: Request, error: ServerError) -> bool:
        """Change a refused request so that it may pass; False where there is nothing to mend."""
        if wants_text(error) and not self._text_only:
            self._text_only = True
            return True
        fields = repaired_fields(error, request.fields)
        request.fields = fields or request.fields
        return fields is not None

    def gives_up_budget(self, error: ServerError) -> bool:
        """Whether a server does not take the budget after all (vLLM before --reasoning-config); it is ours from now."""
        if not (isinstance(error, ServerRefused) and self._kind.budget and self._kind.budget in str(error)):
            return False
        self._kind = replace(self._kind, budget="")
        self._usual = self.mode(self._thinking)
        return True

    def _room(self, fields: dict[str, Any], size: int) -> int | None:
        """Tokens that a reply may have, for servers that must be told; None to leave it to them.

        Args:
            fields: of the request.
            size: of the conversation, in bytes; a token has three or more.
        """
        if fields.keys() & {"max_tokens", "max_completion_tokens"}:
            return None
        if (window := self._endpoint.window) is None:
            return self.family.max_output if self._kind.tell_output == "always" else None
        prompt = (size + len(orjson.dumps(fields.get("tools", [])))) // 3
        # An estimate that leaves no room is no reason to cut the reply.
        return output_limit(self.family, window, prompt) if prompt + 4_000 < window else None

    def _shaped(self, fields: dict[str, Any], thinking: Thinking | None, *, thinks: bool | None) -> dict[str, Any]:
        """The fields as this kind of server takes them."""
        if self.native:
            return native_fields(fields, thinking, num_ctx=self._endpoint.num_ctx)
        if self._kind.is_model_studio and not self._raw:
            return studio_fields(fields, thinks=thinks)
        return {"parallel_tool_calls": True, **fields} if self._kind.parallel and "tools" in fields else fields

    def _body(
        self,
        request: Request,
        fields: dict[str, Any],
        switch: str,
        prefill: Mapping[str, Any] | None = None,
        *,
        thinks: bool | None,
    ) -> bytes:
        messages, tools = request.messages, request.tools
        if self._raw:
            body = completion_body(messages, tools, fields, self.family, thinks=thinks, prefill=prefill)
        else:
            body = request.encoder.request(messages, orjson.dumps(fields), switch=switch, prefill=prefill)
            if self._kind.is_model_studio and "cache_control" in self._extra:
                body = with_cache_marks(body)
            body = with_text(body) if self._text_only else body
        return native_body(body) if self.native else body


def _override(fields: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Request fields with others put over them: objects are merged, None takes a field out."""
    merged = dict(fields)
    for name, value in more.items():
        old = merged.get(name)
        merged[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
    return {name: value for name, value in merged.items() if name not in more or value is not None}
