"""Resources of several kinds as one list: shown by page, read by the scheme of their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

import mcp_types as types
from mcp import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from qianda.models.errors import ConfigurationError, JournalError, ToolError

LARGEST = 1024 * 1024  # bytes of what is given whole
_LEGACY_NOT_FOUND = -32002


class Source(Protocol):
    """Resources of one kind.

    Attributes:
        scheme: of their addresses.
        templates: how the addresses are written.
    """

    @property
    def scheme(self) -> str: ...  # noqa: D102 - see above

    @property
    def templates(self) -> Sequence[types.ResourceTemplate]: ...  # noqa: D102 - see above

    async def page(self, cursor: str | None) -> types.ListResourcesResult:
        """Those behind a cursor, which is of the page before.

        Raises:
            ToolError: it is none of ours.
        """
        ...

    async def read(self, uri: str) -> types.ReadResourceResult:
        """The content of one.

        Raises:
            ToolError: there is none of that address, or it cannot be read.
        """
        ...


class Sources:
    """All resources of a server.

    Args:
        sources: of each kind.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    @property
    def templates(self) -> list[types.ResourceTemplate]:
        """How their addresses are written."""
        return [template for source in self._sources for template in source.templates]

    async def page(self, cursor: str | None) -> types.ListResourcesResult:
        """The resources behind a cursor: the number of their kind, and what that makes of it.

        Raises:
            MCPError: it is no cursor of ours, or they cannot be listed.
        """
        number, _, inner = (cursor or "0:").partition(":")
        at = int(number) if number.isdecimal() else len(self._sources)
        if at >= len(self._sources):
            raise MCPError(types.INVALID_PARAMS, f"{cursor!r} is no cursor of this server")
        try:
            found = await self._sources[at].page(inner or None)
        except (ToolError, JournalError) as error:
            raise MCPError(types.INVALID_PARAMS, error.message) from error
        if found.next_cursor is not None:
            following = f"{at}:{found.next_cursor}"
        else:
            following = f"{at + 1}:" if at + 1 < len(self._sources) else None
        return types.ListResourcesResult(resources=found.resources, next_cursor=following)

    async def read(self, uri: str, protocol_version: str) -> types.ReadResourceResult:
        """The content of a resource.

        Raises:
            MCPError: there is none of that address, or it cannot be read.
        """
        source = next((source for source in self._sources if source.scheme == urlsplit(uri).scheme), None)
        try:
            if source is not None:
                return await source.read(uri)
            said = f"There is no resource {uri}; there are {', '.join(each.uri_template for each in self.templates)}"
        except (ToolError, ConfigurationError, JournalError) as error:
            said = error.message
        missing = types.INVALID_PARAMS if protocol_version in MODERN_PROTOCOL_VERSIONS else _LEGACY_NOT_FOUND
        raise MCPError(missing, said, {"uri": uri})
