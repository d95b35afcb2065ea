"""A stand-in for Model Studio (DashScope), built from its documentation; it has never met the real service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from qianda.models.family import find_family
from qianda.testing.completions import Completion
from qianda.testing.http_server import Request, Response
from qianda.testing.script import Turn
from qianda.testing.scripted import ScriptedServer

_PREFIX = "/compatible-mode"
MOST_OUTPUT = 32_768
MOST_THINKING = 38_912
MOST_MARKS = 4
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class StudioCompletion(Completion):
    """A completion in the service's shapes: ``reasoning_content``, and empty ids and names in later deltas."""

    def json(self) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        body = super().json()
        message: dict[str, Any] = body["choices"][0]["message"]
        message["reasoning_content"] = message.pop("reasoning") or ""
        return body

    def _deltas(self) -> Iterator[dict[str, Any]]:
        for delta in super()._deltas():
            if "reasoning" in delta:
                yield {"content": None, "reasoning_content": delta["reasoning"]}
                continue
            for call in cast("list[dict[str, Any]]", delta.get("tool_calls") or []):
                head = {"id": "", "type": "function", **call}
                call.update(head, function={"name": "", "arguments": "", **call["function"]})
            yield delta


class ModelStudioServer(ScriptedServer):
    """Answers with scripted turns what Model Studio would take, and refuses what it refuses.

    Connect with ``Endpoint(url=server.url, kind=server_kinds()["modelstudio"], …)``, or by the address alone: its path
    tells the kind. Several calls of a turn come only where ``parallel_tool_calls`` is true, as there. The texts of the
    refusals are those of the documentation; where it gives none, they are ours.

    Args:
        turns: what the model says; see ``ScriptedServer``.
        model: the model that it serves.
        api_key: the key that requests must bring.
    """

    def __init__(self, *turns: Any, model: str = "qwen-plus", api_key: str | None = None, **options: Any) -> None:
        super().__init__(*turns, model=model, api_key=api_key, **options)

    @property
    def url(self) -> str:
        """The address for clients, ending in ``/compatible-mode/v1``."""
        return f"{self.origin}{_PREFIX}/v1"

    async def answer(self, request: Request, response: Response) -> None:
        """Answer one request as the service does."""
        if not self._has_key(request):
            await response.send_json(401, _error("Incorrect API key provided.", code="invalid_api_key"))
            return
        path = request.path.removeprefix(_PREFIX) if request.path.startswith(_PREFIX) else "/no"
        await super().answer(replace(request, path=path), response)

    async def complete(self, body: dict[str, Any], response: Response, /) -> None:
        """Answer a chat completion, or refuse it."""
        refusal = _refusal(body)
        if refusal:
            await response.send_json(400, _error(refusal))
            return
        await super().complete(body, response)

    def completion(self, turn: Turn, body: dict[str, Any]) -> Completion:
        """How a turn goes over the wire: one call only, unless several were allowed."""
        turn = turn if body.get("parallel_tool_calls") else replace(turn, calls=turn.calls[:1])
        made = super().completion(turn, body)
        return StudioCompletion(made.turn, made.model, made.number, made.created, made.prompt_tokens)

    def _refusal(self, body: dict[str, Any]) -> dict[str, Any] | None:
        return None if body.get("messages") else super()._refusal(body)


def _error(message: str, *, code: str = "invalid_parameter_error") -> dict[str, Any]:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return {"error": error, "id": "chatcmpl-0", "request_id": "0"}


def _refusal(body: dict[str, Any]) -> str:
    """Why the service does not take this request, "" when it does."""
    thinks = _thinks(body)
    tools: list[dict[str, Any]] = body.get("tools") or []
    names = [str(tool["function"]["name"]) for tool in tools]
    form = cast("dict[str, Any]", body.get("response_format") or {}).get("type", "text")
    content = str(body["messages"])
    checks = {
        "The value of the enable_thinking parameter is restricted to True.": (
            find_family(body["model"]).thinking == "only" and body.get("enable_thinking") is False
        ),
        "reasoning_effort cannot be used together with thinking_budget or enable_thinking": (
            "reasoning_effort" in body and bool({"thinking_budget", "enable_thinking"} & body.keys())
        ),
        "parameter.enable_thinking must be set to false for non-streaming calls": thinks and not body.get("stream"),
        "The tool_choice parameter does not support being set to required or object in thinking mode": (
            thinks and body.get("tool_choice") not in (None, "auto", "none")
        ),
        "Json mode response is not supported when enable_thinking is true": thinks and form != "text",
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.": (
            form == "json_object" and "json" not in content.lower()
        ),
        f"The thinking_budget parameter must be a positive integer and not greater than {MOST_THINKING}": (
            not 0 < body.get("thinking_budget", 1) <= MOST_THINKING
        ),
        f"Range of max_tokens should be [1, {MOST_OUTPUT}]": not 0 < body.get("max_tokens", 1) <= MOST_OUTPUT,
        "Tool names are not allowed to be [search]": "search" in names,
        "Tool names must match [A-Za-z0-9_-], 64 characters at most": not all(map(_NAME.fullmatch, names)),
        f"At most {MOST_MARKS} cache_control marks are allowed": content.count("'cache_control'") > MOST_MARKS,
        "enable_code_interpreter needs thinking and streaming": (
            bool(body.get("enable_code_interpreter")) and not (thinks and body.get("stream"))
        ),
    }
    return next((message for message, wrong in checks.items() if wrong), "")


def _thinks(body: dict[str, Any]) -> bool:
    if "reasoning_effort" in body:
        return body["reasoning_effort"] != "none"
    return bool(body.get("enable_thinking", find_family(body["model"]).thinks(None)))
