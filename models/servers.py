"""Kinds of model servers (data in servers.toml), and what a server's name or address means."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from qianda.models.errors import ConfigurationError, ServerRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerKind:
    """One kind of server.

    Args:
        kind: its key in the table.
        title: its name, for people.
        port: where it listens by default, 0 when it has no local default.
        more_ports: where it also tends to listen.
        path: the path of its base URL.
        url: its base URL when that is fixed.
        hosts: ends of the host names that mean this kind.
        model: the model to use when none is named.
        owned_by: what its ``/v1/models`` says in ``owned_by``.
        ask: a path of its own, beside the base URL, "" when there is none.
        has: the field by which the answer of ``ask`` tells this kind.
        version: the field in which that answer says the version.
        thinking: how the thinking switch is sent: ``kwargs`` (``chat_template_kwargs``), ``top`` (``enable_thinking``),
            ``effort`` (``reasoning_effort``), or "" when there is none.
        budget: the field in which it takes a bound of the reasoning in tokens, or "".
        efforts: the effort levels that it takes, whatever the model; empty for the model's own.
        continues: how a reply goes on after its reasoning: ``flags`` (``continue_final_message``), ``prefill`` (a last
            message goes on), ``reasoning`` (also one that has nothing but reasoning), or "" when it cannot.
        reasoning: the message field in which reasoning is resent, or "" when none is read.
        object_arguments: calls in the history have their arguments as an object, as the template reads them unparsed.
        top_k: the request's field for it, or "".
        repetition_penalty: the request's field for it, or "".
        tool_choice: what it takes there; others are refused, or mean ``auto``.
        parallel: several calls in one reply must be allowed with ``parallel_tool_calls``.
        tokenize: what ``/tokenize`` beside the base URL takes: ``messages`` (and tools), ``content`` (a text), or ""
            where there is no such address.
        structured: how a reply is held to a schema: ``json_schema`` or ``json_value`` (in ``response_format``),
            ``json_object`` (some JSON, no schema), ``format`` or ``guided_json`` (fields of these names), or "" when it
            cannot be.
        older_structured: how its older versions are, "" when not at all or the same way.
        structured_thinking: it can be while the model thinks.
        tool_media: tool results may hold images; else they follow in a user message.
        audio: what ``input_audio`` holds: ``raw`` base64 or a ``url``.
        frames: a video may be a list of images.
        media_bytes: bound of one image, audio or video in base64, 0 for none.
        images: bound of the images in one request, 0 for none.
        tell_output: it may cut a reply short unless it is told how long it may be: ``always``, ``window`` (where its
            context window is known), or "".
    """

    kind: str
    title: str
    port: int = 0
    more_ports: tuple[int, ...] = ()
    path: str = "/v1"
    url: str = ""
    hosts: tuple[str, ...] = ()
    model: str = ""
    owned_by: tuple[str, ...] = ()
    ask: str = ""
    has: str = ""
    version: str = "version"
    thinking: Literal["kwargs", "top", "effort", ""] = ""
    budget: str = ""
    efforts: tuple[str, ...] = ()
    continues: Literal["flags", "prefill", "reasoning", ""] = ""
    reasoning: str = "reasoning_content"
    object_arguments: bool = False
    top_k: str = ""
    repetition_penalty: str = ""
    tool_choice: tuple[str, ...] = ("auto",)
    parallel: bool = False
    tokenize: Literal["messages", "content", ""] = ""
    structured: Literal["json_schema", "json_value", "json_object", "format", "guided_json", ""] = ""
    older_structured: Literal["guided_json", ""] = ""
    structured_thinking: bool = False
    tool_media: bool = False
    audio: Literal["raw", "url"] = "raw"
    frames: bool = False
    media_bytes: int = 0
    images: int = 0
    tell_output: Literal["always", "window", ""] = ""

    @property
    def base_url(self) -> str:
        """Where it is by default, or ""."""
        return self.url or (f"http://127.0.0.1:{self.port}{self.path}" if self.port else "")

    @property
    def local_urls(self) -> list[str]:
        """Where it may be on this machine."""
        ports = (self.port, *self.more_ports) if self.port else ()
        return [f"http://127.0.0.1:{port}{self.path}" for port in ports]

    @property
    def is_model_studio(self) -> bool:
        """Whether it is Model Studio, in whatever region and plan."""
        return self.kind.startswith("modelstudio")


@cache
def server_kinds() -> dict[str, ServerKind]:
    """The table, by kind."""
    rows = tomllib.loads(Path(__file__).with_name("servers.toml").read_text(encoding="utf-8"))
    kinds: dict[str, ServerKind] = {}
    for kind, row in rows.items():
        like = kinds.get(row.pop("like", ""))
        lists = {name: tuple(cast("list[Any]", value)) for name, value in row.items() if isinstance(value, list)}
        kinds[kind] = replace(like, kind=kind, **row | lists) if like else ServerKind(kind=kind, **row | lists)
    return kinds


# Other names of kinds, without marks; the kinds' own names are known by themselves.
_NAMES = {
    "bailian": "modelstudio-cn",
    "dashscope": "modelstudio",
    "llamaserver": "llamacpp",
    "mlxlm": "mlx",
    "ovms": "openvino",
    "tensorrtllm": "tensorrt",
    "trtllm": "tensorrt",
}


def named_kind(server: str) -> ServerKind | None:
    """The kind that a server's name means, however it is spelt; None for an address."""
    kinds = server_kinds()
    names = {kind.replace("-", ""): row for kind, row in kinds.items()} | {
        name: kinds[kind] for name, kind in _NAMES.items()
    }
    return names.get(server.strip().lower().translate({ord(mark): None for mark in ". -_"}))


def kind_at(url: str) -> ServerKind | None:
    """The kind that a URL alone tells, None when the server must be asked."""
    parts = urlsplit(url)
    host = f".{parts.hostname or ''}"
    ends = [(len(end), row) for row in server_kinds().values() for end in row.hosts if host.endswith(f".{end}")]
    if ends:
        return max(ends, key=lambda found: found[0])[1]
    return server_kinds()["modelstudio"] if parts.path.rstrip("/").endswith("/compatible-mode/v1") else None


def key_cure(url: str) -> str:
    """What to do when the key is not accepted there."""
    kind = kind_at(url)
    if kind is None or not kind.is_model_studio:
        return "Check the key (QIANDA_API_KEY)"
    others = [row.kind for row in server_kinds().values() if row.is_model_studio and row.url and row is not kind]
    return (
        f"Check DASHSCOPE_API_KEY; keys belong to a region, and this is {kind.title}. "
        f"The others: --server {', '.join(others)}"
    )


def base_url(server: str) -> str:
    """The base URL that a server's name or address means.

    Args:
        server: like ``ollama``, ``localhost:8000`` or ``http://host/v1``.

    Raises:
        ConfigurationError: it is neither a known name nor an address.
    """
    server = server.strip()
    known = named_kind(server)
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
        names = ", ".join(sorted(kind for kind, row in server_kinds().items() if row.base_url))
        raise ConfigurationError(
            f"{server!r} is neither a server's name nor its address",
            cure=f"Use an address like http://127.0.0.1:8000/v1, or one of: embedded, {names}",
        )
    return url.rstrip("/") if urlsplit(url).path.strip("/") else url.rstrip("/") + "/v1"


def not_a_model_server(url: str) -> ServerRefused:
    """The error for something else that answers there."""
    return ServerRefused(
        f"What answers at {url} is not a model server", cure="Check host, port and path; most end in /v1", status=404
    )
