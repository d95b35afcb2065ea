"""How to start an MCP server: a name and a command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, cast

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

    @classmethod
    def parse(cls, text: str) -> MCPServer:
        """Read ``command args`` as a shell would split them; ``NAME=value`` in front sets variables.

        Args:
            text: such as ``uvx mcp-server-time --local-timezone UTC``.

        Raises:
            ConfigurationError: there is no command, or a quote is not closed.
        """
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

    @classmethod
    def from_mapping(cls, name: str, entry: Mapping[str, Any]) -> MCPServer:
        """Read an entry of ``mcpServers``: command, args, env, cwd and timeout; other keys are ignored.

        Args:
            name: the entry's key.
            entry: the entry; ``timeout`` is in milliseconds, as other hosts have it.

        Raises:
            ConfigurationError: a value has the wrong type.
        """
        command = entry.get("command")
        if not isinstance(command, str) or not command.strip():
            raise ConfigurationError(f"MCP server {name!r}: command must be a text, such as uvx")
        args, cwd = entry.get("args", []), entry.get("cwd")
        env: object = entry.get("env") or {}
        if not _is_texts(args):
            raise ConfigurationError(f"MCP server {name!r}: args must be a list of texts")
        if not isinstance(env, Mapping) or not _is_texts(list(cast("Mapping[str, object]", env).values())):
            raise ConfigurationError(f"MCP server {name!r}: env must map names to texts")
        if cwd is not None and not isinstance(cwd, str):
            raise ConfigurationError(f"MCP server {name!r}: cwd must be a text")
        timeout = entry.get("timeout")
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0):
            raise ConfigurationError(f"MCP server {name!r}: timeout must be a number of milliseconds")
        return cls(
            name=name,
            command=(command, *cast("list[str]", args)),
            env=dict(cast("Mapping[str, str]", env)),
            cwd=cwd,
            timeout=timeout / 1000 if timeout else CONNECT_TIMEOUT,
        )


def name_of(command: Sequence[str]) -> str:
    """A short name for a command: ``uvx mcp-server-time`` is ``time``, ``python /x/my_tools.py`` is ``my_tools``."""
    program = PurePath(command[0]).name
    word = _what_runs(command[1:]) if program in _RUNNERS or _PYTHON.fullmatch(program) else program
    word = PurePath(word or program).name  # drops folders and an npm scope
    word = re.split(r"(?<=.)@|==|\[|:", word)[0]  # version, extras, image tag
    word = re.sub(r"\.(py|js|mjs|cjs|ts|exe|sh)$", "", word)
    short = re.sub(r"^(mcp[-_.]server|server|mcp)[-_.]|[-_.](mcp[-_.]server|mcp|server)$", "", word)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", short).strip("_-") or "server"


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


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value))
