"""The chat behind the screen: opens the agent, sends prompts, follows runs, asks for approvals."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qianda.models.errors import ConfigurationError, QiandaError
from qianda.tui.conversation import Changes, new_session_name
from qianda.tui.panes.queue import PaneQueue
from qianda.tui.place import place_of
from qianda.tui.prompt.draft import Draft
from qianda.tui.prompt.outbox import Outbox
from qianda.tui.screen import ChatScreen
from qianda.tui.transcript.blocks import NoticeBlock
from qianda.tui.welcome import Welcome
from qianda.tui.words import t

if TYPE_CHECKING:
    from collections.abc import Callable

    from qianda.models.config import PermissionMode
    from qianda.models.messages import Content
    from qianda.models.plan import Plan
    from qianda.models.resolve import Endpoint
    from qianda.tools.mcp import MCPServer
    from qianda.tui.conversation import ChatAgent, ChatRun, Conversation, OpenAgent
    from qianda.tui.prompt.shell import Shell
    from qianda.tui.run_view import RunView
    from qianda.tui.thinking import Wanted
    from qianda.tui.trace import Trace

CLOSE_SECONDS = 3.0
"""How long a run and the agent may take to close when the program is left."""
EVENTS_AT_ONCE = 256
"""Events shown before keys get their turn."""

log = logging.getLogger(__name__)


class Chat:
    """One conversation on the screen.

    Args:
        screen: where it shows.
        open_agent: finds the server and gives the agent; called again after a failure.
        session: the conversation to go on with; None begins a new one.
        workspace: the folder that it works in.

    Attributes:
        outbox: what was said and the model has not read.
        shell: runs the person's own commands, once there was one.
        session: the conversation's name in the record.
        changes: what the person changed since the chat was opened.
        mcp_off: MCP servers that no file names and the person has switched off.
        agent: the agent, while there is one.
        endpoint: the server and model, likewise.
        recorded: whether anything was said in it.
    """

    def __init__(self, screen: ChatScreen, open_agent: OpenAgent, session: str | None, workspace: Path) -> None:
        self.session = session or new_session_name()
        self.recorded = False
        self.changes = Changes()
        self.mcp_off: dict[str, MCPServer] = {}
        self.agent: ChatAgent | None = None
        self.endpoint: Endpoint | None = None
        self._screen = screen
        self._transcript, self._status = screen.transcript, screen.status
        self._open_agent = open_agent
        self._restore = session is not None
        self._conversation: Conversation | None = None
        self._open_task: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._before: Changes | None = None  # while a change is tried
        self._was: Endpoint | None = None  # the one before, likewise
        self.workspace = workspace
        self.outbox = Outbox(self, screen)
        self.shell: Shell | None = None
        self._run: ChatRun | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._view: RunView | None = None
        self._noticed: set[str] = set()
        self.panes = PaneQueue(screen, self._answered)
        self.welcome = Welcome(self, screen)

    # The agent

    def open(self) -> None:
        """Look for a model, unless there is one or that is going on."""
        self.welcome.look()
        if self._conversation is None and (self._open_task is None or self._open_task.done()):
            self._open_task = asyncio.create_task(self._keep_open())

    async def _keep_open(self) -> None:
        """Open the agent and keep it until the program is left: it is closed in the task that opened it."""
        from qianda.tools.questions import asked_at_once

        self._status.busy(t("looking for a model"))
        try:
            agent = await self._open_agent(
                asked_at_once(self.panes.approve), self.panes.ask, self.welcome.notice, self.changes
            )
            async with agent:
                self.endpoint = await agent.endpoint()
                self.agent = agent
                self._conversation = agent.session(self.session)
                self._opened(self.endpoint, self._conversation)
                await self._leaving.wait()
        except Exception as error:
            self._failed(error)
        finally:
            self.agent = self.endpoint = self._conversation = None
            if self._run is None:
                self._status.idle()

    def _failed(self, error: Exception) -> None:
        before, self._before = self._before, None
        self._status.say(model="", window=None)
        if before is None:
            self._explain(error, self.welcome.failed(error))
            return
        self._explain(error, t("Nothing is changed"))
        self.changes = before
        asyncio.get_running_loop().call_soon(self.open)

    async def change(self, **changes: Any) -> None:
        """Go on with another model, server, thinking, permissions or plan mode; a change that fails is taken back.

        Args:
            changes: fields of ``Changes``.
        """
        if self._run is not None:
            self.say(t("Stop the run first: Esc"))
            return
        if "server" in changes:
            changes = {"api_key": None, **changes}  # a key belongs to its server
        self._before, self.changes = self.changes, replace(self.changes, **changes)
        self._was = self.endpoint
        await self._shut()
        self.open()

    async def open_again(self) -> None:
        """Open the agent anew: another server may answer, or the folder be trusted."""
        if self._run is None:
            await self._shut()
            self.open()

    async def _shut(self) -> None:
        """Close the agent, so that another can be opened."""
        if self._open_task is not None:
            self._leaving.set()
            if self.agent is None:
                self._open_task.cancel()
            await asyncio.wait([self._open_task])
            self._leaving.clear()

    def _opened(self, endpoint: Endpoint, conversation: Conversation) -> None:
        was, self._before, self._was = self._was, None, None
        if was is not None and (was.url, was.model) != (endpoint.url, endpoint.model):
            self.say(t("From here on {model} answers, {server}", model=endpoint.label, server=endpoint.title))
        label = [endpoint.model, endpoint.kind.title, *([t("demo model")] if endpoint.demo else [])]
        self._status.say(
            model=" · ".join(label),
            window=endpoint.window,
            prices=endpoint.model if endpoint.kind.is_model_studio else "",
        )
        self.settled()
        self._status.idle()
        if self._restore:
            from qianda.tui.transcript.restored import restored_blocks

            self._restore = False
            waiting = self.outbox.early_blocks
            self._transcript.remove_blocks(waiting)
            self._transcript.add(*restored_blocks(conversation.messages), *waiting)
        self.welcome.opened(endpoint)
        self.outbox.opened()

    def set_mode(self, mode: PermissionMode) -> None:
        """Another mode of permissions, from the next call on."""
        if self.agent is not None:
            self.agent.permissions.mode = mode
            self.changes = replace(self.changes, permissions=mode)
            self.settled()

    @property
    def thinking(self) -> Wanted | None:
        """What was asked for, here or before; None for the model's default."""
        resources = self.agent.resources if self.agent is not None else None
        asked = self.changes.thinking
        return resources.client.thinking if asked is None and resources is not None else asked

    def think(self, wanted: Wanted) -> None:
        """Other thinking, from the next prompt on.

        Raises:
            ConfigurationError: this model, or this server, cannot do that, or there is none yet.
        """
        if self.agent is None or self.agent.resources is None:
            raise ConfigurationError(t("There is no model yet"))
        self.agent.resources.think(None if wanted == "default" else wanted)
        self.changes = replace(self.changes, thinking=wanted)
        self.settled()

    def settled(self) -> None:
        """Say in the status line what may have changed: the mode, thinking, and the branch of the folder."""
        if self.agent is not None:
            from qianda.tui.thinking import thinking_words

            mode = t(self.agent.permissions.mode) + (" · " + t("plan first") if self.changes.plan else "")
            self._status.say(mode=mode, thinking=thinking_words(self.changes.thinking), place=place_of(self.workspace))

    async def close(self) -> None:
        """Stop the run and close the agent, so that nothing is lost and no process stays behind."""
        self._leaving.set()
        if self._run is not None:
            self._run.cancel()
        if self._conversation is None and self._open_task is not None:
            self._open_task.cancel()
        if self.shell is not None:
            self.shell.stop()
        tasks: list[asyncio.Task[Any]] = [task for task in (self._run_task, self._open_task) if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)

    # Sending and running

    @property
    def busy(self) -> bool:
        """Whether a run is going on, or about to begin."""
        return self._run is not None or self.outbox.preparing

    @property
    def conversation(self) -> Conversation | None:
        """The conversation, while there is a model."""
        return self._conversation

    @cached_property
    def trace(self) -> Trace:
        """What happened in its runs, since the chat was opened; events are not imported before there are any."""
        from qianda.tui.trace import Trace

        return Trace()

    @property
    def plan(self) -> Plan | None:
        """The plan as it stands: of this program's runs, else the one that an earlier program left open."""
        left = self._conversation.plan if self._conversation is not None else None
        return self.trace.plan or left

    def send(self, draft: Draft | str) -> None:
        """Take a text from the person: a prompt, or steering while a run goes on."""
        self.panes.hide_beside()
        self.outbox.send(Draft(draft) if isinstance(draft, str) else draft)

    def steer(self, content: Content) -> None:
        """Tell the run something, while there is one."""
        if self._run is not None:
            self._run.steer(content)

    def stop(self) -> None:
        """Back from a reason, else stop the person's command, else the run, else take back what waits for a model."""
        if self.panes.back() or (self.shell is not None and self.shell.stop()):
            return
        if self._run is not None:
            self._status.busy(t("stopping"))
            self._run.cancel()
        else:
            self.outbox.stop()

    def clear(self) -> None:
        """Begin a new conversation."""
        if self._run is not None:
            self.say(t("Stop the run first: Esc"))
            return
        self.session, self.recorded, self._restore = new_session_name(), False, False
        self._transcript.clear()
        self.trace.clear()
        self._noticed.clear()
        self.outbox.clear()
        self._status.say(tokens=0)
        if self.agent is not None:
            self._conversation = self.agent.session(self.session)

    def go_to(self, session: str) -> None:
        """Go on with a recorded conversation.

        Args:
            session: its name.
        """
        if self._run is not None:
            self.say(t("Stop the run first: Esc"))
            return
        self.clear()
        self.session, self.recorded, self._restore = session, True, True
        if self.agent is not None and self.endpoint is not None:
            self._conversation = self.agent.session(session)
            self._opened(self.endpoint, self._conversation)

    def resume(self) -> None:
        """Go on with the conversation's last run, which was interrupted."""
        if self._run is not None:
            self.say(t("Stop the run first: Esc"))
        elif self._conversation is None:
            self.say(t("There is no model yet"))
        else:
            self._begin(self._conversation.resume, Draft(""))

    def compact(self) -> str:
        """Have the conversation made shorter; what comes of that, for the person."""
        if self._conversation is None:
            return t("There is no model yet")
        self._conversation.compact()
        return t("The conversation is made shorter before your next prompt is answered")

    def say(self, text: str) -> None:
        """A line from the program; also what the agent says while it opens."""
        block = NoticeBlock(text)
        if self._view is not None:
            self._view.hold(block)
        else:
            self._transcript.add(block)

    def _explain(self, error: Exception, cure: str = "") -> None:
        if not isinstance(error, QiandaError):
            log.error("Unexpected failure in the chat", exc_info=error)
        text = (str(error) or type(error).__name__).rstrip(".")
        self._transcript.add(NoticeBlock(f"{text}. {cure}" if cure else text, "error"))

    def start(self, content: Content, draft: Draft) -> None:
        """Begin a run.

        Args:
            content: what is sent.
            draft: what it was made of: it comes back into the editor when the run is stopped.
        """
        if self._conversation is not None:
            self._begin(partial(self._conversation.stream, content), draft)

    def _begin(self, begin: Callable[[], ChatRun], draft: Draft) -> None:
        try:
            self._run = begin()
        except QiandaError as error:
            self._status.idle()
            self._explain(error)
        else:
            self._run_task = asyncio.create_task(self._follow(self._run, draft))

    async def _follow(self, run: ChatRun, draft: Draft) -> None:
        """Show the events of a run."""
        from qianda.models.events import InputReceived, RunFinished
        from qianda.tui.run_view import RunView

        self._view = view = RunView(self._transcript, self._status, self._noticed)
        reason = which = ""
        shown, began = 0, time.monotonic()
        try:
            async with run:
                self.recorded = True
                async for event in run:
                    self.trace.note(event)
                    if isinstance(event, InputReceived) and event.steering:
                        self.outbox.read()
                    elif isinstance(event, RunFinished) and event.parent_run_id is None:
                        reason, which = event.reason, event.which
                    view.show(event)
                    shown += 1
                    if shown % EVENTS_AT_ONCE == 0:
                        await asyncio.sleep(0)
        except Exception as error:
            view.close()
            self._explain(error)
        finally:
            view.close()
            self._run = self._view = None
            self._status.idle()
            self.settled()
        self._screen.post_message(ChatScreen.RunEnded(time.monotonic() - began, failed=reason in ("", "error")))
        self.welcome.ended(which)
        self.outbox.ended(reason, draft, leaving=self._leaving.is_set())

    def _answered(self, call_id: str) -> None:
        if self._view is not None:
            self._view.answered(call_id)
