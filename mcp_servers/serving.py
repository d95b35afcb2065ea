"""Serves tools and agents, over stdio or HTTP, and again when their files change."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qianda.mcp_servers.targets import load_targets, presets
from qianda.models.errors import ConfigurationError, JournalError
from qianda.tools.named import python_file
from qianda.tools.sandbox import Sandbox, SandboxMode
from qianda.tools.tool import Tool

if TYPE_CHECKING:
    from qianda.mcp_servers.http import Listening
    from qianda.mcp_servers.recorded_sessions import RecordedSessions
    from qianda.mcp_servers.server import ToolServer

_EVERY = 1.0  # seconds between looks at the files


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - stdout belongs to the protocol


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What is served.

    Args:
        targets: names of built-in toolsets, and paths of Python files with ``@tool`` functions.
        agents: names of agents, and paths of their files.
        workspace: the folder that all work in; the current one by default.
        read_only: offer only what changes nothing.
        sandbox: what commands run in, as for ``Agent``.
        agent_options: arguments for ``load_agent``: server, model, permissions.
        limits: of the settings; agents have no more.
        sessions: the record whose conversations are shown to clients, or None.
    """

    targets: Sequence[str] = ()
    agents: Sequence[str] = ()
    workspace: Path = field(default_factory=Path.cwd)
    read_only: bool = False
    sandbox: Sandbox | SandboxMode = "auto"
    agent_options: dict[str, Any] = field(default_factory=dict[str, Any])
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    sessions: Path | None = None

    def tools(self) -> list[Tool]:
        """The tools, loaded now.

        Raises:
            ConfigurationError: there is nothing to serve, or something of it fails.
        """
        if self.sessions is not None and not (self.targets or self.agents):
            return []
        return load_targets(
            self.targets,
            read_only=self.read_only,
            agents=self.agents,
            workspace=self.workspace,
            options={"sandbox": self.sandbox, **self.agent_options},
            limits=self.limits,
        )

    def files(self) -> list[Path]:
        """The files that the tools come from."""
        return [found[0] for target in self.targets if (found := python_file(target))]


async def serve(offer: Offer, *, http: Listening | None = None, watch: bool = False) -> None:
    """Serve until the client goes away, or over HTTP until a signal comes. Serving is consent: nobody is asked.

    Handles SIGINT and SIGTERM, so it is for a process of its own.

    Args:
        offer: what to serve.
        http: where to listen; None is stdio.
        watch: load the Python files again when they change, and tell the clients.

    Raises:
        ConfigurationError: there is nothing to serve, or it cannot be served there.
    """
    folder = offer.workspace.resolve()
    if not folder.is_dir():
        raise ConfigurationError(f"The workspace {folder} is not a folder")
    # Before the user's file, whose folder goes in front of the import path.
    from qianda.mcp_servers.http import serve_http
    from qianda.mcp_servers.recorded_sessions import RecordedSessions
    from qianda.mcp_servers.server import ToolServer
    from qianda.mcp_servers.stdio import serve_stdio

    sessions = None if offer.sessions is None else RecordedSessions(offer.sessions)
    server = ToolServer(
        offer.tools(),
        workspace=folder,
        sandbox=offer.sandbox,
        files="files" in offer.targets,
        presets=presets(folder),
        resources=[] if sessions is None else [sessions],
    )
    async with contextlib.AsyncExitStack() as stack:
        if watch:
            await stack.enter_async_context(_beside(watch_files(offer, server)))
        if sessions is not None:
            await stack.enter_async_context(_beside(watch_sessions(sessions, server)))
        if http is None:
            await serve_stdio(server)
        else:
            await serve_http(server, http, say=_to_stderr)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def watch_files(offer: Offer, server: ToolServer, *, say: Callable[[str], None] = _to_stderr) -> None:
    """Load the tools again whenever one of their files changes; a file that fails leaves the old ones.

    Args:
        offer: what is served.
        server: who serves it.
        say: told, in one line, what is wrong with a file.
    """
    known = _stamps(offer)
    while True:
        await asyncio.sleep(_EVERY)
        now = _stamps(offer)
        if now == known:
            continue
        known = now
        try:
            tools = offer.tools()
        except ConfigurationError as error:
            say(str(error))
        else:
            await server.set_tools(tools)


async def watch_sessions(sessions: RecordedSessions, server: ToolServer) -> None:
    """Tell the clients what other processes record.

    Args:
        sessions: what is served.
        server: who serves it.
    """
    known = None
    while True:
        if (now := sessions.stamp()) != known:
            known = now
            with contextlib.suppress(JournalError):  # who reads it is told
                addresses, others = await sessions.changed()
                await server.say_changed(addresses, others=others)
        await asyncio.sleep(_EVERY)


def _stamps(offer: Offer) -> list[tuple[int, int] | None]:
    return [stamp(path) for path in offer.files()]


def stamp(path: Path) -> tuple[int, int] | None:
    """When a file was changed last, in nanoseconds, and its size; None when it is not there."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size
