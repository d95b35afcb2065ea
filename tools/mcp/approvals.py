"""Which MCP servers may run: those of the user, and those of a project that the user said yes to, one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.configured import Configured, configured_servers
from qianda.tools.mcp.logins import login_state
from qianda.tools.mcp.spec import MCPServer
from qianda.tools.mcp.store import change_store, read_store

State = Literal["ready", "disabled", "pending approval", "needs login", "hidden", "broken"]
_STORE = "mcp-approvals.json"
_REFUSED = "refused"
_USED = ("ready", "needs login")


def state_of(server: Configured, workspace: Path) -> State:
    """What becomes of a server in a run, as far as it can be told without starting it."""
    decision = _decisions(workspace).get(server.name) if server.scope == "project" else None
    if not server.enabled or decision == _REFUSED:
        return "disabled"
    try:
        if server.scope == "project" and decision != server.hash():
            return "pending approval"
        return "needs login" if login_state(server.resolve()) == "needed" else "ready"
    except ConfigurationError:
        return "broken"


def approve(server: Configured, workspace: Path) -> None:
    """Let a project's server run, as it is now: another command or address asks again.

    Raises:
        ConfigurationError: it cannot be resolved, or the decision cannot be stored.
    """
    _decide(workspace, server.name, server.hash())


def refuse(name: str, workspace: Path) -> None:
    """Leave a project's server alone, and speak of it no more.

    Raises:
        ConfigurationError: the decision cannot be stored.
    """
    _decide(workspace, name, _REFUSED)


def usable_servers(
    workspace: Path, notify: Callable[[str], None], *, switched: Mapping[str, bool] | None = None
) -> list[MCPServer]:
    """The servers of a run: of two with one name the project's, once it is approved, goes before the user's.

    Args:
        workspace: the folder that the run works in.
        notify: told, one line each, why one is not used.
        switched: what the person switched on and off for now, by name.
    """
    now = switched or {}
    usable: dict[str, MCPServer] = {}
    for server in configured_servers(workspace, notify):
        state = state_of(server, workspace)
        if not now.get(server.name, state != "disabled"):
            continue
        try:
            resolved = server.resolve()
        except ConfigurationError as error:
            notify(f"{error}; it is not used")
            continue
        if state == "pending approval" or (state == "disabled" and server.scope == "project"):
            notify(
                f"MCP server {server.name!r} of {server.path.name} is not used until you say: "
                f"qianda mcp approve {server.name}"
            )
            continue
        usable[server.name] = resolved
    return list(usable.values())


def effective(servers: list[Configured], workspace: Path) -> list[tuple[Configured, State]]:
    """All servers with their states; one that another of its name goes before is ``hidden``."""
    states: list[tuple[Configured, State]] = [(server, state_of(server, workspace)) for server in servers]
    used = {server.name: server for server, state in states if state in _USED}
    return [pair if pair[1] not in _USED or used[pair[0].name] is pair[0] else (pair[0], "hidden") for pair in states]


def _decisions(workspace: Path) -> dict[str, str]:
    return _folders(read_store(_STORE)).get(str(workspace.resolve()), {})


def _folders(value: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The decisions by folder; what is broken there decided nothing."""
    folders: object = value.get("folders")
    if not isinstance(folders, dict):
        return {}
    return {
        folder: cast("dict[str, str]", found)
        for folder, found in cast("dict[str, object]", folders).items()
        if isinstance(found, dict)
    }


def _decide(workspace: Path, name: str, decision: str) -> None:
    def change(value: dict[str, Any]) -> None:
        folders = _folders(value)
        folders.setdefault(str(workspace.resolve()), {})[name] = decision
        value["folders"] = folders

    change_store(_STORE, change)
