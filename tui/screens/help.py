"""The help screen: every key and command."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from qianda.tui.commands import COMMANDS, EDITOR_KEYS
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.chat import Chat


class HelpScreen(ModalScreen[None]):
    """Lists them; any of Esc, Enter, F1 and q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,enter,f1,q", "dismiss", show=False)]

    def __init__(self, chat: Chat) -> None:  # noqa: ARG002 - as every screen
        super().__init__()

    def compose(self) -> ComposeResult:
        """A column of keys and one of what they do."""
        keys = [(key, text) for key, text in EDITOR_KEYS]
        keys += [(", ".join(filter(None, (c.shown, c.name and f"/{c.name}"))), c.text) for c in COMMANDS]
        with VerticalScroll(id="help"):
            yield Static("\n".join(f"{key:<20} {t(text)}" for key, text in keys), markup=False)
