"""The MCP servers of the user's and the project's files: what each says, and what it comes to."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from qianda.models.config import project_config_path, user_config_path
from qianda.models.errors import ConfigurationError
from qianda.tools.mcp.content import escaped
from qianda.tools.mcp.dialects import DIALECTS, MCP_JSON, Entry, read_servers
from qianda.tools.mcp.spec import CALL_TIMEOUT, CONNECT_TIMEOUT, MCPServer
from qianda.tools.secrets import redact

Scope = Literal["user", "project"]
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|AUTH|COOKIE|SESSION", re.IGNORECASE)
_TRANSPORTS: Mapping[str, Literal["", "http", "sse"]] = {
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "streamablehttp": "http",
    "sse": "sse",
    "": "",
    "stdio": "",
    "local": "",
    "remote": "",
}


@dataclass(frozen=True, slots=True)
class Configured:
    """One server of a file.

    Args:
        name: its name there.
        entry: what stands there, in our words.
        path: the file.
        scope: whose file it is.
    """

    name: str
    entry: Entry
    path: Path
    scope: Scope

    @property
    def enabled(self) -> bool:
        """Whether it is to be used."""
        return self.entry.get("enabled") is not False

    def resolve(self) -> MCPServer:
        """The server with its variables filled in from the environment.

        Raises:
            ConfigurationError: a value has the wrong type, or a variable is not set.
        """
        server = server_of(self.name, self.entry, self.path)
        # A project lifts no question and spends no tokens by itself.
        return server if self.scope == "user" else replace(server, trusted=False, sampling=0)

    def hash(self) -> str:
        """What an approval holds for: the command or address as it comes out, and what it is given.

        Values of variables and headers count as they are written: another key in your environment is no other server.

        Raises:
            ConfigurationError: it cannot be resolved.
        """
        server = self.resolve()
        written = {key: self.entry.get(key) for key in ("env", "headers")}
        parts = [server.command, server.url, server.transport, server.cwd, written]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def shown(self) -> str:
        """What is started or asked, on one line for people: ``KEY=… uvx weather``; secrets are masked."""
        return escaped(self._shown()).replace("\n", "\\n")

    def _shown(self) -> str:
        try:
            server = self.resolve()
        except ConfigurationError as error:
            return error.message
        written = json.dumps([self.entry.get(key) for key in ("command", "args", "url", "cwd")])
        filled_in = sorted({match[1] for match in _VARIABLE.finditer(written)})
        # Where they go is masked, so which they are has to be said.
        yours = f" (with your {', '.join(filled_in)})" if filled_in else ""
        if server.url:
            headers = ", ".join(f"{name}: {value}" for name, value in self.masked("headers").items())
            return masked_url(server.url) + (f" with {headers}" if headers else "") + yours
        variables = [f"{name}={_quoted(value)}" for name, value in self.masked("env").items()]
        folder = f" (in {server.cwd})" if server.cwd else ""
        return redact(" ".join([*variables, shlex.join(server.command)])) + folder + yours

    def masked(self, key: Literal["env", "headers"]) -> dict[str, str]:
        """The variables or headers as they may be shown: what is written in the file and may be a secret is ``…``."""
        values = cast("dict[str, str]", self.entry.get(key) or {})
        return {name: _mask(name, str(value), every=key == "headers") for name, value in values.items()}


def configured_servers(workspace: Path, problem: Callable[[str], None]) -> list[Configured]:
    """The servers of all files, those of the user first; a name that comes again is there again.

    Args:
        workspace: the project's folder.
        problem: told, one line each, which file cannot be read.
    """
    files: tuple[tuple[Path, str, Scope], ...] = (
        (user_config_path(), "qianda", "user"),
        (project_config_path(workspace), "qianda", "project"),
        (workspace / MCP_JSON, "mcp.json", "project"),
    )
    found: list[Configured] = []
    for path, dialect, scope in files:
        try:
            entries = read_servers(path, DIALECTS[dialect], workspace)
        except ConfigurationError as error:
            problem(str(error))
            continue
        found += [Configured(name, entry, path, scope) for name, entry in entries.items()]
    return found


def load_mcp_json(folder: Path, *, notify: Callable[[str], None] | None = None) -> list[MCPServer]:
    """The servers of a folder's ``.mcp.json``; none when there is no such file.

    The file comes with the project, and what it starts was approved by nobody: see ``qianda.tools.mcp.approvals``.

    Args:
        folder: where the file is looked for; not in its parents.
        notify: told, one line each, which servers cannot be used; without it they are errors.

    Raises:
        ConfigurationError: the file is not what it should be.
    """
    servers: list[MCPServer] = []
    path = folder / MCP_JSON
    for name, entry in read_servers(path, DIALECTS["mcp.json"], folder).items():
        server = Configured(name, entry, path, "project")
        if not server.enabled:
            continue
        try:
            servers.append(server.resolve())
        except ConfigurationError as error:
            if notify is None:
                raise
            notify(str(error))
    return servers


def server_of(name: str, entry: Entry, path: Path) -> MCPServer:
    """The server that an entry describes.

    Args:
        name: its name.
        entry: the entry in our words.
        path: the file that it is from.

    Raises:
        ConfigurationError: a value has the wrong type, or a variable is not set.
    """

    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(f"MCP server {name!r} in {path.name}: {what}")

    if problem := next((text for text, good in _checks(entry) if not good), ""):
        raise wrong(problem)
    command = entry.get("command")
    filled = _fill(
        {key: entry[key] for key in ("command", "args", "env", "cwd", "url", "headers") if key in entry}, wrong
    )
    if command is None and (url := str(filled["url"])) and not _is_address(url):
        raise wrong(f"url must be an address such as https://example.org/mcp, not {masked_url(url)!r}")
    return MCPServer(
        name=name,
        command=(filled["command"], *filled.get("args", ())) if command is not None else (),
        env=filled.get("env", {}),
        cwd=filled.get("cwd"),
        timeout=entry.get("start_timeout", CONNECT_TIMEOUT),
        url="" if command is not None else filled["url"],
        transport=_TRANSPORTS[str(entry.get("type", "")).lower()],
        headers=filled.get("headers", {}),
        call_timeout=entry.get("timeout", CALL_TIMEOUT),
        include=tuple(entry["include_tools"]) if "include_tools" in entry else None,
        exclude=tuple(entry.get("exclude_tools", ())),
        trusted=entry.get("trust") is True,
        sampling=entry.get("sampling", 0),
        source=str(path),
    )


def _checks(entry: Entry) -> Iterator[tuple[str, bool]]:
    """What would be wrong with an entry, and whether it is right."""
    yield str(entry.get("problem")), "problem" not in entry
    kind, command = entry.get("type", ""), entry.get("command")
    known = isinstance(kind, str) and kind.lower() in _TRANSPORTS
    yield f"type must be stdio, http or sse; {kind!r} is not supported", known
    yield "it has neither a command nor a url", command is not None or "url" in entry
    yield "command must be a text, such as uvx", command is None or (isinstance(command, str) and bool(command.strip()))
    for key in ("args", "include_tools", "exclude_tools"):
        yield f"{key} must be a list of texts", _is_texts(entry.get(key, []))
    for key in ("env", "headers"):
        value = entry.get(key, {})
        good = isinstance(value, dict) and _is_texts(list(cast("dict[str, object]", value).values()))
        yield f"{key} must map names to texts", good
    for key in ("cwd", "url"):
        yield f"{key} must be a text", isinstance(entry.get(key, ""), str)
    for key in ("timeout", "start_timeout"):
        value = entry.get(key, 1)
        good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
        yield f"{key} must be a positive number", good
    yield (
        "sampling must be a number of replies",
        type(entry.get("sampling", 0)) is int and entry.get("sampling", 0) >= 0,
    )


def masked_url(url: str) -> str:
    """An address without what may be a secret in it: passwords, and the values of its query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that cannot be read"
    query = "&".join(f"{pair.partition('=')[0]}=…" for pair in parts.query.split("&")) if parts.query else ""
    return redact(parts._replace(netloc=host, query=query).geturl())


def _fill(values: Mapping[str, Any], wrong: Callable[[str], ConfigurationError]) -> dict[str, Any]:
    """Put ``${NAME}`` and ``${NAME:-default}`` in all texts."""

    def fill(match: re.Match[str]) -> str:
        variable, default = match[1], match[2]
        value = os.environ.get(variable)
        if default is not None:
            return value or default
        if value is None:
            error = wrong(f"it needs the environment variable {variable}, which is not set")
            error.cure = f"Set it, or give it a default there: ${{{variable}:-…}}"
            raise error
        return value

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return _VARIABLE.sub(fill, value)
        if isinstance(value, list):
            return [walk(item) for item in cast("list[Any]", value)]
        return {key: walk(item) for key, item in cast("dict[str, Any]", value).items()}

    return {key: walk(value) for key, value in values.items()}


def _mask(name: str, value: str, *, every: bool) -> str:
    """A value as it may be shown: of what may be a secret only the names of variables, and that it is a token."""
    if not (every or _SECRET.search(name)):
        return redact(value)
    variables = [f"${{{match[1]}}}" for match in _VARIABLE.finditer(value)]
    bare = _VARIABLE.sub("", value)
    return (
        ("Bearer " if bare.lower().startswith("bearer ") else "")
        + "".join(variables)
        + ("…" if bare.lower().removeprefix("bearer").strip() or not variables else "")
    )


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[\w.,:/@%+=…${}\[\]-]*", value) else shlex.quote(value)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value))
