"""Web search services behind the tool ``web_search``: SearXNG, Tavily, Brave, Serper, and ddgs, which needs no key."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from qianda.models.errors import ConfigurationError, ToolError
from qianda.tools.threads import run_in_thread

SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Found:
    """One search result."""

    title: str
    url: str
    text: str


@dataclass(frozen=True, slots=True)
class Service:
    """A search service over HTTP: how it is asked, and where its results stand.

    Args:
        name: as users choose it.
        url: its address; "" where users give their own.
        variable: the environment variable of its key, or "".
        method: of HTTP.
        header: of the key, where it is not ``key_prefix`` of ``authorization``.
        key_prefix: before the key.
        fields: from query and count to the parameters (GET) or the JSON body (POST).
        path: to the list of results in the answer.
        names: the fields of a result that are its title, address and text.
    """

    name: str
    url: str
    variable: str
    method: Literal["GET", "POST"]
    fields: Callable[[str, int], dict[str, Any]]
    path: tuple[str, ...]
    names: tuple[str, str, str]
    header: str = "authorization"
    key_prefix: str = ""


# Sources: the services' own references: docs.tavily.com, api-dashboard.search.brave.com, serper.dev, docs.searxng.org.
TAVILY = Service(
    "tavily", "https://api.tavily.com/search", "TAVILY_API_KEY", "POST",
    lambda query, count: {"query": query, "max_results": count}, ("results",), ("title", "url", "content"),
    key_prefix="Bearer ",
)  # fmt: skip
BRAVE = Service(
    "brave", "https://api.search.brave.com/res/v1/web/search", "BRAVE_API_KEY", "GET",
    lambda query, count: {"q": query, "count": count, "text_decorations": "false"}, ("web", "results"),
    ("title", "url", "description"), header="x-subscription-token",
)  # fmt: skip
SERPER = Service(
    "serper", "https://google.serper.dev/search", "SERPER_API_KEY", "POST",
    lambda query, count: {"q": query, "num": count}, ("organic",), ("title", "link", "snippet"), header="x-api-key",
)  # fmt: skip
SEARXNG = Service(
    "searxng", "", "", "GET", lambda query, _: {"q": query, "format": "json"}, ("results",), ("title", "url", "content")
)
KEYED = {service.name: service for service in (TAVILY, BRAVE, SERPER)}
CHOICES = f"{', '.join(KEYED)}, ddgs, or the URL of a SearXNG"


async def search(query: str, count: int, *, wanted: str = "", workspace: Path) -> tuple[str, list[Found]]:
    """Search the web by the service that is chosen, or the first that is there.

    Args:
        query: what is searched.
        count: how many results at most.
        wanted: a service's name or a SearXNG's URL; by default ``QIANDA_SEARCH``, else the first with a key, else ddgs.
        workspace: whose configuration may hold keys.

    Returns:
        The service's name, and results.

    Raises:
        ToolError: there is none, or it fails.
    """
    wanted = wanted or os.environ.get("QIANDA_SEARCH", "")
    if wanted.startswith(("http://", "https://")):
        return "searxng", await _ask(SEARXNG, f"{wanted.rstrip('/').removesuffix('/search')}/search", "", query, count)
    keys = _keys(workspace)
    for service in KEYED.values():
        if wanted == service.name and service.name not in keys:
            raise ToolError(f"web search by {wanted} needs a key; tell the user to set {service.variable}")
        if service.name in keys and wanted in ("", service.name):
            return service.name, await _ask(service, service.url, keys[service.name], query, count)
    if wanted not in ("", "ddgs"):
        raise ToolError(f'there is no web search "{wanted}"; tell the user: QIANDA_SEARCH is {CHOICES}')
    if find_spec("ddgs") is None:
        variables = ", ".join(service.variable for service in KEYED.values())
        raise ToolError(
            "no web search is set up; tell the user: pip install 'qianda[web]' for one without a key, "
            f"or set QIANDA_SEARCH to a SearXNG's URL, or one of {variables}"
        )
    return "ddgs", await _ddgs(query, count)


def _keys(workspace: Path) -> dict[str, str]:
    """Keys by service: of the environment, else of the configuration's table ``api_keys``."""
    from qianda.models.config import load_config

    configured: Mapping[str, str] = {}
    with suppress(ConfigurationError):
        configured = load_config(workspace).api_keys
    found = {name: os.environ.get(service.variable) or configured.get(name) for name, service in KEYED.items()}
    return {name: key for name, key in found.items() if key}


async def _ask(service: Service, url: str, key: str, query: str, count: int) -> list[Found]:
    """Ask a service over HTTP.

    Raises:
        ToolError: it cannot be reached, refuses, or answers with something else.
    """
    import httpx2

    headers = {"accept": "application/json"} | ({service.header: service.key_prefix + key} if key else {})
    fields = service.fields(query, count)
    content: dict[str, Any] = {"params": fields} if service.method == "GET" else {"json": fields}
    try:
        async with httpx2.AsyncClient(timeout=SECONDS) as http:
            response = await http.request(service.method, url, headers=headers, **content)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ToolError(f"web search: {service.name} cannot be reached: {error or type(error).__name__}") from None
    if response.status_code in (401, 403):
        hint = (
            f"refuses the key in {service.variable}"
            if key
            else 'refuses JSON: its settings.yml needs "formats: [json]"'
        )
        raise ToolError(f"web search: {service.name} {hint}")
    if response.status_code != 200:
        raise ToolError(f"web search: {service.name} answers with HTTP status {response.status_code}")
    try:
        results: Any = response.json()
        for step in service.path:
            results = results.get(step, {})
        title, address, text = service.names
        return [
            Found(str(item.get(title) or ""), str(item[address]), str(item.get(text) or ""))
            for item in list(results)[:count]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ToolError(f"web search: {service.name} gave an answer that is no search result") from None


async def _ddgs(query: str, count: int) -> list[Found]:
    """Several engines without a key.

    Raises:
        ToolError: none answers.
    """
    ddgs: Any = import_module("ddgs")  # not wholly typed
    from ddgs.exceptions import DDGSException

    def ask() -> list[dict[str, Any]]:
        return list(ddgs.DDGS(timeout=int(SECONDS)).text(query, max_results=count))

    try:
        results = await run_in_thread(ask, name="web search")
    except DDGSException as error:
        if "No results" in str(error):
            return []
        raise ToolError(f"web search: ddgs fails: {str(error)[:150]}; a service with a key is more reliable") from None
    return [Found(str(item.get("title", "")), str(item["href"]), str(item.get("body", ""))) for item in results]
