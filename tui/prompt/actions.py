"""What the prompt's own keys and commands do in the app."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import App

from qianda.tui.commands import Command, command_named
from qianda.tui.prompt.draft import Draft
from qianda.tui.prompt.editor import PromptArea
from qianda.tui.prompt.pasting import read_pastes_whole
from qianda.tui.prompt.waiting import Waiting
from qianda.tui.words import t

if TYPE_CHECKING:
    from textual.driver import Driver

    from qianda.tui.chat import Chat
    from qianda.tui.screen import ChatScreen

_COMMAND = re.compile(r"/(?P<word>[A-Za-z][\w.:-]*)(?:\s+(?P<argument>.*))?", re.DOTALL)


class PromptActions(App[int]):
    """The part of the app that belongs to the prompt."""

    chat: Chat
    chat_screen: ChatScreen

    def get_driver_class(self) -> type[Driver]:
        """Textual's driver for this terminal; large pastes do not keep it busy."""
        driver = super().get_driver_class()
        read_pastes_whole(driver)
        return driver

    def do(self, command: Command, argument: str = "") -> None:
        """Do what a command says."""
        raise NotImplementedError

    def hint(self, text: str) -> None:
        """Say something for a moment."""
        raise NotImplementedError

    # What was sent

    def on_prompt_area_submitted(self, message: PromptArea.Submitted) -> None:
        """A prompt; or a command: a slash and a word; or, behind a !, a line for the shell."""
        draft = message.draft
        if draft.text.startswith("!") and draft.text.strip("! \n"):
            self._run_shell(draft.whole)
        elif (found := _COMMAND.fullmatch(draft.text)) is None:
            self._say(draft, later=message.later)
        elif (command := command_named(found["word"])) is not None:
            self.do(command, (found["argument"] or "").strip())
        else:
            self.run_worker(self._expand(found["word"], draft, found["argument"] or "", later=message.later))

    def _say(self, draft: Draft, *, later: bool) -> None:
        (self.chat.outbox.queue if later else self.chat.send)(draft)

    async def _expand(self, word: str, draft: Draft, argument: str, *, later: bool) -> None:
        """A command of the user's or the folder's own, a skill, or an MCP server's prompt."""
        from qianda.models.errors import QiandaError
        from qianda.tui.prompt.own_commands import expanded

        try:
            made = await expanded(self.chat, word, draft, argument.strip())
        except (QiandaError, OSError) as error:
            self.chat.say(f"/{word}: {error}")
            self.chat_screen.editor.put_back(draft)
            return
        if made is not None:
            self._say(made, later=later)
        elif word.replace("-", "").replace(":", "").isalpha():
            self.chat.say(t("There is no command {word}; F1 lists what there is", word=f"/{word}"))
        else:  # such as a path
            self._say(draft, later=later)

    def _run_shell(self, text: str) -> None:
        from qianda.tui.prompt.shell import Shell

        if self.chat.shell is None:
            self.chat.shell = Shell(self.chat, self.chat_screen)
        self.chat.shell.run(text.removeprefix("!").removeprefix("!").strip(), shared=not text.startswith("!!"))

    # The queue

    def action_queue(self) -> None:
        """Ctrl+Q: queue the prompt while a run goes on; else send it, or what was queued."""
        editor = self.chat_screen.editor
        if not editor.has_focus:
            return
        if editor.text.strip():
            editor.submit(later=True)
        elif not self.chat.outbox.confirm():
            self.hint(t("Ctrl+C twice quits"))

    def on_prompt_area_take_back(self) -> None:
        """Up in an empty prompt."""
        self.chat.outbox.take_back_last()

    def on_waiting_taken(self, message: Waiting.Taken) -> None:
        """A click on one of the rows."""
        self.chat.outbox.take_back(message.at)

    # Commands

    def action_history(self, text: str = "") -> None:
        """Ctrl+F: find something that was sent before."""
        if not self.chat_screen.editor.sent.entries:
            self.hint(t("Nothing was sent yet"))
        elif self.chat_screen.editor.has_focus:
            self.chat_screen.editor.search(text)
            self.hint(t("Words of it find it · Enter takes it · Esc back"))

    def action_attach(self, path: str) -> None:
        """Put a file into the prompt."""
        from qianda.tui.prompt.dropped import dropped_files, is_image

        if not path:
            self.hint(t("Say which file: /attach PATH"))
            return
        file = Path(path.strip("'\"")).expanduser()
        files = [file] if (file := self.chat.workspace / file).exists() else dropped_files(path)
        if not files:
            self.chat.say(t("{path} does not exist", path=path))
        for file in files:
            self.chat_screen.editor.attach(file.resolve(), image=is_image(file))

    async def action_edit_outside(self) -> None:
        """Ctrl+G: the prompt in the person's own editor."""
        from qianda.tui.prompt.outside import edit_outside

        editor = self.chat_screen.editor
        if not editor.has_focus:
            return
        try:
            text = await edit_outside(self, editor.text)
        except (OSError, ValueError) as error:
            self.chat.say(str(error))
            return
        if text is None:
            self.hint(t("No editor is set: export EDITOR=nano, or VISUAL"))
        else:
            editor.show(Draft(text, editor.attached))
