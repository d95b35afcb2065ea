"""The Textual app of the chat: its keys and commands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib import import_module
from inspect import isawaitable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from qianda.models.config import PERMISSION_MODES, Config, PermissionMode
from qianda.models.errors import QiandaError
from qianda.tui.chat import Chat
from qianda.tui.commands import COMMANDS, LAST, Command
from qianda.tui.kept import keep, kept
from qianda.tui.pacing import paced_loop
from qianda.tui.prompt.actions import PromptActions
from qianda.tui.prompt.history import History
from qianda.tui.screen import ChatScreen
from qianda.tui.surroundings import Surroundings
from qianda.tui.transcript.blocks import ThinkingBlock
from qianda.tui.transcript.calls import Card
from qianda.tui.transcript.view import Transcript
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.conversation import OpenAgent

STYLES = Path(__file__).with_name("styles")
AGAIN_SECONDS = 2.0
"""How long the first Ctrl+C counts, and how long a hint shows."""

OPEN_AFTER = 0.1
"""Seconds from the first frame to the search for a model, whose imports would delay the first key."""


class QiandaApp(Surroundings, PromptActions):
    """The chat.

    Args:
        open_agent: finds the server and gives the agent; called after the first frame, and again after a failure.
        session: the conversation to go on with; None begins a new one.
        prompt: sent as soon as the agent is there.
        workspace: the folder that it works in.
        record: says whether what is said is kept on disk; asked with the first prompt.
        config: the user's own settings, of which those of the chat itself count here.
    """

    TITLE = "Qianda"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"command({at})", show=False, priority=key not in LAST)
        for at, command in enumerate(COMMANDS)
        for key in command.keys
    ]

    def __init__(
        self,
        open_agent: OpenAgent,
        *,
        session: str | None = None,
        prompt: str | None = None,
        workspace: Path | None = None,
        record: Callable[[], bool] = lambda: True,
        config: Config | None = None,
    ) -> None:
        super().__init__(config or Config(), sorted(STYLES.glob("*.tcss")))
        self._first = prompt
        self._interrupted = float("-inf")
        self._leave_task: asyncio.Task[None] | None = None
        self.failure: Exception | None = None
        self.chat_screen = ChatScreen()
        workspace = workspace or Path.cwd()
        self.chat = Chat(self.chat_screen, open_agent, session, workspace)
        self.chat_screen.editor.serve(self.chat, History(workspace, record=record))

    def get_default_screen(self) -> ChatScreen:
        """The chat itself."""
        return self.chat_screen

    def on_ready(self) -> None:
        """The first frame is out: what is heavy comes after a key that was waiting for it."""
        chosen = kept()
        look = self.chat_screen.transcript.stack.look
        look.thinking, look.split = chosen.get("thinking") is True, chosen.get("columns") is True
        for wrong in self.look_around():
            self.chat.say(wrong)
        if self._first:
            self.chat.send(self._first)
        else:
            self.set_timer(OPEN_AFTER, self.chat.open)

    def _handle_exception(self, error: Exception) -> None:
        self.failure = self.failure or error
        super()._handle_exception(error)

    def _print_error_renderables(self) -> None:
        """No traceback on the screen: ``run_tui`` raises the failure again, for the command line to report."""

    # Commands

    def do(self, command: Command, argument: str = "") -> None:
        """Do what a command says.

        Args:
            command: a row of the table.
            argument: what stands behind its word.
        """
        module, _, name = command.does.partition(":")
        if module == "action":
            action = getattr(self, f"action_{name}")
            made = action(argument) if command.takes else action()
            if isawaitable(made):
                self.run_worker(made)
            return
        if isinstance(self.screen, ModalScreen):  # which waits for an answer
            return
        screen = getattr(import_module(f"qianda.tui.screens.{module}"), name)
        opened = type(self.screen) is not screen  # its own key closes it
        if self.screen is not self.chat_screen:
            self.pop_screen()
        if opened:
            self.push_screen(screen(self.chat))

    def begin(self, command: Command) -> None:
        """Do what was picked from a list; a command that needs an argument goes into the prompt."""
        if command.takes and not command.takes.startswith("["):
            self.chat_screen.editor.put_back(f"/{command.name} ")
        else:
            self.do(command)

    def action_command(self, at: int) -> None:
        """A key of the table."""
        self.do(COMMANDS[at])

    def on_prompt_area_ended(self) -> None:
        """Ctrl+D in an empty prompt."""
        self.action_leave()

    def on_transcript_link_clicked(self, message: Transcript.LinkClicked) -> None:
        """Open it in the browser."""
        self.open_url(message.url)

    def on_transcript_code_copied(self, message: Transcript.CodeCopied) -> None:
        """The word that copies code was clicked."""
        self.action_copy_code(message.code)

    # Keys

    def action_stop(self) -> None:
        """Esc."""
        self.chat.stop()

    def action_interrupt(self) -> None:
        """Ctrl+C: copy what is selected; else the second one within two seconds quits."""
        selected = self.screen.get_selected_text() or self.chat_screen.editor.selected_text
        if selected:
            self.copy_to_clipboard(selected)
            self.screen.clear_selection()
        elif time.monotonic() - self._interrupted < AGAIN_SECONDS:
            self.action_leave()
        else:
            self._interrupted = time.monotonic()
            self.hint(t("Ctrl+C again quits"))

    def hint(self, text: str) -> None:
        """Say something in the status line, for a moment."""
        status = self.chat_screen.status
        status.say(hint=text)

        def over() -> None:
            if status.hint == text:  # and not what was said since
                status.say(hint="")

        self.set_timer(AGAIN_SECONDS, over)

    def action_fold_thinking(self) -> None:
        """Ctrl+T."""
        self.chat_screen.transcript.fold_all(ThinkingBlock)
        keep(thinking=self.chat_screen.transcript.stack.look.thinking)

    def action_fold_results(self) -> None:
        """Ctrl+O."""
        self.chat_screen.transcript.fold_all(Card)

    def action_fold_card(self) -> None:
        """F8."""
        self.chat_screen.transcript.fold_lowest()

    def action_copy_code(self, code: str = "") -> None:
        """Ctrl+L: the code under the mouse, else the last."""
        code = code or self.chat_screen.transcript.last_code
        if code:
            self.copy_to_clipboard(code)
        else:
            self.hint(t("There is no code yet"))

    def action_find(self, text: str = "") -> None:
        """Find a text in the transcript."""
        if not self.chat_screen.transcript.find_text(text) and text:
            self.hint(t("It is not there: {text}", text=text))

    def action_find_next(self) -> None:
        """Ctrl+N."""
        self.chat_screen.transcript.find_next(-1)

    def action_find_after(self) -> None:
        """Alt+N."""
        self.chat_screen.transcript.find_next(1)

    def action_split_diffs(self) -> None:
        """Differences in two columns, or in one."""
        self.chat_screen.transcript.split_diffs()
        keep(columns=self.chat_screen.transcript.stack.look.split)

    def action_page(self, direction: int) -> None:
        """Page keys scroll the transcript from the prompt."""
        self.chat_screen.transcript.action_page(direction)

    def action_open_again(self) -> None:
        """Ctrl+R."""
        self.call_later(self.chat.open_again)

    def action_mode(self, mode: str = "") -> None:
        """Another mode of permissions; without a name the next one, but never the loosest by a key alone."""
        modes = PERMISSION_MODES if mode else PERMISSION_MODES[:-1]
        agent = self.chat.agent
        if agent is None:
            self.hint(t("There is no model yet"))
            return
        now = agent.permissions.mode
        after = modes[(modes.index(now) + 1) % len(modes)] if now in modes else modes[0]
        wanted: PermissionMode | None = next((one for one in modes if one == mode), None) if mode else after
        if wanted is None:
            self.chat.say(t("There is no mode {mode}; there are {modes}", mode=mode, modes=", ".join(modes)))
        else:
            self.chat.set_mode(wanted)
            self.hint(t("Permissions: {mode}", mode=t(wanted)))

    async def action_model(self, name: str = "") -> None:
        """Go on with another model; without a name see which there are."""
        from qianda.tui.screens.models import ModelsScreen, switch
        from qianda.tui.servers import find_model

        if not name:
            self.push_screen(ModelsScreen(self.chat))
        elif (found := await find_model(self.chat, name)) is not None:
            await switch(self.chat, found)
        else:
            self.chat.say(t("No server that answers has a model {name}; F3 shows what there is", name=name))

    def action_thinking(self, text: str = "") -> None:
        """How much the model thinks, from the next prompt on; without a text say how much it is."""
        from qianda.tui.thinking import read_thinking, thinking_words

        try:
            if text:
                self.chat.think(read_thinking(text))
            self.chat.say(thinking_words(self.chat.thinking) or t("default thinking"))
        except QiandaError as error:
            self.chat.say(str(error))

    def action_compact(self) -> None:
        """Have the conversation made shorter."""
        self.chat.say(self.chat.compact())

    def action_resume(self) -> None:
        """Go on with a run that was interrupted."""
        self.chat.resume()

    def action_clear(self) -> None:
        """A new conversation."""
        self.chat.clear()

    def action_leave(self) -> None:
        """Quit; a second time without waiting for anything."""
        if self._leave_task is not None:
            self.exit(0)
            return
        self.chat_screen.status.busy(t("closing"))
        self._leave_task = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        await self.chat.close()
        self.exit(0)


def run_tui(
    open_agent: OpenAgent,
    *,
    session: str | None = None,
    prompt: str | None = None,
    workspace: Path | None = None,
    record: Callable[[], bool] = lambda: True,
    config: Config | None = None,
) -> int:
    """Open the chat and stay until the person leaves.

    Args:
        open_agent: gives the agent, given whom to ask for approvals and what to tell notices.
        session: the conversation to go on with; None begins a new one.
        prompt: sent as soon as a model is there.
        workspace: the folder that it works in.
        record: says whether what is said is kept on disk; asked with the first prompt.
        config: the user's own settings.

    Returns:
        The exit code.

    Raises:
        Exception: a fault of the chat itself, after the terminal is as it was.
    """
    import sys

    app = QiandaApp(open_agent, session=session, prompt=prompt, workspace=workspace, record=record, config=config)
    with asyncio.Runner(loop_factory=paced_loop) as runner:
        code = runner.run(app.live()) or app.return_code or 0
    if app.failure is not None:
        raise app.failure
    if app.chat.recorded and not code:
        sys.stdout.write(
            t("To go on with this conversation: {command}", command=f"qianda --session {app.chat.session}")
        )
        sys.stdout.write("\n")
    return code
