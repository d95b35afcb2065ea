"""The MCP servers as the chat knows them: those of all files and of the command line, and what runs of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qianda.models.errors import ConfigurationError, QiandaError
from qianda.tools.mcp.approvals import State, effective
from qianda.tools.mcp.configured import Configured, configured_servers, masked_url
from qianda.tools.mcp.known import KnownServer, ToolChange
from qianda.tools.mcp.logins import login_state
from qianda.tools.secrets import know_secrets, redact
from qianda.tui.recorded import short_folder
from qianda.tui.words import t

if TYPE_CHECKING:
    from collections.abc import Callable

    from qianda.tools.mcp import MCPServer, MCPToolset
    from qianda.tools.mcp.connection import MCPConnection
    from qianda.tools.mcp.offers import Offer
    from qianda.tui.chat import Chat

OFFERS_SECONDS = 5.0
"""That a server may take to list its resources and prompts."""

Now = Literal[
    "ready",
    "connecting",
    "failed",
    "needs login",
    "tools changed",
    "not approved",
    "disabled",
    "off",
    "hidden",
    "broken",
]
_OF_FILES: dict[State, Now] = {"pending approval": "not approved", "ready": "off", "needs login": "off"}


@dataclass(frozen=True, slots=True)
class Server:
    """One server.

    Args:
        name: by which people and the model know it.
        configured: what a file says of it, None where none does.
        connection: while it is used.
        now: its state.
        changes: tools that are not used because they have changed.
        off: how it is started, where it is off and no file says so.
    """

    name: str
    configured: Configured | None
    connection: MCPConnection | None
    now: Now
    changes: tuple[ToolChange, ...] = ()
    off: MCPServer | None = None

    @property
    def where(self) -> str:
        """Where it is said that it is used."""
        where = self.configured.path if self.configured is not None else None
        return t("said on the command line") if where is None else short_folder(str(where))

    @property
    def shown(self) -> str:
        """What is started or asked, with secrets masked."""
        if self.configured is not None:
            return self.configured.shown()
        server = self.connection.server if self.connection is not None else self.off
        if server is None or server.server is not None:
            return t("in this process")
        return masked_url(server.url) if server.url else redact(" ".join(server.command))

    def spec(self) -> MCPServer:
        """How it is started.

        Raises:
            ConfigurationError: what the file says cannot be used.
        """
        if self.configured is not None:
            return self.configured.resolve()
        server = self.connection.server if self.connection is not None else self.off
        if server is None:
            raise ConfigurationError(t("There is no MCP server {name} any more", name=self.name))
        return server


def toolset_of(chat: Chat) -> MCPToolset | None:
    """The servers that are used, also while they start."""
    resources = chat.agent.resources if chat.agent is not None else None
    return resources.mcp if resources is not None else None


async def servers_of(chat: Chat, problem: Callable[[str], None]) -> list[Server]:
    """All servers.

    Args:
        chat: whose workspace and servers.
        problem: told, one line each, which file cannot be read.
    """
    toolset = toolset_of(chat)
    connections = list(toolset.connections) if toolset is not None else []
    off = [Server(name, None, None, "off", off=spec) for name, spec in chat.mcp_off.items()]
    return off + await asyncio.to_thread(_servers, chat.workspace, connections, problem)


def _servers(workspace: Path, connections: list[MCPConnection], problem: Callable[[str], None]) -> list[Server]:
    know_secrets(workspace)
    found: list[Server] = []
    for configured, state in effective(configured_servers(workspace, problem), workspace):
        connection = _connection(configured, connections) if state != "hidden" else None
        if connection is not None:
            connections.remove(connection)
            found.append(_used(connection, configured))
        else:
            found.append(Server(configured.name, configured, None, _OF_FILES.get(state) or _left(state)))
    return [_used(connection, None) for connection in connections] + found


def _left(state: State) -> Now:
    return "hidden" if state == "hidden" else "broken" if state == "broken" else "disabled"


def _connection(configured: Configured, connections: Sequence[MCPConnection]) -> MCPConnection | None:
    of_file = [each for each in connections if each.server.source == str(configured.path)]
    named = [each for each in of_file if each.server.name == configured.name]
    numbered = [each for each in of_file if each.server.name.rpartition("_")[0] == configured.name]
    return next(iter(named or numbered), None)


def _used(connection: MCPConnection, configured: Configured | None) -> Server:
    server = connection.server
    changes = () if server.server is not None else tuple(KnownServer(server).changes())
    now: Now = "ready"
    if not connection.is_settled:
        now = "connecting"
    elif connection.problem or connection.running is None:
        now = "needs login" if server.url and login_state(server) == "needed" else "failed"
    elif changes:
        now = "tools changed"
    return Server(server.name, configured, connection, now, changes)


async def offers_of(chat: Chat, name: str) -> list[Offer] | str:
    """The resources and prompts of a server that runs; a text when it does not tell them in time."""
    from qianda.tools.mcp.offers import list_prompts, list_resources

    toolset = toolset_of(chat)
    if toolset is None:
        return []
    try:
        async with asyncio.timeout(OFFERS_SECONDS):
            listed = await asyncio.gather(list_resources(toolset, name), list_prompts(toolset, name))
            return [offer for offers in listed for offer in offers]
    except TimeoutError:
        return t("It did not say within {count} s what it offers", count=int(OFFERS_SECONDS))
    except QiandaError as error:
        return str(error)
