"""What an MCP server lists, and how changes of it are heard of."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qianda.tools.mcp.known import KnownServer
from qianda.tools.mcp.spec import MCPServer

if TYPE_CHECKING:
    from mcp import Client
    from mcp.client.session import IncomingMessage
    from mcp_types import ServerCapabilities
    from mcp_types import Tool as WireTool

_MAX_PAGES = 100  # of tools; a list without end is cut here
_logger = logging.getLogger("qianda.tools.mcp")


class Listing:
    """The tools of one server, and whether it has resources.

    Args:
        server: which one.
        known: what was approved of it.
        notify: told in one line of tools that have changed.
        changed: told that the listing is another.

    Attributes:
        tools: without what is left out and what has changed since it was approved.
        count: of all tools.
        has_resources: whether there are any; many servers say that they could have some.
        capabilities: what it says that it can do; None before it runs.
    """

    def __init__(
        self, server: MCPServer, known: KnownServer, *, notify: Callable[[str], None], changed: Callable[[], None]
    ) -> None:
        self.tools: list[WireTool] = []
        self.count = 0
        self.has_resources = False
        self.capabilities: ServerCapabilities | None = None
        self._server = server
        self._known = known
        self._notify = notify
        self._changed = changed
        self._client: Client | None = None  # once changes count
        self._one_at_a_time = asyncio.Lock()
        self._chores: set[asyncio.Task[None]] = set()
        self._watchers: dict[str, Callable[[], None]] = {}

    async def read(self, client: Client) -> None:
        """Read all of it, of a server that has come up."""
        self.capabilities = client.server_capabilities
        await asyncio.gather(self._read_tools(client), self._look_for_resources(client))

    def follow(self, client: Client) -> None:
        """From now on hear of changes, where the server tells of them."""
        self._client = client
        tools = client.server_capabilities.tools
        if tools is not None and tools.list_changed and is_modern(client):
            self._chore(self._listen(client))
        for uri in self._watchers:
            self._chore(self._subscribe(client, uri))

    def watch(self, client: Client, uri: str, changed: Callable[[], None]) -> None:
        """Have a function called each time that a resource has changed."""
        self._watchers[uri] = changed
        self._chore(self._subscribe(client, uri))

    def clear(self) -> None:
        """The server is gone for good."""
        if self.tools or self.has_resources:
            self.tools, self.has_resources = [], False
            self._changed()

    def close(self) -> None:
        """Hear of nothing any more."""
        self._client = None
        for chore in self._chores:
            chore.cancel()

    async def hear(self, message: IncomingMessage) -> None:
        """What the server says unasked. Only noted here: whoever waits in this function stops the connection."""
        from mcp_types import (
            ResourceListChangedNotification,
            ResourceUpdatedNotification,
            ToolListChangedNotification,
        )

        if self._client is None:
            return
        if isinstance(message, ToolListChangedNotification):
            self._chore(self._read_tools(self._client))
        elif isinstance(message, ResourceListChangedNotification):
            self._chore(self._look_for_resources(self._client))
        elif isinstance(message, ResourceUpdatedNotification):
            self._tell(message.params.uri)

    async def _read_tools(self, client: Client) -> None:
        if client.server_capabilities.tools is None:
            return
        async with self._one_at_a_time:
            page = await client.list_tools(cache_mode="refresh")
            listed = list(page.tools)
            for _ in range(_MAX_PAGES):
                if page.next_cursor is None:
                    break
                page = await client.list_tools(cursor=page.next_cursor)
                listed += page.tools
            self.count = len(listed)
            include, exclude = self._server.include, self._server.exclude
            chosen = [
                tool
                for tool in {tool.name: tool for tool in listed}.values()
                if tool.name not in exclude and (include is None or tool.name in include)
            ]
            before, self.tools = self.tools, self._known.admitted(chosen, self._notify)
        if self._client is not None and self.tools != before:
            self._changed()

    async def _look_for_resources(self, client: Client) -> None:
        from mcp import MCPError

        before, found = self.has_resources, False
        if client.server_capabilities.resources is not None:
            with suppress(MCPError):  # those that have none may not know the words
                found = bool((await client.list_resources(cache_mode="refresh")).resources)
                found = found or bool((await client.list_resource_templates(cache_mode="refresh")).resource_templates)
        self.has_resources = found
        if self._client is not None and found != before:
            self._changed()

    def _tell(self, uri: str) -> None:
        if watcher := self._watchers.get(uri):
            watcher()

    async def _listen(self, client: Client, *uris: str) -> None:
        from mcp.client.subscriptions import ResourceUpdated

        async with client.listen(tools_list_changed=not uris, resource_subscriptions=uris) as changes:
            async for change in changes:
                if isinstance(change, ResourceUpdated):
                    self._tell(change.uri)
                else:
                    await self._read_tools(client)

    async def _subscribe(self, client: Client, uri: str) -> None:
        if is_modern(client):
            await self._listen(client, uri)
            return
        with warnings.catch_warnings(action="ignore"):  # it ended with the revision that this is not for
            asking = client.session.subscribe_resource(uri)  # pyright: ignore[reportDeprecated] - the way before 2026
        await asking

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        async def quietly() -> None:
            try:
                await work
            except Exception:  # the connection was lost, or the server refuses: nothing depends on it
                _logger.debug("MCP server %s: a chore failed", self._server.name, exc_info=True)

        task = asyncio.create_task(quietly())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def is_modern(client: Client) -> bool:
    """Whether a connection speaks a revision of the protocol without sessions."""
    from mcp_types.version import MODERN_PROTOCOL_VERSIONS

    return client.protocol_version in MODERN_PROTOCOL_VERSIONS
