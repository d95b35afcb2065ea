"""The chat in the terminal: one screen with the transcript, the prompt and a status line."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen

from qianda.models.errors import QiandaError
from qianda.tui.prompt import PromptArea
from qianda.tui.status import StatusLine
from qianda.tui.transcript.blocks import NoticeBlock, ThinkingBlock, UserBlock
from qianda.tui.transcript.calls import CallBlock
from qianda.tui.transcript.view import Transcript

if TYPE_CHECKING:
    from qianda.models.resolve import Endpoint
    from qianda.tools.permissions import ApprovalRequest, Decision
    from qianda.tui.approval import ApprovalPane
    from qianda.tui.conversation import ChatRun, Conversation, OpenAgent
    from qianda.tui.run_view import RunView

AGAIN_SECONDS = 2.0
"""How long the first Ctrl+C counts."""
CLOSE_SECONDS = 3.0
"""How long a run and the agent may take to close when the program is left."""
EVENTS_AT_ONCE = 256
"""Events shown before keys get their turn."""
DEMO = (
    "This is a demo model, not a Qwen: fine for a first look, and often wrong. "
    "Connect a real one: qianda --server URL, or see qianda doctor."
)

log = logging.getLogger(__name__)


class Pane(Container):
    """Holds the prompt, or an approval in its place."""

    BLANK = True


class ChatScreen(Screen[None]):
    """The one screen. It draws nothing itself, so that an update draws only what changed."""

    BLANK = True
    AUTO_FOCUS = "PromptArea"

    def __init__(self) -> None:
        super().__init__()
        self.transcript = Transcript()
        self.editor = PromptArea()
        self.status = StatusLine()
        self.pane = Pane(self.editor, id="pane")

    def compose(self) -> ComposeResult:
        """Transcript, prompt, status line."""
        yield self.transcript
        yield self.pane
        yield self.status

    def on_mount(self) -> None:
        """Everything heavy waits until the first frame is out."""
        self.call_after_refresh(cast("QiandaApp", self.app).begin)


class QiandaApp(App[int]):
    """The chat.

    Args:
        open_agent: finds the server and gives the agent; called after the first frame, and again after a failure.
        session: the conversation to go on with; None begins a new one.
        prompt: sent as soon as the agent is there.
    """

    CSS_PATH = "app.tcss"
    TITLE = "Qianda"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("ctrl+q", "leave", show=False, priority=True),
        Binding("escape", "stop", show=False),
        Binding("ctrl+t", "fold_thinking", show=False, priority=True),
        Binding("ctrl+o", "fold_results", show=False, priority=True),
        Binding("ctrl+r", "open_again", show=False, priority=True),
        Binding("f1", "help", show=False),
    ]

    def __init__(self, open_agent: OpenAgent, *, session: str | None = None, prompt: str | None = None) -> None:
        super().__init__()
        self._open_agent = open_agent
        self.session_name = session or new_session_name()
        self._restore = session is not None
        self._first = prompt
        self._conversation: Conversation | None = None
        self._open_task: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._queued: list[tuple[str, UserBlock]] = []
        self._run: ChatRun | None = None
        self._run_task: asyncio.Task[None] | None = None
        self._view: RunView | None = None
        self._unread: list[str] = []
        self._noticed: set[str] = set()
        self._asking = asyncio.Lock()
        self._answer: asyncio.Future[Decision] | None = None
        self._interrupted = 0.0
        self.recorded = False

    def get_default_screen(self) -> ChatScreen:
        """The chat itself."""
        self.chat = chat = ChatScreen()
        self.transcript, self.editor, self.status, self.pane = chat.transcript, chat.editor, chat.status, chat.pane
        return chat

    def begin(self) -> None:
        """The first frame is out: look for a model."""
        if self._first:
            self.send(self._first)
        else:
            self._look_for_model()

    # The agent

    def _look_for_model(self) -> None:
        """Look for a model, unless that is done or going on."""
        if self._conversation is None and (self._open_task is None or self._open_task.done()):
            self._open_task = asyncio.create_task(self._keep_open())

    async def _keep_open(self) -> None:
        """Open the agent and keep it until the program is left: it is closed in the task that opened it."""
        self.status.busy("looking for a model")
        try:
            agent = await self._open_agent(self._approve, self._say)
            async with agent:
                endpoint = await agent.endpoint()
                self._conversation = agent.session(self.session_name)
                self._new_session = agent.session
                self._opened(endpoint)
                await self._leaving.wait()
        except Exception as error:
            self._conversation = None
            self._explain(error, "Ctrl+R tries again")
        finally:
            if self._run is None:
                self.status.idle()

    def _opened(self, endpoint: Endpoint) -> None:
        self.status.say(model=" · ".join([endpoint.model, endpoint.kind.title, *(["demo model"] * endpoint.demo)]))
        self.status.window = endpoint.window
        self.status.idle()
        if endpoint.demo:
            self._say(DEMO)
        if self._restore and self._conversation is not None:
            from qianda.tui.run_view import restored_blocks

            self._restore = False
            waiting = [block for _, block in self._queued]
            self.transcript.remove_blocks(waiting)
            self.transcript.add(*restored_blocks(self._conversation.messages), *waiting)
        if self._queued:
            texts = [text for text, _ in self._queued]
            self._queued.clear()
            self._start("\n\n".join(texts))

    def _say(self, text: str) -> None:
        """A line from the program; also what the agent says while it opens."""
        block = NoticeBlock(text)
        if self._view is not None:
            self._view.hold(block)
        else:
            self.transcript.add(block)

    def _explain(self, error: Exception, cure: str = "") -> None:
        if not isinstance(error, QiandaError):
            log.error("Unexpected failure in the chat", exc_info=error)
        text = str(error) or type(error).__name__
        self.transcript.add(NoticeBlock(f"{text.rstrip('.')}. {cure}" if cure else text, "error"))

    # Sending and running

    def on_prompt_area_submitted(self, message: PromptArea.Submitted) -> None:
        """Enter."""
        self.send(message.text)

    def on_prompt_area_ended(self) -> None:
        """Ctrl+D in an empty prompt."""
        self.action_leave()

    def send(self, text: str) -> None:
        """Take a text from the person: a command, steering, or a prompt."""
        command = text.split(maxsplit=1)[0] if text.startswith("/") and len(text.split()) == 1 else ""
        if command.removeprefix("/").isalpha():
            self._command(command)
        elif self._run is not None:
            self._run.steer(text)
            self._unread.append(text)
            self.status.say(waiting=len(self._unread))
        else:
            block = UserBlock(text)
            self.transcript.follow = True
            self.transcript.add(block)
            if self._conversation is None:
                self._queued.append((text, block))
                self._look_for_model()
            else:
                self._start(text)

    def _command(self, command: str) -> None:
        match command:
            case "/quit" | "/exit":
                self.action_leave()
            case "/help":
                self.action_help()
            case "/clear":
                self._clear()
            case _:
                self._say(f"There is no command {command}; F1 lists what there is")

    def _clear(self) -> None:
        if self._run is not None:
            self._say("Stop the run first: Esc")
            return
        self.session_name = new_session_name()
        self.transcript.clear()
        self._noticed.clear()
        self.status.say(tokens=0)
        if self._conversation is not None:
            self._conversation = self._new_session(self.session_name)

    def _start(self, prompt: str) -> None:
        self._run_task = asyncio.create_task(self._follow(prompt))

    async def _follow(self, prompt: str) -> None:
        """Run a prompt and show its events."""
        from qianda.models.events import InputReceived, RunFinished
        from qianda.tui.run_view import RunView

        assert self._conversation is not None
        reason = ""
        self._view = view = RunView(self.transcript, self.status, self._noticed)
        try:
            self._run = run = self._conversation.stream(prompt)
            async with run:
                self.recorded = True
                shown = 0
                async for event in run:
                    if isinstance(event, InputReceived) and event.steering and self._unread:
                        del self._unread[0]
                    view.show(event)
                    reason = event.reason if isinstance(event, RunFinished) else reason
                    shown += 1
                    if shown % EVENTS_AT_ONCE == 0:
                        await asyncio.sleep(0)
        except Exception as error:
            view.close()
            self._explain(error)
        finally:
            view.close()
            self._run = self._view = None
            self.status.idle()
            self.status.say(waiting=0)
        unread, self._unread = self._unread, []
        if reason == "cancelled":
            self.editor.put_back(prompt)
            if unread:
                self._say(f"The model did not read: {' / '.join(unread)}")
        elif unread:  # said when the last reply was already on its way
            self.send("\n\n".join(unread))

    # Approvals

    async def _approve(self, request: ApprovalRequest) -> Decision:
        """Ask the person; one question at a time."""
        from qianda.tui.approval import ApprovalPane

        async with self._asking:
            self._answer = asyncio.get_running_loop().create_future()
            pane = ApprovalPane(request)
            self.editor.display = False
            await self.pane.mount(pane)
            try:
                decision = await self._answer
            finally:
                self._answer = None
                self.editor.display = True
                self.editor.focus()
                pane.remove()
            if self._view is not None:
                self._view.answered(request.call_id)
            return decision

    def on_approval_pane_answered(self, message: ApprovalPane.Answered) -> None:
        """The person decided."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message.decision)

    # Keys

    def action_stop(self) -> None:
        """Esc: back from a reason, else stop the run, else take back what waits for a model."""
        if self._answer is not None:
            from qianda.tui.approval import ApprovalPane

            if self.pane.query_one(ApprovalPane).back():
                return
        if self._run is not None:
            self.status.busy("stopping")
            self._run.cancel()
        elif self._queued:
            text, block = self._queued.pop()
            self.transcript.remove_blocks([block])
            self.editor.put_back(text)

    def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected; else the second one within two seconds quits."""
        selected = self.screen.get_selected_text() or self.editor.selected_text
        if selected:
            self.copy_to_clipboard(selected)
            self.screen.clear_selection()
            self._hint(f"Copied {len(selected)} characters")
        elif time.monotonic() - self._interrupted < AGAIN_SECONDS:
            self.action_leave()
        else:
            self._interrupted = time.monotonic()
            self._hint("Ctrl+C again quits")

    def _hint(self, text: str) -> None:
        self.status.say(hint=text)
        self.set_timer(AGAIN_SECONDS, lambda: self.status.say(hint=""))

    def action_fold_thinking(self) -> None:
        """Ctrl+T."""
        self.transcript.fold_all(ThinkingBlock)

    def action_fold_results(self) -> None:
        """Ctrl+O."""
        self.transcript.fold_all(CallBlock)

    def action_page(self, direction: int) -> None:
        """Page keys scroll the transcript from wherever the focus is."""
        self.transcript.action_page(direction)

    def action_open_again(self) -> None:
        """Ctrl+R."""
        self._look_for_model()

    def action_help(self) -> None:
        """F1."""
        from qianda.tui.help import HelpScreen

        self.push_screen(HelpScreen())

    def action_leave(self) -> None:
        """Quit; a second time without waiting for anything."""
        if self._leaving.is_set():
            self.exit(0)
            return
        self._leaving.set()
        self.status.busy("closing")
        self._leave_task = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        """Stop the run and close the agent, so that nothing is lost and no process stays behind."""
        if self._run is not None:
            self._run.cancel()
        tasks: list[asyncio.Task[Any]] = [task for task in (self._run_task, self._open_task) if task is not None]
        if self._conversation is None and self._open_task is not None:
            self._open_task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        self.exit(0)


def new_session_name() -> str:
    """A name for a conversation that sorts by time."""
    return f"{datetime.now().astimezone():chat-%Y%m%d-%H%M%S}"


def run_tui(open_agent: OpenAgent, *, session: str | None = None, prompt: str | None = None) -> int:
    """Open the chat and stay until the person leaves.

    Args:
        open_agent: gives the agent, given whom to ask for approvals and what to tell notices.
        session: the conversation to go on with; None begins a new one.
        prompt: sent as soon as a model is there.

    Returns:
        The exit code.
    """
    import sys

    app = QiandaApp(open_agent, session=session, prompt=prompt)
    code = app.run()
    if app.recorded and not app.return_code:
        sys.stdout.write(f"To go on with this conversation: qianda --session {app.session_name}\n")
    return app.return_code or code or 0
