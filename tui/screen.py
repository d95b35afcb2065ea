"""The one screen: transcript, prompt or approval, status line."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.screen import Screen

from qianda.tui.prompt.editor import PromptArea
from qianda.tui.prompt.popup import Popup
from qianda.tui.prompt.waiting import Waiting
from qianda.tui.status import StatusLine
from qianda.tui.transcript.view import Transcript


class Pane(Container):
    """Holds the prompt, or an approval in its place."""

    BLANK = True


class ChatScreen(Screen[None]):
    """Draws nothing itself, so that an update draws only what changed."""

    BLANK = True
    AUTO_FOCUS = "PromptArea"

    @dataclass
    class RunEnded(Message):
        """A run ended, after so many seconds."""

        seconds: float
        failed: bool

    class Asks(Message):
        """Something waits for the person's answer."""

    def __init__(self) -> None:
        super().__init__()
        self.transcript = Transcript()
        self.waiting, popup = Waiting(), Popup()
        self.editor = PromptArea(popup)
        self.status = StatusLine()
        self.pane = Pane(self.waiting, popup, self.editor, id="pane")

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield self.transcript
        yield self.pane
        yield self.status
