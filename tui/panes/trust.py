"""What the folder brings and whether it may be used: above the prompt, which stays free to type in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.widgets import Static

from qianda.tui.panes.asking import AskingPane, Choice
from qianda.tui.panes.shown import What, text_block
from qianda.tui.transcript.rows import visible
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tools.mcp.brought import Brought


class TrustPane(AskingPane):
    """Asks whether what a folder brings may be used; who goes on typing has not answered.

    Args:
        brought: what it is.
        decide: told ``later``, ``trust`` or ``show``.
    """

    def __init__(self, brought: Brought, decide: Callable[[str], None]) -> None:
        super().__init__()
        self._brought = brought
        self._decide = decide

    @property
    def keys(self) -> tuple[str, ...]:
        """Typing goes on in the prompt."""
        return (t("Up/Down choose · Enter answers · what you type goes into the prompt"), t("Up/Down, Enter"))

    def compose(self) -> ComposeResult:
        """What it is about, each thing that is brought, the answers."""
        brought = self._brought
        title = t("Files here tell Qianda what to do. None of it is used until you trust it.")
        if brought.changed:
            title = t("Not as you trusted it any more: {changed}", changed=visible(", ".join(brought.changed)))
        yield Static(title, id="title", markup=False)
        yield What(text_block("\n".join(brought.lines)), tell=self.show_hidden)
        yield Static(id="more", markup=False)
        yield Choice("later", t("Not now; /trust asks again"))
        yield Choice("trust", t("Trust it, as it is now"))
        yield Choice("show", t("Show the files"))

    def prepare(self) -> None:
        """The least has the focus, unless somebody is typing."""
        self.first = "" if self.chat_screen.editor.text else "later"

    def on_key(self, event: events.Key) -> None:
        """What is typed goes into the prompt."""
        if event.is_printable and event.character:
            event.stop()
            event.prevent_default()
            self._type()
            self.chat_screen.editor.insert(event.character)

    def on_paste(self, event: events.Paste) -> None:
        """What is pasted, too."""
        event.stop()
        self._type()
        self.chat_screen.editor.post_message(events.Paste(event.text))

    def _type(self) -> None:
        self.screen.set_focus(self.chat_screen.editor)
        self.chat_screen.status.say(keys=())

    def choose(self, key: str) -> None:
        """Take an answer; the pane goes."""
        self.leave()
        self._decide(key)

    def leave(self) -> None:
        """Go, and leave the focus to the prompt where this had it."""
        if self.has_focus_within:
            self._type()
        self.remove()
