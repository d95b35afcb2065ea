"""One conversation of an editor: its agent, its switches, its prompts one after another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from acp import PromptResponse
from acp.helpers import update_available_commands, update_current_mode
from acp.schema import ConfigOptionUpdate, SessionInfoUpdate, SessionModeState, StopReason

from qianda.agents.conversation import from_records
from qianda.agents.library import DEFAULT, find_agent
from qianda.cli.acp_server.asking import Person
from qianda.cli.acp_server.commands import Commands
from qianda.cli.acp_server.content import Block, prompt_content
from qianda.cli.acp_server.options import PLAN, Switches
from qianda.cli.acp_server.updates import Screen
from qianda.cli.opening import Choices, open_agent
from qianda.models import messages
from qianda.models.errors import ConfigurationError, QiandaError, ServerRefused
from qianda.models.events import RunFinished
from qianda.models.resolve import probe_local

if TYPE_CHECKING:
    from acp.interfaces import Client

    from qianda.agents.agent import Agent
    from qianda.agents.run import Run
    from qianda.agents.sessions import Session
    from qianda.models.resolve import Endpoint
    from qianda.tools.mcp import MCPServer

_log = logging.getLogger("qianda.acp")
_TITLE = 60  # characters
_CLOSE_SECONDS = 5.0
_INSPECTED = "content inspection"  # in the cure of a refusal


@dataclass(frozen=True, slots=True)
class _Opened:
    agent: Agent
    endpoint: Endpoint
    conversation: Session


class EditorSession:
    """A conversation that an editor holds.

    Args:
        name: its id, and what it is called in the record.
        client: the editor.
        choices: what was chosen on the command line, with the editor's folder.
        servers: the MCP servers that the editor names.
        forms: whether the editor can show forms.

    Raises:
        ConfigurationError: there is no such agent.
    """

    def __init__(
        self, name: str, client: Client, choices: Choices, servers: Sequence[MCPServer], *, forms: bool
    ) -> None:
        self.name = name
        self._client, self._choices, self._servers = client, choices, servers
        definition = find_agent(choices.agent or DEFAULT, choices.workspace)
        self._switches = Switches(choices, definition.permissions or "auto")
        self._person = Person(client, name, forms=forms, screen=lambda: self._screen)
        self._commands = Commands()
        self._opened: _Opened | None = None
        self._opening: asyncio.Task[None] | None = None
        self._opens, self._leave = asyncio.Lock(), asyncio.Event()
        self._mode = PLAN
        self._turns = asyncio.Lock()
        self._run: Run[Any] | None = None
        self._stops = 0
        self._notices: list[str] = []
        self._spent = 0.0
        self._title = ""
        self._telling: asyncio.Task[None] | None = None
        self._screen = self._new_screen()

    # Opening and closing

    async def open(self) -> None:
        """Find the server and the model, and what else can be chosen.

        Raises:
            QiandaError: the settings are wrong, or no model can be reached.
        """
        looking = asyncio.create_task(probe_local())
        try:
            opened = await self._ready()
            self._mode = PLAN if self._choices.plan else opened.agent.permissions.mode
            await self._switches.offer(opened.endpoint, await looking)
        finally:
            looking.cancel()

    async def _ready(self) -> _Opened:
        async with self._opens:
            if self._opened is None:
                self._opened = await self._open_now()
        return self._opened

    async def _open_now(self) -> _Opened:
        ready: asyncio.Future[_Opened] = asyncio.get_running_loop().create_future()
        self._opening = asyncio.create_task(self._keep_open(ready, self._choices))
        return await ready

    async def _keep_open(self, ready: asyncio.Future[_Opened], choices: Choices) -> None:
        """Open the agent and keep it: it is closed in the task that opened it."""
        notify, person = self._notices.append, self._person
        try:
            with ExitStack() as stack:
                agent = await open_agent(choices, stack=stack, notify=notify, approve=person.approve, ask=person.ask)
                agent.mcp_servers = (*agent.mcp_servers, *self._servers)
                async with agent:
                    opened = _Opened(agent, await agent.endpoint(), agent.session(self.name))
                    if not ready.done():
                        ready.set_result(opened)
                        await self._leave.wait()
        except Exception as error:
            if ready.done():
                _log.warning("closing %s failed", self.name, exc_info=True)
            else:
                ready.set_exception(error)

    async def _shut(self) -> None:
        if self._opening is not None:
            self._leave.set()
            if self._opened is None:
                self._opening.cancel()
            await asyncio.wait([self._opening], timeout=_CLOSE_SECONDS)
            self._leave.clear()
            self._opened = self._opening = None

    async def close(self) -> None:
        """Stop what is going on and close the agent with all that it started."""
        self.cancel()
        if self._telling is not None:
            self._telling.cancel()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS), self._turns:
                await self._shut()
        except TimeoutError:
            _log.warning("%s did not end in time", self.name)

    # Switches

    @property
    def modes(self) -> SessionModeState:
        """The modes, and the current one."""
        return self._switches.modes(self._mode)

    @property
    def options(self) -> list[Any]:
        """All switches as they stand."""
        return self._switches.shown(self._mode, self._choices.thinking)

    async def switch(self, name: str, value: str, *, as_mode: bool = False) -> None:
        """Turn one of the switches; permissions at once, also for a run that goes on, all else between two prompts.

        Args:
            name: the switch.
            value: its value.
            as_mode: the editor does so in the way of those that know modes only.

        Raises:
            QiandaError: there is no such value, a run goes on, or the model cannot be reached: all stays as it was.
        """
        changes = self._switches.changes(name, value)
        wanted = replace(self._choices, **changes)
        if name == "mode" and wanted.plan == self._choices.plan:
            self._choices = wanted
            if not wanted.plan:
                (await self._ready()).agent.permissions.mode = changes["permissions"]
        else:
            await self._open_with(wanted)
        if name == "mode":
            self._mode = value
            update = update_current_mode(value)
            if as_mode:
                update = ConfigOptionUpdate(session_update="config_option_update", config_options=self.options)
            await self.send(update)

    async def _open_with(self, choices: Choices) -> None:
        """Open the agent anew."""
        if self._turns.locked():
            raise ConfigurationError("This can be changed between two prompts", cure="Stop the run, or wait for it")
        async with self._turns:
            before, self._choices = self._choices, choices
            await self._shut()
            try:
                opened = await self._ready()
            except BaseException:
                self._choices = before  # with which the next prompt opens it
                raise
            await self._switches.offer(opened.endpoint, [])

    # What the editor is told

    async def send(self, update: Any) -> None:
        """Send an update of this session."""
        await self._client.session_update(self.name, update)

    def _new_screen(self) -> Screen:
        opened, folder = self._opened, self._choices.workspace
        if opened is None:
            return Screen(self.send, {}, folder)
        return Screen(self.send, opened.agent.tools, folder, window=opened.endpoint.window, spent=self._spent)

    def tell_commands(self) -> None:
        """Say, behind the answer to the request that goes on, which commands there are."""

        async def tell() -> None:
            agent = (await self._ready()).agent
            await self.send(update_available_commands(self._commands.known(agent)))
            try:
                if await self._commands.find_prompts(agent):
                    await self.send(update_available_commands(self._commands.known(agent)))
            except QiandaError as error:
                _log.warning("the prompts of MCP servers are not known: %s", error)

        self._telling = asyncio.create_task(tell())

    async def replay(self) -> None:
        """Show what was said so far."""
        opened, screen = await self._ready(), self._new_screen()
        journal = opened.agent.record()
        for run_id in journal.runs(self.name):
            self._title = self._title or run_id
            await screen.replay(from_records(journal.records(run_id)))
        if opened.conversation.plan is not None:
            await screen.plan(opened.conversation.plan)

    # Prompts

    def cancel(self) -> None:
        """Stop the run, and forget the prompts that wait for its end."""
        self._stops += 1
        if self._run is not None:
            self._run.cancel()

    async def prompt(self, blocks: Sequence[Block]) -> PromptResponse:
        """Run until the model answers; a prompt that comes meanwhile waits.

        Raises:
            QiandaError: the run ended with it.
        """
        stops = self._stops
        async with self._turns:
            opened = await self._ready()
            content = prompt_content(blocks, self._choices.workspace)
            await self._tell_title(" ".join(messages.content_text(content).split()))
            content = await self._commands.meant(opened.agent, content)
            if self._stops != stops:
                return PromptResponse(stop_reason="cancelled")
            reason = await self._turn(opened, content, stops)
        return PromptResponse(stop_reason=reason)

    async def _tell_title(self, title: str) -> None:
        if not self._title and title:
            self._title = title if len(title) <= _TITLE else f"{title[: _TITLE - 1]}…"
            await self.send(SessionInfoUpdate(session_update="session_info_update", title=self._title))

    async def _turn(self, opened: _Opened, content: messages.Content, stops: int) -> StopReason:
        screen = self._screen = self._new_screen()
        while self._notices:
            await screen.note(self._notices.pop(0))
        run = opened.conversation.stream(content)
        finished: RunFinished | None = None
        try:
            async with run:
                self._run = run
                if self._stops != stops:
                    run.cancel()
                async for event in run:
                    await screen.show(event, run)
                    if isinstance(event, RunFinished) and event.parent_run_id is None:
                        finished = event
                await screen.close()
        finally:
            self._run = None
            self._spent += run.cost or 0.0
        if finished is not None and finished.reason == "limit":
            await screen.say(f"\n\n*{finished.message}*\n")
            return "max_tokens" if finished.which == "tokens" else "max_turn_requests"
        try:
            finish = run.result.finish
        except ServerRefused as error:
            if _INSPECTED not in error.cure:
                raise
            await screen.say(f"\n\n*{error}*\n")
            return "refusal"
        return "cancelled" if finish == "cancelled" else "max_tokens" if finish == "length" else "end_turn"
