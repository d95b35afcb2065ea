"""The approval: takes the prompt's place, shows the whole call, and has No in focus."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from qianda.tui.transcript.rows import visible

if TYPE_CHECKING:
    from qianda.tools.permissions import ApprovalRequest, Decision

CHOICES = (
    ("no", "No"),
    ("tell", "No, and say why"),
    ("once", "Yes, once"),
    ("session", "Yes, and not asked again in this session for exactly this call"),
)


def call_text(request: ApprovalRequest) -> str:
    """The whole call as it will be run, nothing left out and nothing hidden."""
    import json

    arguments = dict(request.arguments)
    lines: list[str] = []
    if isinstance(command := arguments.get("command"), str):
        del arguments["command"]
        lines.append("$ " + command.replace("\n", "\n  "))
    for name, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(f"{name}: {text}" if "\n" not in text else f"{name}:\n{text}")
    return visible("\n".join(lines)) or "(no arguments)"


class Choice(Static, can_focus=True):
    """One answer; a click is as good as Enter."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text, markup=False, id=key)

    def on_click(self, event: events.Click) -> None:
        """Choose it."""
        event.stop()
        cast("ApprovalPane", self.parent).choose(self.id or "no")


class ApprovalPane(Widget):
    """Asks about one call.

    Args:
        request: the call.
        answer: gets the decision.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,shift+tab", "step(-1)", show=False),
        Binding("down,tab", "step(1)", show=False),
        Binding("enter", "choose", show=False),
        Binding("pageup", "scroll_call(-1)", show=False),
        Binding("pagedown", "scroll_call(1)", show=False),
    ]

    def __init__(self, request: ApprovalRequest, answer: asyncio.Future[Decision]) -> None:
        super().__init__()
        self.request = request
        self._answer = answer
        self.display = False  # until an answer has the focus: keys go where the person sees them go

    def compose(self) -> ComposeResult:
        """Title, reason, the whole call, the answers."""
        name = visible(self.request.name)
        yield Static(f"Run {name}?", id="title", markup=False)
        with VerticalScroll(id="what", can_focus=False):
            yield Static(Content(call_text(self.request)))
        if self.request.reason:
            yield Static(visible(self.request.reason), id="reason", markup=False)
        for key, text in CHOICES:
            yield Choice(key, text)
        yield Input(placeholder="Why not? The model reads it. Enter sends, Esc goes back", id="why", compact=True)

    def on_mount(self) -> None:
        """The least permissive answer has the focus."""
        self.display = True
        self._focus("no")

    def _focus(self, key: str) -> None:
        # At once, not with the next message: a key that follows must find it.
        self.screen.set_focus(self.query_one(f"#{key}"))

    @property
    def _focused(self) -> str:
        # Not ``has_focus``, which lags behind: keys come in bursts.
        focused = self.screen.focused
        return "" if focused is None else focused.id or ""

    def action_step(self, direction: int) -> None:
        """The answer above or below."""
        keys = [key for key, _ in CHOICES]
        at = keys.index(self._focused) if self._focused in keys else 0
        self._focus(keys[min(max(at + direction, 0), len(keys) - 1)])

    def action_choose(self) -> None:
        """The answer in focus."""
        if self._focused in dict(CHOICES):
            self.choose(self._focused)

    def action_scroll_call(self, direction: int) -> None:
        """Scroll a call that is longer than its place."""
        what = self.query_one("#what", VerticalScroll)
        what.scroll_relative(y=direction * max(what.size.height - 1, 1), animate=False)

    def choose(self, key: str) -> None:
        """Take an answer."""
        from qianda.tools.permissions import Decision

        match key:
            case "once":
                self._decide(Decision.allow())
            case "session":
                self._decide(Decision.allow(scope="session"))
            case "tell":
                self.add_class("-why")
                self._focus("why")
            case _:
                self._decide(Decision.deny())

    def _decide(self, decision: Decision) -> None:
        if not self._answer.done():
            self._answer.set_result(decision)

    def back(self) -> bool:
        """From the reason back to the answers; whether it was there."""
        if not self.has_class("-why"):
            return False
        self.remove_class("-why")
        self._focus("no")
        return True

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """No, with a reason."""
        from qianda.tools.permissions import Decision

        event.stop()
        self._decide(Decision.deny(event.value.strip()))
