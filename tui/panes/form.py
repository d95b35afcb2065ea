"""A form in the prompt's place: the fields of a JSON Schema, each seen to before it is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from qianda.tui.panes.asking import AskingPane, Choice
from qianda.tui.panes.fields import Pick, read_field, widget_of
from qianda.tui.panes.shown import share_of
from qianda.tui.transcript.rows import visible
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tools.questions import Answer


class FormPane(AskingPane):
    """Asks for the fields of an object.

    Args:
        text: what is asked.
        schema: JSON Schema of the object.
        answer: gets the values by field, or None when the person declines.
    """

    def __init__(self, text: str, schema: dict[str, Any], answer: asyncio.Future[Answer]) -> None:
        super().__init__()
        self._text = text
        self._fields = cast("dict[str, dict[str, Any]]", schema["properties"])
        self._needed = frozenset(cast("list[str]", schema.get("required", [])))
        self._keys = {f"field-{number}": name for number, name in enumerate(self._fields)}
        self._answer = answer
        self.first = next(iter(self._keys))

    @property
    def keys(self) -> tuple[str, ...]:
        """Fields are walked through."""
        return (
            t("Up/Down, Enter: next field · Left/Right: choose · Esc stops the run"),
            t("Up/Down, Enter: next field · Esc stops"),
            t("Esc stops"),
        )

    def compose(self) -> ComposeResult:
        """The question, a line and a field each, the answers."""
        yield Static(visible(self._text), id="title", markup=False)
        with VerticalScroll(id="form", can_focus=False):
            for key, name in self._keys.items():
                field, needed = self._fields[name], name in self._needed
                about = ": ".join(filter(None, [str(field.get("title") or name), str(field.get("description", ""))]))
                yield Static(visible(about) + ("" if needed else t(" (may be left empty)")), markup=False)
                yield widget_of(name, field, key, needed=needed)
                yield Static(id=f"{key}-wrong", classes="wrong", markup=False)
        yield Choice("send", t("Send"))
        yield Choice("decline", t("No answer"))

    def prepare(self) -> None:
        """A long form scrolls."""
        self.query_one("#form").styles.max_height = share_of(self, 0.5)

    def stops(self) -> list[str]:
        """The fields, then the answers."""
        return [*self._keys, *super().stops()]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - Textual's
        """Enter leads on also from a line of text."""
        return True

    def action_choose(self) -> None:
        """Enter: on to the next field, or the answer in focus."""
        if self.focused in self._keys:
            self.action_step(1)
        else:
            super().action_choose()

    def choose(self, key: str) -> None:
        """Send what was filled in, where it is right; or nothing."""
        if key == "send":
            self.call_after_refresh(self._send)  # when the fields have got the keys before
        elif not self._answer.done():
            self._answer.set_result(None)

    def _send(self) -> None:
        if self._answer.done():
            return
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for at, name in self._keys.items():
            widget = cast("Pick | Input", self.query_one(f"#{at}"))
            value, problem = read_field(widget, self._fields[name], needed=name in self._needed)
            note = self.query_one(f"#{at}-wrong", Static)
            note.update(visible(problem))
            note.display = bool(problem)
            if problem:
                wrong.append(at)
            elif value is not None:
                values[name] = value
        if wrong:
            self.focus_on(wrong[0])
        else:
            self._answer.set_result(values)
