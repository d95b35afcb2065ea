"""A connection to one MCP server: one task owns the SDK's client, callers in any task use it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from qianda.models.errors import ToolError
from qianda.tools.context import Context
from qianda.tools.mcp.failures import call_failure, ended_words, first_cause, is_lost, start_failure
from qianda.tools.mcp.known import KnownServer
from qianda.tools.mcp.listing import Listing
from qianda.tools.mcp.opening import Opening
from qianda.tools.mcp.server_log import ServerLog
from qianda.tools.mcp.server_questions import ServerQuestions
from qianda.tools.mcp.spec import MCPServer

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import Tool as WireTool

    from qianda.models.client import Client as ModelClient

T = TypeVar("T")
BACKOFF = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each attempt to come back after a lost connection."""
STEADY = 60.0
"""Seconds after which a server that ends has not ended "again"."""
_TRIM = 5.0  # seconds between two looks at how long the log is
_logger = logging.getLogger("qianda.tools.mcp")


class MCPConnection:
    """One server, from its start to its end; where it is lost in between, it is started again.

    The SDK's client has to be entered and left in the same task, so a task of its own holds it open.

    Args:
        server: what to start.
        workspace: where it starts when the server says nothing else; a relative ``cwd`` begins here.
        notify: told, one line each, what is wrong with the server.
        changed: told that the server's tools are others now.
        moved: told that it came up, failed or was lost.
        model: answers what the server asks of a model, where it may.

    Attributes:
        listing: what it offers.
        log: what it wrote and said.
        problem: why it does not run, or "".
    """

    def __init__(
        self,
        server: MCPServer,
        *,
        workspace: Path,
        notify: Callable[[str], None],
        changed: Callable[[], None],
        moved: Callable[[], None] = lambda: None,
        model: ModelClient | None = None,
    ) -> None:
        self.server = server
        self.problem = ""
        self._moved = moved
        self._cwd = workspace / Path(server.cwd).expanduser() if server.cwd else workspace
        self._notify = notify
        self._questions = ServerQuestions(server, workspace=workspace, model=model)
        self._known = KnownServer(server)
        self.listing = Listing(server, self._known, notify=notify, changed=changed)
        self.log = ServerLog(server)
        self._opening: Opening | None = None
        self._client: Client | None = None
        self._settled = asyncio.Event()  # it runs, or it will not
        self._down = asyncio.Event()
        self._words = ""  # how it ended last
        self._came_up = 0.0  # on the clock; 0 while it starts
        self._stopping = False
        self._owner: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the server, without waiting for it."""
        self._owner = asyncio.create_task(self._own(), name=f"mcp-{self.server.name}")

    @property
    def tools(self) -> list[WireTool]:
        """Its tools that can be used, as it lists them."""
        return self.listing.tools

    @property
    def is_settled(self) -> bool:
        """Whether the server runs, or has failed."""
        return self._settled.is_set()

    @property
    def running(self) -> Client | None:
        """The SDK's client while the server runs; it tells the versions and the instructions."""
        return self._client

    @property
    def is_empty(self) -> bool:
        """Whether it runs and offers nothing at all."""
        offers = self.listing.capabilities
        nothing = offers is None or (offers.resources is None and offers.prompts is None)
        return self._client is not None and nothing and not self.listing.count

    @property
    def has_resources(self) -> bool:
        """Whether it runs and has resources."""
        return self.listing.has_resources and not self.problem

    async def settled(self) -> None:
        """Wait until the server runs, or does not: then ``problem`` says why."""
        await self._settled.wait()

    def stop(self) -> None:
        """Ask the server to go; ``ended`` waits until it has."""
        self._stopping = True
        self._down.set()
        if self._client is None:
            self.kill()

    def kill(self) -> None:
        """Make the server go, with everything that it started, as soon as the event loop comes to it."""
        if self._owner is not None:
            self._owner.cancel()

    async def ended(self) -> None:
        """Wait until nothing of the server runs; at most a few seconds after ``stop``."""
        if self._owner is not None:
            await asyncio.wait([self._owner])

    async def client(self) -> Client:
        """The SDK's client; waits while the server starts, or is started again.

        Raises:
            ToolError: it does not run.
        """
        if self._client is None:
            await self._settled.wait()
            if self._client is None:
                raise ToolError(self.problem or f"MCP server {self.server.name!r} is not running")
        return self._client

    async def ask(
        self,
        what: str,
        request: Callable[[Client], Awaitable[T]],
        *,
        context: Context | None = None,
        repeatable: bool = True,
    ) -> T:
        """Ask the server for something.

        Args:
            what: a tool's name, or what else is asked for, for the error.
            request: asks the client.
            context: of the call that this is for: it takes what the server asks the user meanwhile.
            repeatable: it may be asked again when the connection was lost on the way.

        Raises:
            ToolError: there was no result; one sentence for the model.
        """
        client = self._client or await self.client()
        token = self._questions.begin(context) if context else None
        try:
            try:
                return await request(client)
            except Exception as error:  # the SDK raises many kinds, in groups
                self._judge(error, client, what, repeatable=repeatable)
            # Here it was lost, and may be repeated.
            client = await self.client()
            try:
                return await request(client)
            except Exception as error:
                self._judge(error, client, what, repeatable=False)
                raise
        finally:
            if context and token:
                self._questions.end(context, token)

    def _judge(self, error: Exception, client: Client, what: str, *, repeatable: bool) -> None:
        """Say what an error means; nothing where the request may be repeated.

        Raises:
            ToolError: one sentence for the model.
        """
        cause = first_cause(error)
        if isinstance(cause, ToolError):
            raise cause
        if not is_lost(cause):
            raise ToolError(call_failure(self.server, what, cause)) from error
        self._lose(client)
        if self._stopping or not repeatable:
            unknown = f"{self._words}. Nobody knows whether {what} was done: look before you do it again"
            raise ToolError(unknown) from error

    async def subscribe(self, uri: str, changed: Callable[[], None]) -> None:
        """Have a function called each time that a resource has changed, as far as the server tells.

        Raises:
            ToolError: the server does not run.
        """
        self.listing.watch(await self.client(), uri, changed)

    # The owner's part.

    async def _own(self) -> None:
        try:
            await self._keep()
        finally:
            self._client = None
            self._settled.set()
            self.listing.close()

    async def _keep(self) -> None:
        """Hold the server open until it has to stop; start it again when it is lost."""
        tries, known = 0, False
        while not self._stopping:
            error: BaseException | None = None
            self._down.clear()
            self._came_up = 0.0
            try:
                with self.log.opened():
                    await self._hold()
            except (Exception, BaseExceptionGroup) as caught:  # the SDK raises many kinds, in groups
                _logger.debug("MCP server %s failed", self.server.name, exc_info=True)
                error = caught
            if self._stopping:
                return
            if error is not None and not self._came_up and self._known.is_legacy and not is_lost(first_cause(error)):
                self._known.forget_era()  # it may be another version by now
                continue
            if self._came_up:
                self._lose()
                tries = 0 if time.monotonic() - self._came_up > STEADY else tries
            words = self._words if self._came_up else self._start_words(error)
            if not (known or self._came_up):
                self._give_up(words)
                return
            known = True
            if tries == len(BACKOFF):
                self._give_up(f"{words}; it is not started again, so its tools cannot be used any more")
                return
            if self._came_up:
                self._notify(f"{words}; {'it is started again' if self.server.command else 'it is tried again'}")
            await asyncio.sleep(BACKOFF[tries])
            tries += 1

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        self._notify(problem)
        self.listing.clear()
        self._moved()

    async def _hold(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(self.server.timeout):
                self._opening = Opening(self.server, cwd=self._cwd, stderr=self.log.file, on_end=self._lose)
                client = await self._opening.open(
                    stack,
                    legacy=self._known.is_legacy,
                    message_handler=self.listing.hear,
                    logging_callback=self.log.message,
                    **self._questions.callbacks(),
                )
                self._known.note_era(client.protocol_version)
                await self.listing.read(client)
            self._came_up = time.monotonic()
            self._client = client
            self._settled.set()
            self.listing.follow(client)
            self._moved()
            while not self._down.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_TRIM):
                        await self._down.wait()
                self.log.trim()

    def _lose(self, client: Client | None = None) -> None:
        """The connection is lost; of a client that was replaced meanwhile this is no news."""
        if self._client is not None and client in (None, self._client):
            process = self._opening.process if self._opening else None
            self._words = ended_words(
                self.server, process.returncode if process else None, process.fault if process else "", self.log.tail()
            )
            if not self._stopping:
                self._client = None
                self._settled.clear()
                self._moved()
            self._down.set()

    def _start_words(self, error: BaseException | None) -> str:
        process = self._opening.process if self._opening else None
        return start_failure(
            self.server,
            error or EOFError("it ended the connection"),
            cwd=self._cwd,
            returncode=process.returncode if process else None,
            fault=process.fault if process else "",
            tail=self.log.tail(),
            log=self.log.path,
        )
