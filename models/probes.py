"""Small live probes: what a server does with tool calls, thinking, schemas and images, and what cures the rest."""

from __future__ import annotations

import asyncio
import base64
import struct
import tomllib
import zlib
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from qianda.models.listening import Heard, Listener
from qianda.models.messages import ToolSchema
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.models.structured import last_fields
from qianda.models.thinking import OFF, soft_switch

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient

TOTAL_SECONDS = 7.0
SMALL_WINDOW = 16_384

_WEATHER = ToolSchema(
    "get_weather",
    "The weather in a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
_SUM = "What is 17 times 23?"
_VERDICT = {
    "type": "object",
    "properties": {"verdict": {"type": "string", "enum": ["blue", "green"]}},
    "required": ["verdict"],
    "additionalProperties": False,
}


_NAME = "NAME"  # of a parser for a model that is no Qwen


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one probe found.

    Args:
        check: ``answers``, ``window``, ``tools``, ``reasoning``, ``switch``, ``structured`` or ``images``.
        status: ``ok``; ``no`` for what this model does not have and need not; ``problem``; ``unknown``.
        seen: the evidence, for a person.
        fact: the same as one word for programs, or "".
        cure: the flag or setting that cures a problem, or "".
        meanwhile: what Qianda does as long as it is not cured, or "".
    """

    check: str
    status: Literal["ok", "no", "problem", "unknown"]
    seen: str
    fact: str = ""
    cure: str = ""
    meanwhile: str = ""


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_name("probes.toml").read_text(encoding="utf-8"))


async def probe(
    endpoint: Endpoint, http: AsyncClient, *, seconds: float = TOTAL_SECONDS, each: float = TOTAL_SECONDS
) -> list[Finding]:
    """Ask the server a few small things and say what it does with them.

    Side by side where the server works on several requests; what has not told within the time is ``unknown``.

    Args:
        endpoint: the server and model.
        http: an open client.
        seconds: bound of all together.
        each: bound of one of them.
    """
    probes = _Probes(Listener(endpoint, http, seconds=seconds, each=each))
    asked: list[Coroutine[Any, Any, Finding | None]] = [
        probes.tools(),
        probes.reasoning(),
        probes.switch(),
        probes.structured(),
        probes.images(),
    ]
    found = [finding for finding in await asyncio.gather(*asked) if finding]
    answers = probes.answers()
    if answers.status == "problem":
        return [answers]
    return [answers, probes.window(), *found]


class _Probes:
    """One method per check; those that return None do not apply to the model."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._thinking = listener.family.thinking

    def _problem(self, check: str, seen: str, fact: str, *, meanwhile: str = "") -> Finding:
        endpoint = self._listener.endpoint
        kind = endpoint.kind.kind
        rows, parsers = _table()[check], _table()["parsers"]
        names: dict[str, str] = parsers.get(kind, parsers["default"])
        family = self._listener.family
        parser = names.get(family.calls, names["hermes"]) if family.qwen else _NAME
        cure = str(rows.get(kind, rows["default"])).format(parser=parser, reasoning="qwen3" if family.qwen else _NAME)
        if _NAME in cure:
            cure += f" ({_NAME}: the one that the server's manual has for this model)"
        return Finding(
            check=check,
            status="problem",
            seen=seen,
            fact=fact,
            cure=cure,
            meanwhile=_table()["meanwhile"][meanwhile or fact],
        )

    def answers(self) -> Finding:
        """Whether any probe was answered at all."""
        heard = self._listener.all
        told = [one.first for one in heard if one.first is not None and not one.error]
        if told:
            return Finding(check="answers", status="ok", seen=f"the first word came after {min(told):.1f} s")
        failures = [one.failure for one in heard if one.failure]
        if len(failures) == len(heard):
            error = failures[0]
            return Finding(check="answers", status="problem", seen=error.message, fact="refused", cure=error.cure)
        return Finding(check="answers", status="unknown", seen=heard[0].why())

    def window(self) -> Finding:
        """Whether the context window leaves room for an agent's work."""
        endpoint = self._listener.endpoint
        if endpoint.num_ctx is not None:
            # Ollama's own default; ``endpoint.window`` is what runs ask for.
            return self._problem("window", f"less than {endpoint.num_ctx:,} tokens unless asked for more", "small")
        if endpoint.window is None:
            return Finding(check="window", status="unknown", seen="the server does not say")
        if endpoint.window >= SMALL_WINDOW:
            return Finding(check="window", status="ok", seen=f"{endpoint.window:,} tokens")
        return self._problem("window", f"{endpoint.window:,} tokens, which tools and files soon fill", "short")

    async def tools(self) -> Finding:
        """Whether calls come back as ``tool_calls``."""

        def enough(heard: Heard) -> bool:
            return heard.native or "</tool_call>" in heard.content or "</function>" in heard.content

        prompt = "What is the weather in Paris now? Call the tool get_weather."
        heard = await self._listener.ask(prompt, enough, tokens=128, tool=_WEATHER)
        if heard.native:
            return Finding(check="tools", status="ok", seen="calls come as tool_calls", fact="native")
        if heard.refused:
            # vLLM: "auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set
            fact = "refused" if "--enable-auto-tool-choice" in heard.error else "unsupported"
            return self._problem("tools", heard.error, fact)
        if heard.reply.calls or heard.reply.broken or "<tool_call>" in heard.content:
            return self._problem("tools", "calls come as text", "text")
        if not heard.silent and not (heard.content + heard.reasoning).strip() and heard.tokens > 8:
            # vLLM with the parser of another format drops the call from a stream, and gives it as text in a document.
            whole = {"stream": False, "stream_options": None}
            again = await self._listener.ask(prompt, enough, tokens=128, tool=_WEATHER, fields=whole)
            seen = f"of {heard.tokens} tokens the server passed on none: its parser is for another format"
            return self._problem("tools", seen, "lost" if again.reply.calls else "gone")
        return Finding(check="tools", status="unknown", seen=heard.why())

    async def reasoning(self) -> Finding | None:
        """Whether thinking comes apart from the answer."""
        if self._thinking == "none":
            return None

        def enough(heard: Heard) -> bool:
            return bool(heard.reasoning.strip()) or "think>" in heard.content

        # Where the prompt opens the thinking, only its end shows that it stands in the text.
        tokens = 512 if self._listener.family.opens else 48
        heard = await self._listener.ask(_SUM, enough, thinking=True, tokens=tokens)
        if heard.reasoning.strip():
            return Finding(check="reasoning", status="ok", seen="thinking comes apart from the answer", fact="apart")
        if "think>" in heard.content:
            return self._problem("reasoning", "thinking comes as text, between <think> tags", "inline")
        return Finding(check="reasoning", status="unknown", seen=heard.why())

    async def switch(self) -> Finding | None:
        """Whether thinking can be switched off."""
        if self._thinking not in ("on", "off"):
            return None

        def thought(heard: Heard) -> str:
            return (heard.reasoning or heard.content.partition("<think>")[2].partition("</think>")[0]).strip()

        def said(heard: Heard) -> str:
            return heard.content.replace("<think>", "").replace("</think>", "").strip()

        def tells(heard: Heard) -> bool:
            return bool(thought(heard) or said(heard))

        heard = await self._listener.ask(_SUM, tells)
        if thought(heard):
            family = self._listener.family
            word = soft_switch(OFF, family, replace(self._listener.endpoint.kind, thinking=""))
            again = await self._listener.ask(f"{_SUM} {word}", tells) if word else None
            fact = "soft" if again and said(again) and not thought(again) else "dead"
            return self._problem("switch", "the model thinks with thinking switched off", fact)
        if said(heard):
            return Finding(check="switch", status="ok", seen="with thinking off the answer comes at once", fact="works")
        return Finding(check="switch", status="unknown", seen=heard.why())

    async def structured(self) -> Finding:
        """Whether the server holds the model to a schema."""

        def text(heard: Heard) -> str:
            return heard.content.rpartition("</think>")[2].strip()

        def enough(heard: Heard) -> bool:
            return _fits(text(heard)) or text(heard)[:1] not in ("", "{", "<")

        endpoint, family = self._listener.endpoint, self._listener.family
        kind = endpoint.kind if endpoint.kind.structured else server_kinds()["vllm"]
        fields = last_fields(_VERDICT, kind, family, None)
        if fields is None:
            return Finding(check="structured", status="no", seen="not while thinking, and the model always thinks")
        prompt = "Which colour has a clear sky at noon? Answer as JSON."
        heard = await self._listener.ask(prompt, enough, fields=fields)
        if _fits(text(heard)):
            return Finding(check="structured", status="ok", seen="the answer keeps to a JSON schema", fact="schema")
        if kind.structured == "json_object" and text(heard).startswith("{") and heard.finish == "stop":
            return Finding(check="structured", status="ok", seen="the answer is JSON, of no fixed schema", fact="json")
        older = replace(kind, structured=kind.older_structured)
        before = last_fields(_VERDICT, older, family, None)
        if before and (heard.refused or text(heard)) and not heard.slow:
            again = await self._listener.ask(prompt, enough, fields=before)
            if _fits(text(again)):
                seen = f"the answer keeps to a JSON schema, by {kind.older_structured}, the way of an older version"
                return Finding(check="structured", status="ok", seen=seen, fact="older")
        if heard.refused:
            return self._problem("structured", heard.error, "refused", meanwhile="unstructured")
        if text(heard) and not heard.silent and heard.finish != "length":
            return self._problem("structured", f"a JSON schema is ignored: {heard.shown()}", "ignored")
        return Finding(check="structured", status="unknown", seen=heard.why())

    async def images(self) -> Finding:
        """Whether the model is shown images: no problem where it is not known to read any."""
        from qianda.models.catalog.entries import understand

        endpoint = self._listener.endpoint
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{red_square()}"}}
        question = {"type": "text", "text": "Which colour is this? One word."}
        heard = await self._listener.ask([image, question], lambda heard: "red" in heard.content.lower(), tokens=16)
        if "red" in heard.content.lower():
            return Finding(check="images", status="ok", seen="a red square was called red", fact="seen")
        if heard.refused or (heard.status == 500 and "image" in heard.error):
            named = understand(endpoint.model)
            if named.model and "image" in named.model.input:
                return self._problem("images", f"the model reads images, the server does not ({heard.error})", "blind")
            return Finding(check="images", status="no", seen=f"not taken ({heard.error})", fact="refused")
        return Finding(check="images", status="unknown", seen=heard.why())


def _fits(text: str) -> bool:
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return value in ({"verdict": "blue"}, {"verdict": "green"})


@cache
def red_square() -> str:
    """A PNG of 64 × 64 red pixels in base64: large enough for every vision tower. Source: PNG, ISO/IEC 15948."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\xff\0\0" * 64) * 64)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(png).decode()
