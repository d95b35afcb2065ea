"""The prompt: an editor of several lines with a history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea


class PromptArea(TextArea):
    """Enter sends, Shift+Enter or Ctrl+J breaks the line, Up and Down at the edges go through the history."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "previous", show=False),
        Binding("down", "next", show=False),
        Binding("pageup", "app.page(-1)", show=False),
        Binding("pagedown", "app.page(1)", show=False),
        Binding("ctrl+d", "end_of_input", show=False),
    ]

    @dataclass
    class Submitted(Message):
        """The person sent a text."""

        text: str

    class Ended(Message):
        """The person said that nothing more will come."""

    def __init__(self) -> None:
        super().__init__(
            soft_wrap=True,
            show_line_numbers=False,
            compact=True,
            highlight_cursor_line=False,
            tab_behavior="focus",
            placeholder="Ask anything · F1 help",
        )
        self.cursor_blink = False
        self.sent: list[str] = []
        self._at = 0
        self._draft = ""

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            text = self.text.strip()
            if text:
                self._remember(text)
                self.post_message(self.Submitted(text))
        elif event.key in ("shift+enter", "ctrl+j"):
            event.stop()
            event.prevent_default()
            self.insert("\n")

    def _remember(self, text: str) -> None:
        if self.sent[-1:] != [text]:
            self.sent.append(text)
        self._at = len(self.sent)
        self.clear()

    def put_back(self, text: str) -> bool:
        """Offer a text again, into an empty editor only; whether it was taken."""
        if self.text:
            return False
        self._show(text)
        return True

    def _show(self, text: str) -> None:
        self.text = text
        self.move_cursor(self.document.end)

    def action_previous(self) -> None:
        """Up: a line up, from the first line to the entry before."""
        if self.cursor_location[0] > 0 or not self._at:
            self.action_cursor_up()
            return
        if self._at == len(self.sent):
            self._draft = self.text
        self._at -= 1
        self._show(self.sent[self._at])

    def action_next(self) -> None:
        """Down: a line down, from the last line to the next entry."""
        if self.cursor_location[0] < self.document.line_count - 1 or self._at >= len(self.sent):
            self.action_cursor_down()
            return
        self._at += 1
        self._show(self.sent[self._at] if self._at < len(self.sent) else self._draft)

    def action_end_of_input(self) -> None:
        """Ctrl+D: quits when there is nothing to lose, else deletes a character."""
        if self.text:
            self.action_delete_right()
        else:
            self.post_message(self.Ended())
