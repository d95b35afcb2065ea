"""Logins at MCP servers: kept in the system's keyring where there is one, else in a file that only you can read."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast
from urllib.parse import parse_qs, urlsplit

from qianda.tools.mcp.spec import MCPServer
from qianda.tools.mcp.store import change_store, read_store

_STORE = "mcp-logins.json"
_SERVICE = "qianda-mcp"


def with_login(server: MCPServer) -> MCPServer:
    """The server with the login that is kept for its address, where nothing else signs its requests."""
    if not server.url or server.auth is not None or any(name.lower() == "authorization" for name in server.headers):
        return server
    from qianda.tools.mcp.oauth import StoredLogin

    return replace(server, auth=StoredLogin(server))


def login_state(server: MCPServer) -> Literal["", "needed", "there"]:
    """Whether a server wants a login, and whether there is one; "" when it never asked for one."""
    entry = _entry(server.url)
    if "login" in entry or entry.get("in") == "keyring":
        return "there"
    return "needed" if entry.get("needed") is True and server.auth is None else ""


def load_login(url: str) -> dict[str, Any]:
    """What is kept for an address: tokens, the client's registration, where to refresh; {} for nothing."""
    entry = _entry(url)
    if entry.get("in") == "keyring" and (keyring := _keyring()) is not None:
        with contextlib.suppress(Exception):  # each backend has its own errors; without it a login is needed again
            return json.loads(keyring.get_password(_SERVICE, url) or "{}")
    login = entry.get("login")
    return cast("dict[str, Any]", login) if isinstance(login, dict) else {}


def save_login(url: str, login: Mapping[str, Any]) -> None:
    """Keep what there is for an address.

    Raises:
        ConfigurationError: it cannot be written.
    """
    entry: dict[str, Any] = {"login": dict(login)}
    if (keyring := _keyring()) is not None:
        with contextlib.suppress(Exception):  # locked, too long, gone: then the file
            keyring.set_password(_SERVICE, url, json.dumps(login))
            entry = {"in": "keyring"}
    change_store(_STORE, lambda value: value.update({url: entry}))


def login_needed(url: str) -> None:
    """Note that a server asked for a login and there was none that it took.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if _entry(url) != {"needed": True}:
        forget_login(url)
        change_store(_STORE, lambda value: value.update({url: {"needed": True}}))


def forget_login(url: str) -> bool:
    """Remove what is kept for an address.

    Returns:
        Whether there was a login.

    Raises:
        ConfigurationError: it cannot be written.
    """
    entry = _entry(url)
    if not entry:
        return False
    if entry.get("in") == "keyring" and (keyring := _keyring()) is not None:
        with contextlib.suppress(Exception):  # not there any more, or locked
            keyring.delete_password(_SERVICE, url)
    change_store(_STORE, lambda value: value.pop(url, None) and None)
    return "needed" not in entry


def has_browser() -> bool:
    """Whether a window would open where the person is."""
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def way_back(url: str) -> str:
    """What a person at the other end of SSH has to do so that the login's address finds back; "" for nothing."""
    if "SSH_CONNECTION" not in os.environ:
        return ""
    port = urlsplit(parse_qs(urlsplit(url).query).get("redirect_uri", [""])[0]).port
    return f"The browser comes back to port {port} of this machine: ssh -L {port}:127.0.0.1:{port} …"


def _entry(url: str) -> dict[str, Any]:
    entry = read_store(_STORE).get(url)
    return cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}


def _keyring() -> Any:
    """The package ``keyring`` where it is installed and has a store that is safe; else None."""
    if importlib.util.find_spec("keyring") is None:
        return None
    with contextlib.suppress(Exception):  # a broken desktop is no reason to fail
        keyring = importlib.import_module("keyring")
        return keyring if keyring.get_keyring().priority >= 1 else None
    return None
