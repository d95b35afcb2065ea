"""A tool's question: takes the prompt's place; an answer is picked or typed, or declined."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Input, Static

from qianda.tui.panes.approval import Choice
from qianda.tui.transcript.rows import visible

DECLINE = "decline"


class QuestionPane(Widget):
    """Asks for one text.

    Args:
        text: the question.
        options: answers to pick; another one may be typed.
        answer: gets the text, or None when the person declines.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,shift+tab", "step(-1)", show=False),
        Binding("down,tab", "step(1)", show=False),
        Binding("enter", "choose", show=False),
    ]

    def __init__(self, text: str, options: Sequence[str], answer: asyncio.Future[str | None]) -> None:
        super().__init__()
        self._text = text
        self._options = {f"option-{number}": option for number, option in enumerate(options)}
        self._answer = answer
        self.display = False  # until an answer has the focus: keys go where the person sees them go

    def compose(self) -> ComposeResult:
        """The question, a line to type, the answers to pick."""
        with VerticalScroll(id="what", can_focus=False):
            yield Static(visible(self._text), id="title", markup=False)
        yield Input(placeholder="Your answer; Enter sends", id="typed", compact=True)
        for key, option in self._options.items():
            yield Choice(key, visible(option))
        yield Choice(DECLINE, "No answer")

    def on_mount(self) -> None:
        """The first answer has the focus, or the line where there is none."""
        self.display = True
        self._focus(next(iter(self._options), "typed"))

    def _focus(self, key: str) -> None:
        # At once, not with the next message: a key that follows must find it.
        self.screen.set_focus(self.query_one(f"#{key}"))

    @property
    def _focused(self) -> str:
        focused = self.screen.focused
        return "" if focused is None else focused.id or ""

    def action_step(self, direction: int) -> None:
        """The answer above or below."""
        keys = ["typed", *self._options, DECLINE]
        at = keys.index(self._focused) if self._focused in keys else 0
        self._focus(keys[min(max(at + direction, 0), len(keys) - 1)])

    def action_choose(self) -> None:
        """The answer in focus."""
        self.choose(self._focused)

    def choose(self, key: str) -> None:
        """Take a picked answer, or none."""
        if key == DECLINE or key in self._options:
            self._decide(self._options.get(key))

    def back(self) -> bool:
        """Nothing to go back from."""
        return False

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take a typed answer; an empty line is none."""
        event.stop()
        self._decide(event.value.strip() or None)

    def _decide(self, answer: str | None) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)
