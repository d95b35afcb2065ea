"""What all panes in the prompt's place share: what is asked about, answers to pick, keys, a guard for typists."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea

from qianda.tui.panes.shown import What
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.screen import ChatScreen

GUARD_SECONDS = 0.8
"""Who was typing as the pane came goes on typing for so long: Enter answers nothing, and letters are not lost."""


class Choice(Static, can_focus=True):
    """One answer; a click is as good as Enter."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(markup=False, id=key)
        self.say(text)

    def say(self, text: str, mark: str = " ") -> None:
        """Another text."""
        self._text = text
        self.update(f"{mark} {text}")

    def on_focus(self) -> None:
        """It has the focus now: without colours too one sees that."""
        self.say(self._text, "▸")

    def on_blur(self) -> None:
        """Another has it."""
        self.say(self._text)

    def on_click(self, event: events.Click) -> None:
        """Choose it."""
        event.stop()
        pane = next(parent for parent in self.ancestors if isinstance(parent, AskingPane))
        pane.choose(self.id or "")


class AskingPane(Widget):
    """Takes the prompt's place until it is answered.

    A class of it composes a ``What``, a ``Static`` with the id ``more``, and a ``Choice`` for each answer, and says in
    ``choose`` what an answer does.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        # Before the widget in focus: where keys come in a burst, the next one has to find the new focus.
        Binding("up", "move(-1)", show=False, priority=True),
        Binding("down", "move(1)", show=False, priority=True),
        Binding("shift+tab", "step(-1)", show=False, priority=True),
        Binding("tab", "step(1)", show=False, priority=True),
        Binding("enter", "choose", show=False, priority=True),
        Binding("pageup", "scroll_what(-1)", show=False),
        Binding("pagedown", "scroll_what(1)", show=False),
        Binding("ctrl+up", "scroll_transcript(-1)", show=False),
        Binding("ctrl+down", "scroll_transcript(1)", show=False),
    ]
    first: str = ""
    """The answer, or the field, that has the focus at the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.display = False  # until an answer has the focus: keys go where the person sees them go
        self._guard = 0.0

    @property
    def chat_screen(self) -> ChatScreen:
        """The screen that it is on."""
        return cast("ChatScreen", self.screen)

    @property
    def keys(self) -> tuple[str, ...]:
        """What keys do here, for the status line: whole, and shorter for narrow terminals."""
        return (
            t("Up/Down choose · Enter answers · PgUp/PgDn scroll · Esc stops the run"),
            t("Up/Down choose · Enter answers · Esc stops the run"),
            t("Up/Down, Enter · Esc stops"),
            t("Esc stops"),
        )

    def on_mount(self) -> None:
        """The least permissive answer has the focus."""
        if self.chat_screen.editor.text:
            self._guard = time.monotonic() + GUARD_SECONDS
        for more in self.query("#more"):
            more.display = False
        for line in self.query(Input):
            line.cursor_blink = False  # which would cost something while nothing happens
        self.prepare()
        self.display = True
        self.focus_on(self.first)
        self.say_keys()

    def prepare(self) -> None:
        """What is to be done before it shows."""

    def say_keys(self) -> None:
        """The status line says what keys do."""
        self.chat_screen.status.say(keys=self.keys)

    def show_hidden(self, above: int, below: int) -> None:
        """Say what of the call is not on the screen."""
        more = self.query_one("#more", Static)
        texts = [
            *([t("↑ {count} more lines above", count=above)] if above else []),
            *([t("… {count} more lines below", count=below)] if below > 1 else []),
            *([t("… 1 more line below")] if below == 1 else []),
        ]
        if texts:
            more.update(" · ".join([*texts, t("PgUp/PgDn scroll")]))
        more.display = bool(texts)

    # Keys

    def focus_on(self, key: str) -> None:
        """Put the focus on an answer or a field."""
        # At once, not with the next message: a key that follows must find it.
        self.screen.set_focus(self.query_one(f"#{key}"))

    @property
    def focused(self) -> str:
        """The id of what has the focus."""
        # Not ``has_focus``, which lags behind: keys come in bursts.
        focused = self.screen.focused
        return "" if focused is None else focused.id or ""

    def stops(self) -> Sequence[str]:
        """The ids that Up and Down go through."""
        return [choice.id or "" for choice in self.query(Choice) if choice.display]

    def on_key(self, event: events.Key) -> None:
        """Letters of a prompt that was being typed go on into the prompt."""
        if time.monotonic() >= self._guard:
            return
        if event.is_printable and event.character:
            self.chat_screen.editor.insert(event.character)
            self._guard = time.monotonic() + GUARD_SECONDS
        else:
            self._guard = 0.0  # meant for the pane

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        """Lines of text take Enter themselves, and an editor Up and Down."""
        focused = self.screen.focused
        if action == "choose":
            return not isinstance(focused, Input | TextArea)
        return not (action == "move" and isinstance(focused, TextArea))

    def action_move(self, direction: int) -> None:
        """Up and Down."""
        self.action_step(direction)

    def action_step(self, direction: int) -> None:
        """The answer above or below."""
        self._guard = 0.0
        keys = self.stops()
        at = keys.index(self.focused) if self.focused in keys else 0
        self.focus_on(keys[min(max(at + direction, 0), len(keys) - 1)])

    def action_choose(self) -> None:
        """The answer in focus."""
        if time.monotonic() >= self._guard and isinstance(self.screen.focused, Choice):
            self.choose(self.focused)

    def action_scroll_what(self, direction: int) -> None:
        """Scroll what is longer than its place, else the transcript."""
        what = next(iter(self.query(What)), None)
        if what is not None and what.stack.total > what.size.height:
            what.move(direction * max(what.size.height - 1, 1))
        else:
            self.action_scroll_transcript(direction)

    def action_scroll_transcript(self, direction: int) -> None:
        """Scroll what was said before."""
        self.chat_screen.transcript.action_page(direction)

    # Answers

    def choose(self, key: str) -> None:
        """Take an answer."""
        raise NotImplementedError

    def back(self) -> bool:
        """One step back; whether there was one."""
        return False
