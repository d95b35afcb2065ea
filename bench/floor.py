"""The floor: the agent loop that a competent person writes by hand for one server and one model.

A pooled httpx2 client, orjson, the whole conversation serialised for each request, the lines of the stream parsed, the
tools called, the results appended. No retries, no events, no limits, no record, no other formats: what Qianda's own
cost is measured against.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Self

import httpx2
import orjson

HEADERS = {"content-type": "application/json"}


async def data_of_lines(response: httpx2.Response) -> AsyncGenerator[str]:
    """The data of each event, by the client's own line reader."""
    async for line in response.aiter_lines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield line[6:]


async def data_of_bytes(response: httpx2.Response) -> AsyncGenerator[bytes]:
    """The data of each event, by splitting the bytes."""
    rest = b""
    async for block in response.aiter_bytes():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data: ") and line != b"data: [DONE]":
                yield line[6:]


class Floor:
    """A hand-written agent.

    Args:
        server: base URL, up to ``/v1``.
        model: the model's name.
        instructions: the system prompt.
        tools: JSON schemas, as the request carries them.
        functions: the tools by name.
        streaming: ask for SSE.
        split_bytes: find the lines of the stream oneself, which is cheaper than ``aiter_lines`` and seldom done.
    """

    def __init__(
        self,
        *,
        server: str,
        model: str,
        instructions: str,
        tools: list[dict[str, Any]],
        functions: dict[str, Callable[..., Awaitable[Any]]],
        streaming: bool,
        split_bytes: bool = False,
    ) -> None:
        self.url = f"{server}/chat/completions"
        self.instructions = instructions
        self.functions = functions
        self.streaming = streaming
        self.data = data_of_bytes if split_bytes else data_of_lines
        self.fields: dict[str, Any] = {"model": model, "tools": tools}
        if streaming:
            self.fields |= {"stream": True, "stream_options": {"include_usage": True}}
        self.http = httpx2.AsyncClient(
            timeout=60, limits=httpx2.Limits(), trust_env=False
        )  # as many connections as runs

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.aclose()

    async def run(self, prompt: str) -> str:
        """Ask, call tools, until there is an answer."""
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": self.instructions},
            {"role": "user", "content": prompt},
        ]
        ask = self.stream if self.streaming else self.ask
        while True:
            message = await ask(orjson.dumps({**self.fields, "messages": messages}))
            messages.append(message)
            calls: list[dict[str, Any]] = message.get("tool_calls") or []
            if not calls:
                return message["content"]
            for call in calls:
                function = call["function"]
                result = await self.functions[function["name"]](**orjson.loads(function["arguments"]))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": str(result)})

    async def ask(self, body: bytes) -> dict[str, Any]:
        """One request, answered with JSON."""
        response = await self.http.post(self.url, content=body, headers=HEADERS)
        response.raise_for_status()
        return orjson.loads(response.content)["choices"][0]["message"]

    async def stream(self, body: bytes) -> dict[str, Any]:
        """One request, answered with SSE."""
        content: list[str] = []
        calls: dict[int, dict[str, Any]] = {}
        async with self.http.stream("POST", self.url, content=body, headers=HEADERS) as response:
            response.raise_for_status()
            async for data in self.data(response):
                choices = orjson.loads(data)["choices"]
                if not choices:
                    continue
                delta = choices[0]["delta"]
                if delta.get("content"):
                    content.append(delta["content"])
                for piece in delta.get("tool_calls") or ():
                    function = piece["function"]
                    if "id" in piece:
                        head = {"name": function["name"], "arguments": ""}
                        calls[piece["index"]] = {"id": piece["id"], "type": "function", "function": head}
                    calls[piece["index"]]["function"]["arguments"] += function.get("arguments") or ""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(content)}
        return {**message, "tool_calls": list(calls.values())} if calls else message
