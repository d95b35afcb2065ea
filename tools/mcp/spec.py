"""How to start an MCP server: a name and a command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from qianda.models.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2
    from mcp.server import Server

CONNECT_TIMEOUT = 30.0
CALL_TIMEOUT = 120.0

# Programs whose first plain argument is what really runs, and their options that take a value.
_RUNNERS = {"uvx", "npx", "pnpx", "bunx", "uv", "npm", "pnpm", "bun", "pipx", "deno", "node", "docker", "podman"}
_PYTHON = re.compile(r"python[0-9.]*|pypy[0-9.]*")
_SUBCOMMANDS = {"run", "exec", "x", "dlx", "tool"}
_VALUE_OPTIONS = {
    "--from", "--with", "--python", "-p", "--package", "--directory", "--project", "--index-url", "--index", "--cwd",
    "-e", "--env", "-v", "--volume", "--mount", "--name", "--network", "--cache-dir", "--prefix", "-X", "-W",
}  # fmt: skip
_URL = re.compile(r"https?://", re.IGNORECASE)
_PLAIN_LABELS = {"mcp", "api", "www", "server", "sse", ""}  # of an address: they do not tell whose it is
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


@dataclass(frozen=True, slots=True)
class MCPServer:
    """An MCP server: a command that speaks over its standard input and output, an address, or an object.

    Args:
        name: what people and the model know it by; part of the names of its tools.
        command: program and arguments; no shell sees them.
        env: variables for the server, on top of the few that every server gets.
        cwd: the folder that it starts in; None is the workspace.
        timeout: seconds that it may take to start and to list its tools.
        url: where it is, in the place of a command.
        transport: how it is spoken to at its address: ``http`` (streamable HTTP), ``sse`` (of 2024), or "" to try both.
        headers: sent with every request to its address.
        auth: signs the requests to its address.
        server: a ``Server`` of the official SDK in this process, in the place of a command.
        call_timeout: seconds that one call of a tool may take.
        include: the only tools that are taken from it, by its own names; None for all.
        exclude: tools that are not taken from it.
        trusted: its word counts: what it calls read-only runs unasked, what is safe to repeat is repeated after a
            lost connection.
        sampling: replies that it may ask of our model; 0 and it is not told that it could.
        source: the file that it is written in; "" for none.
    """

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    timeout: float = CONNECT_TIMEOUT
    url: str = ""
    transport: Literal["", "http", "sse"] = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    auth: httpx2.Auth | None = None
    server: Server[Any] | None = None
    call_timeout: float = CALL_TIMEOUT
    include: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    trusted: bool = False
    sampling: int = 0
    source: str = ""

    @classmethod
    def parse(cls, text: str) -> MCPServer:
        """Read an address, or ``command args`` as a shell would split them; ``NAME=value`` in front sets variables.

        Args:
            text: such as ``uvx mcp-server-time --local-timezone UTC`` or ``https://example.org/mcp``.

        Raises:
            ConfigurationError: there is no command, no host in the address, or a quote is not closed.
        """
        if _URL.match(text.strip()):
            return cls(name=name_of_url(text.strip()), url=text.strip())
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise ConfigurationError(f"The MCP command {text!r} cannot be read: {error}") from error
        env: dict[str, str] = {}
        while words and _ASSIGNMENT.match(words[0]):
            variable, _, value = words.pop(0).partition("=")
            env[variable] = value
        if not words:
            raise ConfigurationError(
                f"The MCP command {text!r} names no program", cure='Write it like --mcp "uvx mcp-server-time"'
            )
        return cls(name=name_of(words), command=tuple(words), env=env)


def name_of(command: Sequence[str]) -> str:
    """A short name for a command: ``uvx mcp-server-time`` is ``time``, ``python /x/my_tools.py`` is ``my_tools``."""
    program = PurePath(command[0]).name
    word = _what_runs(command[1:]) if program in _RUNNERS or _PYTHON.fullmatch(program) else program
    word = PurePath(word or program).name  # drops folders and an npm scope
    word = re.split(r"(?<=.)@|==|\[|:", word)[0]  # version, extras, image tag
    word = re.sub(r"\.(py|js|mjs|cjs|ts|exe|sh)$", "", word)
    short = re.sub(r"^(mcp[-_.]server|server|mcp)[-_.]|[-_.](mcp[-_.]server|mcp|server)$", "", word)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", short).strip("_-") or "server"


def name_of_url(url: str) -> str:
    """A short name for an address: ``https://mcp.linear.app/mcp`` is ``linear``, ``http://[::1]/notes/mcp`` ``notes``.

    Raises:
        ConfigurationError: it has no host, or a port that is none.
    """
    unreadable = ConfigurationError(f"The address {url!r} cannot be read", cure="Write it like https://example.org/mcp")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise unreadable from None
    if not host or port == 0:
        raise unreadable
    labels = host.split(".")
    own = [] if host[-1].isdigit() or ":" in host else labels[:-1]  # a number has no name, nor has what ends a name
    words = [word for word in (*own, *reversed(parts.path.split("/"))) if word.lower() not in _PLAIN_LABELS]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", words[0] if words else "").strip("_-") or "server"


def _what_runs(arguments: Sequence[str]) -> str:
    """The package, module or file that a runner is told to run; "" when it cannot be told."""
    words = iter(arguments)
    first = True
    for word in words:
        if word in _VALUE_OPTIONS:
            next(words, None)
        elif not word.startswith("-"):
            if not (first and word in _SUBCOMMANDS):
                return word
            first = word == "tool"
    return ""
