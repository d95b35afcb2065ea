"""Finding out what answers at an address: its kind, its models, their real window, its version."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import orjson

from qianda.models.errors import QiandaError, ServerOverloaded, ServerRefused
from qianda.models.http import get_json
from qianda.models.servers import ServerKind, key_cure, kind_at, not_a_model_server, server_kinds

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient

# All questions but the first, together; a server that is too busy for them is taken for what it said so far.
DETAIL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that a server offers.

    Args:
        id: its name there.
        window: in tokens, None when the server does not say.
        fingerprint: changes with the model behind the name, as far as the server lets on; "" when nothing is known.
    """

    id: str
    window: int | None
    fingerprint: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class FoundServer:
    """What answered at an address; ``version`` is "" where it was not asked or is not told."""

    url: str
    kind: ServerKind
    models: tuple[FoundModel, ...]
    version: str = ""


def root_of(url: str) -> str:
    """The address beside the base URL, where a server's own paths begin."""
    return re.sub(r"/v\d+$", "", url)


async def detect(
    http: AsyncClient, url: str, *, headers: dict[str, str], seconds: float = 10.0, expected: ServerKind | None = None
) -> FoundServer:
    """Ask a server what it is and which models it has.

    One request for a server that says so in its list of models (and one more for llama.cpp's window); else the kinds'
    own addresses are asked side by side, for a second in all.

    Args:
        http: the client to ask with.
        url: base URL.
        headers: of the request, with the key.
        seconds: how long the list of models may take.
        expected: the kind, if the server itself does not tell.

    Raises:
        ServerUnreachable: nothing answers there.
        ServerRefused: the key is wrong, or it is no model server.
        ServerOverloaded: it is not ready.
    """
    began = time.monotonic()
    status, body = await get_json(http, f"{url}/models", headers=headers, seconds=seconds)
    entries = _entries(body)
    known = kind_at(url)
    if not entries:
        await _explain_none(http, url, status, body, headers=headers, seconds=seconds)
    models = tuple(FoundModel(str(entry["id"]), _window(entry), _fingerprint(entry)) for entry in entries)
    owners = {str(entry.get("owned_by", "")) for entry in entries}
    told = known or next((row for row in server_kinds().values() if owners & set(row.owned_by)), None)
    if told and told.kind != "llamacpp":
        return FoundServer(url, told, models)
    asked = [told] if told else [row for row in server_kinds().values() if row.ask and row.kind != "embedded"]
    left = min(seconds, DETAIL_SECONDS) * 0.8 - (time.monotonic() - began)
    answers = await _ask_all(
        http, url, asked, headers=headers, seconds=max(left, 0.2 if seconds > DETAIL_SECONDS else 0)
    )
    # vLLM comes last: other servers have a /version too.
    for row in sorted(answers, key=lambda row: row.kind == "vllm"):
        return _with_details(FoundServer(url, row, models), answers[row])
    return FoundServer(url, told or expected or server_kinds()["openai"], models)


async def server_version(http: AsyncClient, found: FoundServer, *, headers: dict[str, str]) -> str:
    """The server's version, "" where it does not say."""
    rows = [found.kind] if found.kind.ask else [replace(found.kind, ask="/version", has="version")]
    answers = await _ask_all(http, found.url, rows, headers=headers, seconds=DETAIL_SECONDS)
    return next((_with_details(found, answer).version for answer in answers.values()), "") or found.version


async def _explain_none(
    http: AsyncClient, url: str, status: int, body: Any, *, headers: dict[str, str], seconds: float
) -> None:
    """Raise for an answer that lists no models, unless a model server may be behind it all the same."""
    if status in (401, 403):
        refusal = "does not accept the key" if "authorization" in headers else "wants a key"
        raise ServerRefused(f"{url} {refusal}", cure=key_cure(url), status=status)
    if status == 503:
        raise ServerOverloaded(
            f"{url} is not ready (HTTP 503)", cure="Try again when it has loaded its model", status=status
        )
    if status == 200 and not isinstance(body, dict):
        raise not_a_model_server(url)
    if status != 200 and not (urlsplit(url).hostname or "").endswith("aliyuncs.com"):
        status, _ = await get_json(http, f"{url}/chat/completions", headers=headers, seconds=seconds)
        if status == 404:
            raise not_a_model_server(url)


async def _ask_all(
    http: AsyncClient, url: str, rows: list[ServerKind], *, headers: dict[str, str], seconds: float
) -> dict[ServerKind, dict[str, Any]]:
    """What the kinds' own addresses answer, as far as the answer is one of that kind and comes in time."""

    async def ask(row: ServerKind) -> dict[str, Any] | None:
        try:
            status, body = await get_json(http, root_of(url) + row.ask, headers=headers, seconds=max(seconds, 0.01))
        except QiandaError:
            return None
        return _fields(body, row.has) if status == 200 else None

    asking = {asyncio.create_task(ask(row)): row for row in rows}
    try:
        done, _ = await asyncio.wait(asking, timeout=seconds)
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    return {asking[task]: answer for task in done if not task.cancelled() and (answer := task.result()) is not None}


def _fields(body: Any, name: str) -> dict[str, Any] | None:
    """The body if it has this field, itself or in its list of models."""
    if not isinstance(body, dict):
        return None
    body = cast("dict[str, Any]", body)
    return body if name in body or any(name in entry for entry in _entries(body)) else None


def _with_details(found: FoundServer, answer: dict[str, Any]) -> FoundServer:
    """What a kind's own address adds: the window that is really there, and the version."""
    settings: Any = answer.get("default_generation_settings")
    settings = cast("dict[str, Any]", settings) if isinstance(settings, dict) else {}
    here = _positive(settings.get("n_ctx"), answer.get("n_ctx"), answer.get("max_total_tokens"))
    loaded = {str(entry["id"]): _positive(entry.get("loaded_context_length")) for entry in _entries(answer)}
    more = _fingerprint(answer)
    models = tuple(
        FoundModel(model.id, here or loaded.get(model.id) or model.window, model.fingerprint + more)
        for model in found.models
    )
    return replace(found, models=models, version=str(answer.get(found.kind.version) or ""))


def _fingerprint(said: dict[str, Any]) -> str:
    """A digest of what tells one model, or server, from another under the same name; not of what changes by itself."""
    names = ["root", "max_model_len", "meta", "build_info", "model_path", "chat_template", "version"]
    if said.get("owned_by") == "library":
        names.append("created")  # of an Ollama model; elsewhere it is the time of the request
    told = {name: said[name] for name in names if said.get(name)}
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12] if told else ""


def _window(entry: dict[str, Any]) -> int | None:
    said: Any = entry.get("meta")
    meta = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    return _positive(
        entry.get("max_model_len"), meta.get("n_ctx"), meta.get("n_ctx_train"), entry.get("context_length")
    )


def _positive(*values: Any) -> int | None:
    return next((value for value in values if isinstance(value, int) and value > 0), None)


def _entries(body: Any) -> list[dict[str, Any]]:
    data = cast("dict[str, Any]", body).get("data") if isinstance(body, dict) else None
    listed = cast("list[Any]", data) if isinstance(data, list) else []
    return [cast("dict[str, Any]", entry) for entry in listed if isinstance(entry, dict) and "id" in entry]
