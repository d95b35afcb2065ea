"""The prompt: an editor of several lines with a history, labels for what is attached, and suggestions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from qianda.tui.prompt.draft import Draft, is_large
from qianda.tui.prompt.history import History
from qianda.tui.prompt.labels import LabelArea
from qianda.tui.prompt.popup import Popup, Suggestion
from qianda.tui.prompt.words_at import Word, word_at
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.chat import Chat
    from qianda.tui.prompt.completion import Completion


class PromptArea(LabelArea):
    """Enter sends, Shift+Enter or Ctrl+J breaks the line, Up and Down at the edges go through the history.

    Args:
        popup: shows suggestions.

    Attributes:
        sent: what was sent before.
        queued: whether Up in an empty prompt takes back something that is queued.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "previous", show=False),
        Binding("down", "next", show=False),
        Binding("shift+tab", "app.mode", show=False),
        Binding("pageup", "app.page(-1)", show=False),
        Binding("pagedown", "app.page(1)", show=False),
        Binding("ctrl+d", "end_of_input", show=False),
        Binding("ctrl+underscore", "undo", show=False),  # as in readline; Ctrl+Z is the shell's
        Binding("ctrl+f", "app.history", show=False),
        Binding("ctrl+g", "app.edit_outside", show=False),
        Binding("ctrl+q", "app.queue", show=False),
    ]

    chat: Chat | None = None

    @dataclass
    class Submitted(Message):
        """The person sent something."""

        draft: Draft
        later: bool = False

    class Ended(Message):
        """The person said that nothing more will come."""

    class TakeBack(Message):
        """The person wants back what was queued last."""

    def __init__(self, popup: Popup) -> None:
        super().__init__(
            soft_wrap=True,
            show_line_numbers=False,
            compact=True,
            highlight_cursor_line=False,
            tab_behavior="focus",
            placeholder=t("Ask anything · @ file · / command · ! shell · F1 help"),
        )
        self.cursor_blink = False
        self.popup = popup
        popup.clicked = self._clicked
        self.sent = History(Path.cwd(), record=lambda: False)
        self.queued = False
        self._completion: Completion | None = None
        self._searching: Draft | None = None  # the draft before a search in the history
        self._at: int | None = None  # in the history; None is the draft
        self._draft = Draft("")
        self._dismissed: Word | None = None  # nothing more is offered for it
        self._agreed: Draft | None = None  # to be sent whatever is wrong with it

    def serve(self, chat: Chat, sent: History) -> None:
        """Belong to a chat.

        Args:
            chat: whom it asks for suggestions and tells about what is sent.
            sent: what was sent before.
        """
        self.chat, self.sent = chat, sent

    def put_back(self, draft: Draft | str) -> bool:
        """Offer something again, into an empty editor only; whether it was taken."""
        if self.text or self._searching is not None:
            return False
        self.show(Draft(draft) if isinstance(draft, str) else draft)
        return True

    def submit(self, *, later: bool = False) -> None:
        """Send what is there.

        Args:
            later: queue it, while a run goes on.
        """
        draft = self.draft.with_text(self.text.strip())
        if not draft.text or self._searching is not None or self._objects(later=later):
            return
        self.sent.add(draft)
        self._at = None
        self.show(Draft(""))
        self.popup.close()
        self.post_message(self.Submitted(draft, later))

    def _objects(self, *, later: bool = False) -> bool:
        """Whether the person has to decide something about the prompt first: a list says what can be done."""
        draft, endpoint = self.draft, self.chat and self.chat.endpoint
        if endpoint is None or draft.plain or draft == self._agreed:
            return False
        from qianda.tui.prompt.checking import choices

        def send() -> None:
            self._agreed = self.draft
            self.submit(later=later)

        self._dismissed = self.word()  # what is still being looked for does not take the list's place
        items = choices(draft, endpoint, self.sent.workspace, self.show, send)
        self.popup.show(items, None)
        return bool(items)

    # Keys

    async def _on_key(self, event: events.Key) -> None:
        if not (ours := self._key(event.key)) and (bindings := self._bindings.key_to_bindings.get(event.key)):
            # Now, not when the key has gone through all widgets: keys of a burst would come before it.
            ours = True
            await self.run_action(bindings[0].action)
        if ours:
            event.stop()
            event.prevent_default()

    def _key(self, key: str) -> bool:
        """Do what a key says; whether it was ours."""
        if (found := self.popup.current) and (self.popup.word == self.word() or found.does):
            match key:
                case "up" | "down":
                    self.popup.step(-1 if key == "up" else 1)
                case "escape":
                    self._dismiss()
                case "tab" | "enter":
                    return self._take(found, key)
                case _:
                    return False
            return True
        match key:
            case "enter" if self._searching is None:
                self.submit()
            case "enter" | "escape" if self._searching is not None:
                self._dismiss()
            case "shift+enter" | "ctrl+j":
                self.insert("\n", maintain_selection_offset=False)
            case _:
                return False
        return True

    def _take(self, found: Suggestion, key: str) -> bool:
        """A suggestion was chosen; False where Enter is to send the prompt as it stands."""
        word, popup = self.word(), self.popup
        if found.does is not None:
            popup.close()
            found.does()
        elif word is not None:
            text = found.inside if key == "tab" and found.inside else found.insert
            done = self.document[word.row][word.start : word.end] == text.rstrip()
            popup.close()
            self.replace(text, (word.row, word.start), (word.row, word.end), maintain_selection_offset=False)
            if key == "enter" and (found.sends or done):
                self.submit()
            elif text != found.inside:
                popup.close()
        return True

    def _dismiss(self) -> None:
        """Close the list; a search in the history gives the draft back."""
        if self._searching is not None:
            self.found(self._searching)
        self._dismissed = self.word()
        self.popup.close()

    def _clicked(self) -> None:
        """A click in the list is as good as Enter."""
        if self.popup.current is not None:
            self._take(self.popup.current, "enter")

    def _on_hide(self, event: events.Hide) -> None:  # type: ignore[override] # noqa: ARG002 - Textual takes both kinds
        self.popup.close()

    async def _on_paste(self, event: events.Paste) -> None:
        event.stop()
        event.prevent_default()
        self._paste(event.text)

    def action_paste(self) -> None:
        """What was copied in the program."""
        self._paste(self.app.clipboard)  # pyright: ignore[reportUnknownMemberType] - Textual's type has a parameter

    def _paste(self, text: str) -> None:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not is_large(text):
            from qianda.tui.prompt.dropped import dropped_files, is_image

            if files := dropped_files(text):
                for file in files:
                    self.attach(file, image=is_image(file))
                self._objects()
                return
            self.replace(text, *self.selection, maintain_selection_offset=False)
        else:
            if not self.selection.is_empty:
                self.delete(*self.selection)
            self.attach(text)
            self._objects()

    # Suggestions

    def word(self) -> Word | None:
        """The word that suggestions are for."""
        if self._searching is not None:
            return Word("history", self.text, 0, 0, len(self.text))
        row, column = self.cursor_location
        return word_at(self.document[row], row, column) if self.selection.is_empty else None

    @property
    def wanted(self) -> Word | None:
        """The same, unless the list was closed for it."""
        word = self.word()
        return None if word == self._dismissed else word

    def watch_selection(self) -> None:
        """The cursor moved, perhaps because something was written."""
        if self.chat is None:
            return
        word = self.wanted
        if word is None:
            self.popup.close()
            return
        if self._completion is None:
            from qianda.tui.prompt.completion import Completion

            self._completion = Completion(self, self.chat)
        self._completion.look(word)

    # History

    def search(self, text: str = "") -> None:
        """Find something that was sent before: what is typed now is looked for in it.

        Args:
            text: what to begin with; else what is in the editor.
        """
        if self._searching is None:
            self._searching, self._dismissed, self._at = self.draft, None, None
            self.show(Draft(text or self.text))
            self.watch_selection()

    def found(self, draft: Draft) -> None:
        """The search is over: this was wanted."""
        self._searching = None
        self.show(draft)
        self.popup.close()

    def action_previous(self) -> None:
        """Up: a line up, from the first line to the entry before; in an empty prompt first what is queued."""
        entries = self.sent.entries
        if not self.text and self._at is None and self.queued:
            self.post_message(self.TakeBack())
            return
        at = len(entries) if self._at is None else self._at
        if self.cursor_location[0] > 0 or not at:
            self.action_cursor_up()
            return
        if self._at is None:
            self._draft = self.draft
        self._at = at - 1
        self._recall(entries[self._at])

    def action_next(self) -> None:
        """Down: a line down, from the last line to the next entry."""
        entries = self.sent.entries
        if self.cursor_location[0] < self.document.line_count - 1 or self._at is None:
            self.action_cursor_down()
            return
        self._at = self._at + 1 if self._at + 1 < len(entries) else None
        self._recall(self._draft if self._at is None else entries[self._at])

    def _recall(self, draft: Draft) -> None:
        self.show(draft)
        self.popup.close()  # it was whole when it was sent

    def action_end_of_input(self) -> None:
        """Ctrl+D: quits when there is nothing to lose, else deletes a character."""
        if self.text:
            self.action_delete_right()
        else:
            self.post_message(self.Ended())
