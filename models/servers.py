"""Kinds of model servers (data in servers.toml), and finding out what answers at an address."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from qianda.models.errors import ConfigurationError, ServerOverloaded, ServerRefused
from qianda.models.http import get_json

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKind:
    """One kind of server.

    Args:
        kind: its key in the table.
        title: its name, for people.
        port: where it listens by default, 0 when it has no local default.
        url: its base URL when that is fixed.
        model: the model to use when none is named.
        owned_by: what its ``/v1/models`` says in ``owned_by``.
        thinking: how the thinking switch is sent: ``kwargs`` (``chat_template_kwargs``), ``top`` (``enable_thinking``),
            ``effort`` (``reasoning_effort``), or "" when there is none.
        reasoning: the message field in which reasoning is resent.
        top_k: the request's field for it, or "".
        repetition_penalty: the request's field for it, or "".
        structured: how a reply is held to a schema: ``json_schema`` (in ``response_format``), ``json_object`` (some
            JSON, no schema), ``format`` or ``guided_json`` (fields of these names), or "" when it cannot be.
        structured_thinking: it can be while the model thinks.
        tool_media: tool results may hold images; else they follow in a user message.
        audio: what ``input_audio`` holds: ``raw`` base64 or a ``url``.
        frames: a video may be a list of images.
        media_bytes: bound of one image, audio or video in base64, 0 for none.
        images: bound of the images in one request, 0 for none.
    """

    kind: str
    title: str
    port: int = 0
    url: str = ""
    model: str = ""
    owned_by: tuple[str, ...] = ()
    thinking: Literal["kwargs", "top", "effort", ""] = ""
    reasoning: str = "reasoning_content"
    top_k: str = ""
    repetition_penalty: str = ""
    structured: Literal["json_schema", "json_object", "format", "guided_json", ""] = ""
    structured_thinking: bool = False
    tool_media: bool = False
    audio: Literal["raw", "url"] = "raw"
    frames: bool = False
    media_bytes: int = 0
    images: int = 0

    @property
    def base_url(self) -> str:
        """Where it is by default, or ""."""
        return self.url or (f"http://127.0.0.1:{self.port}/v1" if self.port else "")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that a server offers; ``window`` in tokens, None when it does not say."""

    id: str
    window: int | None


@dataclass(frozen=True, slots=True)
class FoundServer:
    """What answered at an address."""

    url: str
    kind: ServerKind
    models: tuple[FoundModel, ...]


@cache
def server_kinds() -> dict[str, ServerKind]:
    """The table, by kind."""
    rows = tomllib.loads(Path(__file__).with_name("servers.toml").read_text(encoding="utf-8"))
    for row in rows.values():
        row["owned_by"] = tuple(row.get("owned_by", ()))
    return {kind: ServerKind(kind=kind, **row) for kind, row in rows.items()}


def base_url(server: str) -> str:
    """The base URL that a server's name or address means.

    Args:
        server: like ``ollama``, ``localhost:8000`` or ``http://host/v1``.

    Raises:
        ConfigurationError: it is neither a known name nor an address.
    """
    kinds = server_kinds()
    server = server.strip()
    name = server.lower().replace(".", "").replace(" ", "")
    known = kinds.get({"dashscope": "modelstudio"}.get(name, name))
    if known and known.base_url:
        return known.base_url
    url = server if "://" in server else f"http://{server}"
    url = url.rstrip("/").removesuffix("/chat/completions")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or "://" in server)
    except ValueError:
        usable = False
    if not usable:
        names = ", ".join(sorted(kind for kind, row in kinds.items() if row.base_url))
        raise ConfigurationError(
            f"{server!r} is neither a server's name nor its address",
            cure=f"Use an address like http://127.0.0.1:8000/v1, or one of: embedded, {names}",
        )
    return url.rstrip("/") if urlsplit(url).path.strip("/") else url.rstrip("/") + "/v1"


def _kind_of(url: str, entries: list[dict[str, Any]]) -> ServerKind:
    kinds = server_kinds()
    if (urlsplit(url).hostname or "").endswith("aliyuncs.com"):
        return kinds["modelstudio"]
    owners = {str(entry.get("owned_by", "")) for entry in entries}
    return next((row for row in kinds.values() if owners & set(row.owned_by)), kinds["openai"])


def _window(entry: dict[str, Any]) -> int | None:
    said: Any = entry.get("meta")
    meta = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    for value in (entry.get("max_model_len"), meta.get("n_ctx"), meta.get("n_ctx_train"), entry.get("context_length")):
        if isinstance(value, int) and value > 0:
            return value
    return None


def _entries(body: Any) -> list[dict[str, Any]]:
    data = cast("dict[str, Any]", body).get("data") if isinstance(body, dict) else None
    listed = cast("list[Any]", data) if isinstance(data, list) else []
    return [cast("dict[str, Any]", entry) for entry in listed if isinstance(entry, dict) and "id" in entry]


async def detect(http: AsyncClient, url: str, *, headers: dict[str, str], seconds: float = 10.0) -> FoundServer:
    """Ask a server what it is and which models it has.

    Raises:
        ServerUnreachable: nothing answers there.
        ServerRefused: the key is wrong, or it is no model server.
        ServerOverloaded: it is not ready.
    """
    status, body = await get_json(http, f"{url}/models", headers=headers, seconds=seconds)
    if status in (401, 403):
        raise ServerRefused(
            f"{url} does not accept the key" if "authorization" in headers else f"{url} wants a key",
            cure="Set QIANDA_API_KEY (or DASHSCOPE_API_KEY for Model Studio; keys belong to a region)",
            status=status,
        )
    entries = _entries(body)
    if not entries and status == 503:
        raise ServerOverloaded(
            f"{url} is not ready (HTTP 503)", cure="Try again when it has loaded its model", status=status
        )
    if not entries and status != 200 and not (urlsplit(url).hostname or "").endswith("aliyuncs.com"):
        status, _ = await get_json(http, f"{url}/chat/completions", headers=headers, seconds=seconds)
        if status == 404:
            raise not_a_model_server(url)
    if not entries and status == 200 and not isinstance(body, dict):
        raise not_a_model_server(url)
    models = tuple(FoundModel(str(entry["id"]), _window(entry)) for entry in entries)
    return FoundServer(url, _kind_of(url, entries), models)


def not_a_model_server(url: str) -> ServerRefused:
    """The error for something else that answers there."""
    return ServerRefused(
        f"What answers at {url} is not a model server", cure="Check host, port and path; most end in /v1", status=404
    )
