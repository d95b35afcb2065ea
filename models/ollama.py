"""Ollama's own interface: /api/chat in place of /v1/chat/completions, and the window that is really there.

Its /v1 can neither choose the window (``num_ctx``) nor say exactly how to think. Source: docs/api.md of
https://github.com/ollama/ollama.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import orjson

from qianda.models.errors import QiandaError

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient
    from qianda.models.thinking import Thinking

SMALL_WINDOW = 16_384
"""Below this many tokens an agent soon forgets its task: so many are asked for where the server's window is smaller."""
DEFAULT_WINDOW = 4_096

_OPTIONS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repetition_penalty": "repeat_penalty",
    "repeat_penalty": "repeat_penalty",
    "seed": "seed",
    "stop": "stop",
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    "num_ctx": "num_ctx",
}
# Fields of chat completions that have no counterpart.
_DROPPED = (
    *("stream_options", "tool_choice", "parallel_tool_calls", "chat_template_kwargs", "enable_thinking"),
    "skip_special_tokens",
)
_LEVELS = {"none": False, "minimal": "low", "xhigh": "max"}


@dataclass(frozen=True, slots=True)
class Context:
    """A model's window, in tokens.

    Args:
        window: what the server gives it now: as loaded, as its settings say, or else Ollama's smallest default.
        longest: what the model can do, None when it does not say.
    """

    window: int
    longest: int | None

    @property
    def wanted(self) -> int | None:
        """The ``num_ctx`` to ask for, None when the server's own is large enough."""
        better = min(SMALL_WINDOW, self.longest or SMALL_WINDOW)
        return better if self.window < better else None


def native_url(url: str, *, raw: bool = False) -> str:
    """Where chats go, or raw prompts, given the base URL."""
    return url.removesuffix("/v1") + ("/api/generate" if raw else "/api/chat")


async def look(http: AsyncClient, url: str, model: str, *, headers: dict[str, str], seconds: float) -> Context:
    """Ask for a model's window; a server that does not answer in time has the default one."""
    root = url.removesuffix("/v1")
    ask = partial(_json, http, headers=headers, seconds=seconds)
    show, loaded = await asyncio.gather(
        ask("POST", f"{root}/api/show", content=orjson.dumps({"model": model})), ask("GET", f"{root}/api/ps")
    )
    info = cast("dict[str, Any]", show.get("model_info") or {})
    longest = next((int(value) for name, value in info.items() if name.endswith(".context_length")), None)
    running = [entry for entry in cast("list[dict[str, Any]]", loaded.get("models") or []) if _is(entry, model)]
    here = next((int(entry["context_length"]) for entry in running if entry.get("context_length")), None)
    said = re.search(r"^num_ctx\s+(\d+)", str(show.get("parameters") or ""), re.MULTILINE)
    return Context(here or (int(said[1]) if said else DEFAULT_WINDOW), longest)


def _is(entry: dict[str, Any], model: str) -> bool:
    return model in (entry.get("model"), entry.get("name"), str(entry.get("name")).removesuffix(":latest"))


async def _json(
    http: AsyncClient, method: str, url: str, *, content: bytes | None = None, headers: dict[str, str], seconds: float
) -> dict[str, Any]:
    from qianda.models.http import send

    try:
        async with (
            asyncio.timeout(seconds),
            send(http, method, url, headers=headers, content=content, timeout=seconds) as response,
        ):
            body: Any = orjson.loads(await response.aread())
    except (QiandaError, TimeoutError, orjson.JSONDecodeError):
        return {}
    return cast("dict[str, Any]", body) if isinstance(body, dict) else {}


def native_fields(fields: Mapping[str, Any], thinking: Thinking | None, *, num_ctx: int | None) -> dict[str, Any]:
    """Request fields with what only the native interface takes: the window, and that the model is to think."""
    new = dict(fields)
    if num_ctx is not None:
        new.setdefault("num_ctx", num_ctx)
    if thinking is not None and "reasoning_effort" not in new:
        new.setdefault("think", thinking.on)
    return new


def native_body(body: bytes) -> bytes:
    """The body of /api/chat, or of /api/generate, that says what this body of a completion says."""
    fields: dict[str, Any] = orjson.loads(body)
    raw = "prompt" in fields
    native: dict[str, Any] = {"stream": False}
    native |= {"raw": True} if raw else {"messages": [_message(message) for message in fields.pop("messages")]}
    options: dict[str, Any] = {}
    if fields.get("tool_choice") == "none":
        fields.pop("tools", None)
    effort = fields.pop("reasoning_effort", None)
    if effort is not None and "think" not in fields:
        native["think"] = _LEVELS.get(effort, effort)
    form = fields.pop("response_format", None)
    if isinstance(form, dict):
        native["format"] = cast("dict[str, Any]", form).get("json_schema", {}).get("schema") or "json"
    for name, value in fields.items():
        if name in _OPTIONS:
            options[_OPTIONS[name]] = value
        elif name not in _DROPPED:
            native[name] = value
    if options:
        native["options"] = options | native.get("options", {})
    return orjson.dumps(native)


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message in Ollama's shape: text and images apart, arguments as objects, reasoning as ``thinking``."""
    native: dict[str, Any] = {"role": message["role"], "content": message.get("content") or ""}
    if isinstance(native["content"], list):
        parts = cast("list[dict[str, Any]]", native["content"])
        native["content"] = "\n".join(part["text"] for part in parts if "text" in part)
        urls = [str(part["image_url"]["url"]) for part in parts if "image_url" in part]
        if urls:
            native["images"] = [url.partition(",")[2] if url.startswith("data:") else url for url in urls]
    if reasoning := message.get("reasoning") or message.get("reasoning_content"):
        native["thinking"] = reasoning
    if message["role"] == "tool":
        native["tool_name"] = message.get("name", "")
    if calls := message.get("tool_calls"):
        native["tool_calls"] = [{"function": _function(call["function"])} for call in calls]
    return native


def _function(function: dict[str, Any]) -> dict[str, Any]:
    arguments = function["arguments"]
    return {
        "name": function["name"],
        "arguments": orjson.loads(arguments or "{}") if isinstance(arguments, str) else arguments,
    }


class NativeChunks:
    """Turns the lines of one reply into the chunks of a chat completion."""

    def __init__(self) -> None:
        self._calls = 0

    def read(self, line: dict[str, Any]) -> dict[str, Any]:
        """One line; an error, or a chunk already, is left as it is."""
        message = {"content": line["response"]} if "response" in line else line.get("message")
        if "choices" in line or not isinstance(message, dict):
            return line
        message = cast("dict[str, Any]", message)
        delta: dict[str, Any] = {"content": message.get("content"), "reasoning": message.get("thinking")}
        if calls := message.get("tool_calls"):
            delta["tool_calls"] = [self._call(call) for call in calls]
        finish = None
        if line.get("done"):
            finish = "length" if line.get("done_reason") == "length" else "tool_calls" if self._calls else "stop"
        chunk: dict[str, Any] = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        if "eval_count" in line:
            chunk["usage"] = {
                "prompt_tokens": line.get("prompt_eval_count") or 0,
                "completion_tokens": line["eval_count"] or 0,
            }
        return chunk

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        function: dict[str, Any] = call.get("function") or {}
        index, self._calls = self._calls, self._calls + 1
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments or {}).decode()
        return {"index": index, "id": call.get("id") or "", "function": {**function, "arguments": text}}


async def ndjson(blocks: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes]]:
    """The lines of a stream, in one list per block that the network gave; the last one needs no line end."""
    held: list[bytes] = []
    async for block in blocks:
        if b"\n" not in block:
            held.append(block)
            continue
        *lines, rest = b"".join((*held, block)).split(b"\n")
        held = [rest]
        if found := [line for line in lines if line.strip()]:
            yield found
    if (rest := b"".join(held)).strip():
        yield [rest]
