"""The help screen: every key."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS = (
    ("Enter", "send; while the model works: steer it"),
    ("Shift+Enter, Ctrl+J", "a new line"),
    ("Up, Down", "at the edges: what was sent before"),
    ("Esc", "stop the run"),
    ("Ctrl+T", "open or fold all thinking"),
    ("Ctrl+O", "open or fold all results of tools"),
    ("PageUp, PageDown", "scroll; the mouse wheel too"),
    ("Mouse", "drag selects; click: fold, open a link"),
    ("Ctrl+C", "copy the selection; twice: quit"),
    ("Ctrl+D", "quit, when the prompt is empty"),
    ("Ctrl+R", "try again to reach a model"),
    ("F1, /help", "this page"),
    ("/clear", "a new conversation"),
    ("/quit", "quit"),
)


class HelpScreen(ModalScreen[None]):
    """Lists the keys; any of Esc, Enter, F1 and q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,f1,q", "dismiss", show=False)]

    def compose(self) -> ComposeResult:
        """A column of keys and one of what they do."""
        yield Static("\n".join(f"{key:<20} {text}" for key, text in KEYS), id="help", markup=False)
