"""The person's own shell commands: run by their will, shown as they go, told to the model with the next prompt."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qianda.models.errors import ToolError
from qianda.models.messages import content_text
from qianda.tools.builtin.shell import run_command
from qianda.tools.context import Context
from qianda.tui.transcript.calls import CallBlock
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.chat import Chat
    from qianda.tui.screen import ChatScreen

LONGEST = 600
"""Seconds that a command may take."""


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """What a command printed.

    Args:
        command: as it was typed.
        text: its output and how it ended.
    """

    command: str
    text: str


class Shell:
    """Runs commands in the workspace, outside the sandbox, one at a time; ``cd`` holds for the next one.

    Args:
        chat: gets what they print.
        screen: shows it.
    """

    def __init__(self, chat: Chat, screen: ChatScreen) -> None:
        self._chat, self._screen = chat, screen
        self._conversation = AsyncExitStack()  # what the folder is remembered by
        self._task: asyncio.Task[None] | None = None

    def run(self, command: str, *, shared: bool) -> None:
        """Run a command.

        Args:
            command: for the shell.
            shared: the model gets it with the next prompt.
        """
        if self._running:
            self._chat.say(t("A command is running; Esc stops it"))
            self._screen.editor.put_back(f"!{command}")
        else:
            self._task = asyncio.create_task(self._run(command, shared=shared))

    def stop(self) -> bool:
        """Stop the command; whether there was one."""
        if self._task is None or not self._running:
            return False
        self._task.cancel()
        return True

    @property
    def _running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _run(self, command: str, *, shared: bool) -> None:
        transcript, status = self._screen.transcript, self._screen.status
        block = CallBlock(t("your command"))
        block.folded = False
        block.start(block.name, json.dumps({"command": command}, ensure_ascii=False))
        transcript.follow = True
        transcript.add(block)
        if not self._chat.busy:
            status.busy(t("running your command"))
        context = Context(
            workspace=self._chat.workspace,
            closing=self._conversation,
            progress=lambda text: transcript.feed(block, text),
        )
        started = time.monotonic()
        try:
            result = await run_command(command, context, timeout=LONGEST)
            text = content_text(result.content)
            transcript.flush()
            (block.fail if result.failed else block.finish)(text, time.monotonic() - started)
            if shared:
                self._chat.outbox.share(CommandOutput(command, text))
        except ToolError as error:
            block.fail(str(error), 0.0)
        except asyncio.CancelledError:
            block.stop(t("You stopped it."))
        finally:
            transcript.update_block(block)
            if not self._chat.busy:
                status.idle()
