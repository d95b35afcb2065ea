"""A tool's question: takes the prompt's place; an answer is picked or typed, or declined."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual.app import ComposeResult
from textual.widgets import Input, Static

from qianda.tui.panes.asking import AskingPane, Choice
from qianda.tui.panes.shown import What, text_block
from qianda.tui.transcript.rows import visible
from qianda.tui.words import t

DECLINE = "decline"


class QuestionPane(AskingPane):
    """Asks for one text.

    Args:
        text: the question.
        options: answers to pick; another one may be typed.
        answer: gets the text, or None when the person declines.
    """

    def __init__(self, text: str, options: Sequence[str], answer: asyncio.Future[str | None]) -> None:
        super().__init__()
        self._text = text
        self._options = {f"option-{number}": option for number, option in enumerate(options)}
        self._answer = answer
        self.first = next(iter(self._options), "typed")

    def compose(self) -> ComposeResult:
        """The question, a line to type, the answers to pick."""
        yield What(text_block(self._text, "call-name"), tell=self.show_hidden)
        yield Static(id="more", markup=False)
        yield Input(placeholder=t("Your answer; Enter sends"), id="typed", compact=True)
        for key, option in self._options.items():
            yield Choice(key, visible(option))
        yield Choice(DECLINE, t("No answer"))

    def stops(self) -> list[str]:
        """The line to type in comes first."""
        return ["typed", *self._options, DECLINE]

    def choose(self, key: str) -> None:
        """Take a picked answer, or none."""
        self._decide(self._options.get(key))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take a typed answer; an empty line is none."""
        event.stop()
        self._decide(event.value.strip() or None)

    def _decide(self, answer: str | None) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)
