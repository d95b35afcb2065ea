"""The model servers that can be chosen in the chat, with their models: asked side by side, told as they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qianda.models.errors import QiandaError
from qianda.models.servers import ServerKind, base_url, named_kind, server_kinds
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.models.config import Config
    from qianda.models.detection import FoundModel
    from qianda.tui.chat import Chat

SECONDS = 3.0
"""That a server may take to tell its models."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A model at a server.

    Args:
        url: the server's address; "" for the engine in this process.
        kind: its kind.
        model: its name there.
        window: in tokens, None where the server does not say.
        server: what ``Chat.change`` has to be told; None for the server in use.
        problem: why the server offers nothing; ``model`` is "" then.
    """

    url: str
    kind: ServerKind
    model: str
    window: int | None = None
    server: str | None = None
    problem: str = ""

    @property
    def title(self) -> str:
        """The server, for a person."""
        return f"{self.kind.title} · {self.url}" if self.url else self.kind.title


async def choices(chat: Chat) -> AsyncGenerator[tuple[int, list[Choice]]]:
    """What can be chosen: the server in use, those of the settings, those of this machine, the embedded engine.

    Args:
        chat: whose server and settings.

    Yields:
        The place of a group among the others, and the group; as they come, each within ``SECONDS``.
    """
    from qianda.models.config import load_config
    from qianda.tools.trust import is_trusted

    workspace = chat.workspace
    config = await asyncio.to_thread(lambda: load_config(workspace, trusted=is_trusted(workspace)))
    names = list(dict.fromkeys(filter(None, [config.server, *config.api_keys])))
    asked: list[Coroutine[Any, Any, list[Choice]]] = [_in_use(chat)]
    asked += [_named(name, config) for name in names]
    asked += [_local(), _embedded()]

    async def numbered(at: int, work: Coroutine[Any, Any, list[Choice]]) -> tuple[int, list[Choice]]:
        return at, await work

    tasks = [asyncio.create_task(numbered(at, work)) for at, work in enumerate(asked)]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()


def merged(groups: dict[int, list[Choice]]) -> list[Choice]:
    """The groups in their order; a server that was found twice stands where it came first."""
    kept: dict[str, int] = {}
    for at in sorted(groups):
        for choice in groups[at]:
            kept.setdefault(_place(choice), at)
    return [choice for at in sorted(groups) for choice in groups[at] if kept[_place(choice)] == at]


def _place(choice: Choice) -> str:
    return choice.url.replace("//localhost", "//127.0.0.1") or choice.kind.kind


async def _in_use(chat: Chat) -> list[Choice]:
    """The server in use, with all its models."""
    endpoint = chat.endpoint
    if endpoint is None:
        return []
    server = endpoint.url if endpoint.found else None
    own = Choice(endpoint.url, endpoint.kind, endpoint.model, endpoint.window, server)
    if endpoint.engine is not None:
        return [Choice("", endpoint.kind, endpoint.model, endpoint.window, "embedded")]
    if endpoint.transport is not None:
        return [own]
    others = await _listed(endpoint.url, endpoint.kind, endpoint.api_key, server)
    named = [choice for choice in others if choice.model]
    return named if any(choice.model == own.model for choice in named) else [own, *named]


async def _named(name: str, config: Config) -> list[Choice]:
    """A server of the settings."""
    try:
        url = base_url(name)
    except QiandaError:  # such as embedded, which is asked for in another way
        return []
    kind = named_kind(name) or server_kinds()["openai"]
    return await _listed(url, kind, config.key_for(name) or config.key_for(url), name)


async def _local() -> list[Choice]:
    """What answers on the usual ports of this machine."""
    from qianda.models.resolve import probe_local

    return [
        _of(server.url, server.kind, model, server.url) for server in await probe_local() for model in server.models
    ]


async def _embedded() -> list[Choice]:
    """The engine in this process, where it is installed and its model is here."""
    from qianda.models.embedded import DEMO_MODEL, available, weights_present

    if weights_present() and await asyncio.to_thread(available):
        return [Choice("", server_kinds()["embedded"], DEMO_MODEL, server="embedded")]
    return []


async def _listed(url: str, kind: ServerKind, api_key: str | None, server: str | None) -> list[Choice]:
    """The models of a server, or why it tells none."""
    from qianda.models.detection import detect
    from qianda.models.http import open_http
    from qianda.models.resolve import bearer

    try:
        async with asyncio.timeout(SECONDS), open_http(url) as http:
            found = await detect(http, url, headers=bearer(api_key), seconds=SECONDS, expected=kind)
    except TimeoutError:
        return [Choice(url, kind, "", None, server, t("no answer within {count} s", count=int(SECONDS)))]
    except QiandaError as error:
        return [Choice(url, kind, "", None, server, str(error))]
    if not found.models and found.kind.is_model_studio:  # it serves more than it lists
        from qianda.models.catalog.entries import table

        return [Choice(url, found.kind, model.name, model.window, server) for model in table(("modelstudio",))]
    return [_of(url, found.kind, model, server) for model in found.models]


def _of(url: str, kind: ServerKind, model: FoundModel, server: str | None) -> Choice:
    return Choice(url, kind, model.id, model.window, server)


def in_use(chat: Chat, choice: Choice) -> bool:
    """Whether it is the model in use."""
    endpoint = chat.endpoint
    if endpoint is None or choice.model != endpoint.model:
        return False
    return endpoint.engine is not None if not choice.url else choice.url == endpoint.url


async def find_model(chat: Chat, name: str) -> Choice | None:
    """The first model of that name, however it is written: at the server in use, then elsewhere.

    Args:
        chat: whose servers.
        name: the model's, or a part of it that no other has.
    """
    from qianda.models.resolve import is_model

    groups: dict[int, list[Choice]] = {}
    async for at, group in choices(chat):
        groups[at] = group
        if at == 0 and (here := _called(group, name)) is not None:
            return here
    every = [choice for choice in merged(groups) if choice.model]
    parts = [choice for choice in every if name.lower() in choice.model.lower()]
    meant = next((choice for choice in every if is_model(choice.model, name)), None)
    return _called(every, name) or meant or (parts[0] if len({choice.model for choice in parts}) == 1 else None)


def _called(group: list[Choice], name: str) -> Choice | None:
    return next((choice for choice in group if choice.model.lower() == name.lower()), None)
