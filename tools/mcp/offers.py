"""What MCP servers offer beside tools: resources, templates of resources, prompts, and completions of both.

Functions of an ``MCPToolset`` whose servers were started; all raise ``ToolError`` in one sentence.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar, cast

from qianda.models.errors import ToolError
from qianda.models.messages import (
    AssistantMessage,
    Content,
    MediaPart,
    Message,
    Part,
    TextPart,
    UserMessage,
    content_text,
)
from qianda.tools.context import Context
from qianda.tools.mcp.content import content_of, joined, resource_part, visible
from qianda.tools.results import cap_content
from qianda.tools.tool import DEFAULT_MAX_OUTPUT

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import PaginatedResult, Prompt, PromptArgument, Resource, ResourceTemplate

    from qianda.tools.mcp.connection import MCPConnection
    from qianda.tools.mcp.toolset import MCPToolset

Kind = Literal["resource", "template", "prompt"]
Page = TypeVar("Page", bound="PaginatedResult")
_MAX_PAGES = 100  # of one list; one without end is cut here
_MENTION = re.compile(r"(?<![\w@])@([A-Za-z0-9_.-]+):(\S*[^\s.,;:!?)\]}>\"'])")


@dataclass(frozen=True, slots=True)
class Offer:
    """A resource, a template of resources, or a prompt.

    Args:
        server: whose it is.
        kind: which of these.
        name: a prompt's name; the address of a resource, or its template: ``file:///{path}``.
        title: for people.
        description: what it is.
        arguments: a prompt's arguments, and whether they have to be given.
    """

    server: str
    kind: Kind
    name: str
    title: str = ""
    description: str = ""
    arguments: tuple[tuple[str, bool], ...] = ()

    @property
    def line(self) -> str:
        """One line about it."""
        about = ": ".join(dict.fromkeys(filter(None, [self.title, " ".join(self.description.split())])))
        return f"{self.server} {self.name}" + (f" ({about[:200]})" if about else "")


async def list_resources(servers: MCPToolset, server: str | None = None) -> list[Offer]:
    """The resources and templates of resources.

    Args:
        servers: the started servers.
        server: of this one only.

    Raises:
        ToolError: a server failed, or there is none of this name.
    """
    offers: list[Offer] = []
    for each in _chosen(servers, server):
        name = each.server.name
        if each.has_resources:
            for found in await _pages(each, "its resources", lambda c, at: c.list_resources(cursor=at)):
                offers += [_offer(name, "resource", item.uri, item) for item in found.resources]
            with suppress(ToolError):  # servers that have none may not know the word
                for page in await _pages(each, "its templates", lambda c, at: c.list_resource_templates(cursor=at)):
                    offers += [_offer(name, "template", item.uri_template, item) for item in page.resource_templates]
    return offers


async def read_resource(servers: MCPToolset, server: str, uri: str, *, context: Context | None = None) -> Content:
    """Read a resource.

    Args:
        servers: the started servers.
        server: whose it is.
        uri: its address.
        context: of the call that reads it; takes what the server asks the user.

    Raises:
        ToolError: it cannot be read.
    """
    connection = servers.connection(server)
    async with _clock(connection, uri):
        result = await connection.ask(uri, lambda client: client.read_resource(uri), context=context)
    return joined([resource_part(item) for item in result.contents])


async def attach(servers: MCPToolset, prompt: Content) -> Content:
    """A prompt with the resources that it mentions as ``@server:uri``, after its text.

    Args:
        servers: the started servers; what looks like a mention of any other is left as it is.
        prompt: what the user wrote.

    Raises:
        ToolError: a resource that is mentioned cannot be read.
    """
    known = {each.server.name for each in servers.connections}
    mentions = [found for found in dict.fromkeys(_MENTION.findall(content_text(prompt))) if found[0] in known]
    if not mentions:
        return prompt
    parts: list[Part] = [TextPart(prompt)] if isinstance(prompt, str) else list(prompt)
    for server, uri in mentions:
        content = cap_content(await read_resource(servers, server, uri), DEFAULT_MAX_OUTPUT)
        inside = [TextPart(content)] if isinstance(content, str) else content
        parts += [TextPart(f"<resource server={server!r} uri={uri!r}>"), *inside, TextPart("</resource>")]
    if any(isinstance(part, MediaPart) for part in parts):
        return tuple(parts)
    return "\n".join(part.text for part in parts if isinstance(part, TextPart))


async def list_prompts(servers: MCPToolset, server: str | None = None) -> list[Offer]:
    """The prompts.

    Args:
        servers: the started servers.
        server: of this one only.

    Raises:
        ToolError: a server failed, or there is none of this name.
    """
    offers: list[Offer] = []
    for each in _chosen(servers, server):
        if each.listing.capabilities is not None and each.listing.capabilities.prompts is not None:
            for found in await _pages(each, "its prompts", lambda c, at: c.list_prompts(cursor=at)):
                offers += [_offer(each.server.name, "prompt", item.name, item) for item in found.prompts]
    return offers


async def get_prompt(
    servers: MCPToolset, server: str, name: str, arguments: Mapping[str, str] | None = None
) -> list[Message]:
    """The messages of a prompt.

    Args:
        servers: the started servers.
        server: whose it is.
        name: the prompt's.
        arguments: its arguments.

    Raises:
        ToolError: the server has none of this name, or an argument is missing.
    """
    connection = servers.connection(server)
    async with _clock(connection, name):
        result = await connection.ask(name, lambda client: client.get_prompt(name, dict(arguments or {})))
    messages: list[Message] = []
    for message in result.messages:
        content = content_of([message.content])
        assistant = message.role == "assistant"
        messages.append(AssistantMessage(content_text(content)) if assistant else UserMessage(content))
    return messages


async def complete(
    servers: MCPToolset,
    offer: Offer,
    argument: str,
    value: str,
    given: Mapping[str, str] | None = None,
) -> list[str]:
    """What the value of an argument could be; nothing where the server does not say.

    Args:
        servers: the started servers.
        offer: a prompt, or a template of resources.
        argument: which of its arguments.
        value: what was written of it so far.
        given: the arguments that are there already.

    Raises:
        ToolError: the server failed.
    """
    from mcp_types import PromptReference, ResourceTemplateReference

    connection = servers.connection(offer.server)
    if connection.listing.capabilities is None or connection.listing.capabilities.completions is None:
        return []
    prompt = offer.kind == "prompt"
    about = PromptReference(name=offer.name) if prompt else ResourceTemplateReference(uri=offer.name)
    wanted, others = {"name": argument, "value": value}, dict(given or {}) or None
    async with _clock(connection, offer.name):
        result = await connection.ask(offer.name, lambda client: client.complete(about, wanted, others))
    return [visible(text) for text in result.completion.values]


def _chosen(servers: MCPToolset, server: str | None) -> list[MCPConnection]:
    return [servers.connection(server)] if server else [each for each in servers.connections if not each.problem]


@asynccontextmanager
async def _clock(connection: MCPConnection, what: str) -> AsyncGenerator[None]:
    """The time that a request may take, and what is said when it is over."""
    seconds = connection.server.call_timeout
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        name = connection.server.name
        raise ToolError(f"MCP server {name!r} did not give {what} within {seconds:g} s") from None


async def _pages(
    connection: MCPConnection, what: str, list_page: Callable[[Client, str | None], Awaitable[Page]]
) -> list[Page]:
    """All pages of a list."""
    pages: list[Page] = []
    cursor: str | None = None
    async with _clock(connection, what):
        while len(pages) < _MAX_PAGES:
            at = cursor
            page = await connection.ask(what, lambda client, at=at: list_page(client, at))
            pages.append(page)
            cursor = page.next_cursor
            if cursor is None:
                break
    return pages


def _offer(server: str, kind: Kind, name: str, item: Resource | ResourceTemplate | Prompt) -> Offer:
    title, description = visible(item.title or item.name), visible(item.description or "")
    found = cast("list[PromptArgument]", getattr(item, "arguments", None) or [])
    arguments = tuple((argument.name, bool(argument.required)) for argument in found)
    return Offer(server, kind, name, title if title != name else "", description, arguments)
