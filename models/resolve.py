"""Which server and which model, and why: explicit → environment → configuration → a running local server → embedded."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qianda.models.config import Config, load_config
from qianda.models.detection import FoundModel, FoundServer, detect
from qianda.models.errors import ConfigurationError, NoServer, QiandaError, ServerUnreachable
from qianda.models.family import find_family
from qianda.models.http import is_silence, open_http
from qianda.models.ollama import look
from qianda.models.servers import ServerKind, base_url, kind_at, named_kind, server_kinds

if TYPE_CHECKING:
    import httpx2

    from qianda.models.embedded import EmbeddedServer
    from qianda.models.http import AsyncClient

PROBE_SECONDS = 0.3
ASK_SECONDS = 10.0
LOOK_SECONDS = 1.0
_AGENTS_MODEL = ", and has the agent's model"
BACKEND = "qwen-agent:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The chosen server and model.

    Args:
        url: base URL, up to ``/v1``; "" for an embedded engine that has not started.
        kind: the server's kind.
        model: the model's id at that server.
        why: what decided, for a person.
        api_key: sent as bearer token; never shown.
        window: context window in tokens, None when the server does not say.
        num_ctx: the window that Ollama is asked for, None where its own is large enough.
        fingerprint: changes with the model behind the name, as far as the server lets on.
        demo: the labelled demo model, not a Qwen.
        found: nobody named the server, it answered on this machine.
        engine: the embedded engine, to be closed after use.
        transport: answers in the place of the network.
    """

    url: str
    kind: ServerKind
    model: str
    why: str
    api_key: str | None = field(default=None, repr=False)
    window: int | None = None
    num_ctx: int | None = None
    fingerprint: str = field(default="", repr=False)
    demo: bool = False
    found: bool = False
    engine: EmbeddedServer | None = None
    transport: httpx2.AsyncBaseTransport | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """The model, for a person: a demo model is called one wherever it shows."""
        return f"{self.model} (demo model, not a Qwen)" if self.demo else self.model

    @property
    def title(self) -> str:
        """The server, for a person."""
        return self.kind.title if self.engine else f"{self.kind.title} at {self.url}"


def _quiet(text: str) -> None:
    """Notices that nobody reads."""


async def resolve(
    *,
    server: str | None = None,
    model: str | None = None,
    api_key: str | None = None,
    config: Config | None = None,
    http: AsyncClient | None = None,
    download: bool = False,
    notify: Callable[[str], None] = _quiet,
    wish: str | None = None,
) -> Endpoint:
    """Choose the server and the model; asks the server what it is.

    Args:
        server: address or name; ``embedded`` for the engine in this process, ``qwen-agent:TYPE`` for a backend of
            Qwen-Agent.
        model: the model's id, or the path of a ``.gguf`` file for the embedded engine.
        api_key: key for an explicit server.
        config: configuration files and environment; by default those of the current folder.
        http: a client to ask with; else one is opened for the occasion.
        download: whether the demo model may be fetched when nothing else is there.
        notify: told about slow steps.
        wish: a model to take where the server has it and nobody named another for this very run.

    Raises:
        ConfigurationError: nothing is there, or the settings contradict each other.
        ServerError: the chosen server does not answer, or refuses.
    """
    config = config or load_config(Path.cwd())
    chosen, why = _choose(server, model, config)
    wanted = model or _configured_model(chosen, config)
    if model or config.origins.get("model", "").startswith("environment"):
        wish = None
    if chosen is not None and chosen.lower() == "embedded":
        return await _embedded(wanted, why, download=download or bool(server), notify=notify)
    if chosen is not None and chosen.startswith(BACKEND):
        from qianda.models.qwen_agent import qwen_agent_server

        settings = {"model_type": chosen.removeprefix(BACKEND), "model": wanted, "api_key": _sendable(api_key)}
        return qwen_agent_server({name: value for name, value in settings.items() if value}, why=why)
    if chosen is None:
        found = await probe_local(http)
        if not found:
            _need_embedded(wanted, download=download)
            return await _embedded(wanted, "no model server answers on this machine", download=download, notify=notify)
        best = next((server for server in found if _wished(server, wish)), None) or _best(found, wanted)
        wished = _wished(best, wish)
        why = f"it answers on this machine ({best.url}){_AGENTS_MODEL if wished else ''}"
        return await _measured(http, replace(_pick(best, wished or wanted, why, None), found=True))
    url = base_url(chosen)
    key = _sendable(api_key) or config.key_for(chosen) or config.key_for(url)
    there = await _ask_named(http, url, key, expected=named_kind(chosen), patient=wanted is not None)
    wished = _wished(there, wish)
    why += _AGENTS_MODEL if wished else ""
    return await _measured(http, _pick(there, wished or wanted or there.kind.model or None, why, key))


def _choose(server: str | None, model: str | None, config: Config) -> tuple[str | None, str]:
    """The server's name or address, None when nothing names one; and why."""
    origin = config.origins.get("server", "")
    if server:
        return server, "you named the server"
    if _is_file(model):
        return "embedded", "you named a model file"
    model_origin = config.origins.get("model", "") if _is_file(config.model) else ""
    if config.server and origin.startswith("environment"):
        return config.server, f"{origin.removeprefix('environment ')} names it"
    if model_origin.startswith("environment"):
        return "embedded", f"{model_origin.removeprefix('environment ')} names a model file"
    if "DASHSCOPE_API_KEY" in config.origins.get("api_keys", ""):
        return "modelstudio", "DASHSCOPE_API_KEY is set"
    if config.server:
        return config.server, f"{origin} names it"
    if model_origin:
        return "embedded", f"{model_origin} names a model file"
    return None, ""


def _configured_model(chosen: str | None, config: Config) -> str | None:
    """The model of the configuration; one that a file names beside a server is meant for that server alone."""
    if config.model and config.origins.get("model", "").startswith("environment"):
        return config.model
    return config.model if config.server is None or chosen == config.server else None


def _is_file(model: str | None) -> bool:
    return model is not None and model.endswith(".gguf")


def _sendable(api_key: str | None) -> str | None:
    """An explicit key, without the line end of the file that it was read from.

    Raises:
        ConfigurationError: it cannot stand in an HTTP header.
    """
    key = (api_key or "").strip()
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ConfigurationError("The API key has characters that no key has", cure="Copy it again")
    return key or None


def bearer(api_key: str | None) -> dict[str, str]:
    """The headers of a request."""
    headers = {"content-type": "application/json"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    return headers


async def _measured(http: AsyncClient | None, endpoint: Endpoint) -> Endpoint:
    """The endpoint with the window that Ollama really gives its model, and the one to ask for in its place."""
    if endpoint.kind.kind != "ollama":
        return endpoint
    async with AsyncExitStack() as stack:
        http = http or await stack.enter_async_context(open_http(endpoint.url))
        there = await look(http, endpoint.url, endpoint.model, headers=bearer(endpoint.api_key), seconds=LOOK_SECONDS)
    return replace(endpoint, window=there.wanted or there.window, num_ctx=there.wanted)


async def _ask_named(
    http: AsyncClient | None, url: str, api_key: str | None, *, expected: ServerKind | None, patient: bool
) -> FoundServer:
    """Ask a server that somebody named; with a model's name too, one that is too busy to answer is believed in."""
    async with AsyncExitStack() as stack:
        http = http or await stack.enter_async_context(open_http(url))
        try:
            return await detect(http, url, headers=bearer(api_key), seconds=ASK_SECONDS, expected=expected)
        except ServerUnreachable as error:
            if not (patient and is_silence(error.__cause__)):
                raise
            return FoundServer(url, kind_at(url) or expected or server_kinds()["openai"], ())


async def probe_local(http: AsyncClient | None = None) -> list[FoundServer]:
    """The model servers that answer on their default ports of this machine, asked in parallel within 300 ms."""

    async def probe(url: str) -> FoundServer | None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                found = await detect(client, url, headers=bearer(None), seconds=PROBE_SECONDS)
        except (QiandaError, TimeoutError):
            return None
        return found if found.models else None

    urls = list(dict.fromkeys(url for kind in server_kinds().values() for url in kind.local_urls))
    async with AsyncExitStack() as stack:
        # One client for all, made before the clock starts: importing the HTTP package may take as long as the probe.
        client = http or await stack.enter_async_context(open_http(urls[0]))
        found = [server for server in await asyncio.gather(*map(probe, urls)) if server]
    # One that answers under two paths is one server.
    return list({urlsplit(server.url).port: server for server in reversed(found)}.values())[::-1]


def _best(servers: list[FoundServer], wanted: str | None) -> FoundServer:
    """Of several servers the first that has the wanted model, or a Qwen when none is named, or else the first."""

    def fits(server: FoundServer) -> bool:
        names = [model.id for model in server.models]
        return bool(_same_model(names, wanted)) if wanted else any(map(_chats, names))

    return next(filter(fits, servers), servers[0])


def _same_model(names: Iterable[str], wanted: str) -> list[str]:
    """The names that mean the wanted model: publisher and case do not matter."""
    bare = wanted.lower().rsplit("/", 1)[-1]
    return [name for name in names if name.lower().rsplit("/", 1)[-1] == bare]


def _wished(server: FoundServer, wish: str | None) -> str | None:
    """The server's name for a model that is wished for, None where it has none."""
    if wish is None:
        return None
    if server.kind.is_model_studio and not server.models:  # it serves more than it lists
        from qianda.models.catalog.entries import understand

        return wish if understand(wish).model else None
    return next((found.id for found in server.models if is_model(found.id, wish)), None)


def is_model(name: str, wish: str) -> bool:
    """Whether a server's name means a model, however the two are written: ``qwen3:8b`` is Qwen3-8B."""
    if _same_model([name], wish):
        return True
    from qianda.models.catalog.entries import understand

    one, other = understand(name), understand(wish)
    return one.model is not None and one.model is other.model and not (one.derived or other.derived)


def _chats(name: str) -> bool:
    """Whether it is a Qwen that answers in text, rather than one that embeds, ranks, draws or speaks."""
    return find_family(name).qwen and not re.search(r"embed|rerank|guard|image|tts|asr", name.lower())


def _pick(found: FoundServer, wanted: str | None, why: str, api_key: str | None) -> Endpoint:
    ids = {model.id: model for model in found.models}
    if wanted is None:
        if not ids:
            raise ConfigurationError(f"{found.url} does not list its models", cure="Name one with --model")
        qwen = next(filter(_chats, ids), None)
        model = qwen or next(iter(ids))
        which = "the first Qwen" if qwen else "the first, as none is a Qwen,"
        why += ", its only model" if len(ids) == 1 else f", {which} of its {len(ids)} models"
    else:
        same = _same_model(ids, wanted)
        model = wanted if wanted in ids or len(same) != 1 else same[0]
    listed = ids.get(model) or FoundModel(model, None)
    return Endpoint(
        url=found.url,
        kind=found.kind,
        model=model,
        why=why,
        api_key=api_key,
        window=listed.window,
        fingerprint=listed.fingerprint,
    )


def _need_embedded(model: str | None, *, download: bool) -> None:
    """See that the embedded engine can stand in where no model server is.

    Raises:
        NoServer: it cannot.
    """
    from qianda.models import embedded

    start = "Start one and name it with --server"
    if model not in (None, "demo", embedded.DEMO_MODEL):
        raise NoServer(f"No model server answers on this machine, so there is no {model!r}", cure=start)
    if not embedded.available():
        raise NoServer(
            "No model server answers on this machine, and the embedded engine is not installed",
            cure=f"{start}, or: pip install 'qianda[local]'",
        )
    if not download and not embedded.weights_present():
        raise NoServer(
            "No model server answers on this machine, and the demo model is not here yet",
            cure=f"{start}, or fetch the demo model: qianda models pull demo",
        )


async def _embedded(model: str | None, why: str, *, download: bool, notify: Callable[[str], None]) -> Endpoint:
    from qianda.models import embedded

    is_file = _is_file(model)
    if not is_file and model not in (None, "demo", embedded.DEMO_MODEL):
        raise ConfigurationError(
            f"The embedded engine has no model {model!r}",
            cure="Name a .gguf file, leave the model out for the demo model, or name a server that has it",
        )
    engine = await embedded.start_embedded(model if is_file else None, download=download, notify=notify)
    if not is_file:
        why += "; connect a real Qwen with --server URL (qianda doctor helps)"
    return Endpoint(
        url=engine.url,
        kind=server_kinds()["embedded"],
        model=engine.model,
        why=why,
        api_key=engine.api_key,
        window=engine.window,
        demo=engine.demo,
        engine=engine,
    )
