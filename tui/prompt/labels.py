"""An editor in whose text labels stand for what is attached."""

from __future__ import annotations

from typing import Any

from textual.document._document import EditResult, Selection
from textual.document._edit import Edit
from textual.widgets import TextArea

from qianda.tui.prompt.draft import Attached, Draft, label_of, label_spans

Location = tuple[int, int]


class LabelArea(TextArea):
    """Labels are one character to the person: to the cursor, to Backspace, and to what is written.

    Attributes:
        attached: what the labels in the text stand for.
    """

    def __init__(self, **options: Any) -> None:
        self.attached: dict[str, Attached] = {}
        super().__init__(**options)

    @property
    def draft(self) -> Draft:
        """The text and what is attached to it."""
        return Draft(self.text, dict(self.attached)).with_text(self.text)

    def show(self, draft: Draft) -> None:
        """Put something in the place of what is there."""
        self.attached = dict(draft.attached)
        self.text = draft.text
        self.move_cursor(self.document.end)

    def attach(self, value: Attached, *, image: bool = False) -> None:
        """A label at the cursor for a file or a long text."""
        known = [label for label, there in self.attached.items() if label not in self.text and there == value]
        label = known[0] if known else label_of(value, self.attached, image=image)
        self.attached[label] = value
        self.insert(label, maintain_selection_offset=False)

    def edit(self, edit: Edit) -> EditResult:
        """A change of the text never cuts a label: it goes as a whole, and nothing is put into it."""
        if self.attached:
            top, bottom = edit.top, edit.bottom
            if top == bottom:
                top = bottom = self._outside(top, 1)
            else:
                top, bottom = self._outside(top, 0), self._outside(bottom, 1)
            edit.from_location, edit.to_location = top, bottom
        return super().edit(edit)

    def _outside(self, location: Location, side: int) -> Location:
        """The edge of the label that a location is in, or the location: 0 for its start, 1 for its end."""
        row, column = location
        for start, end, _ in label_spans(self.document[row], self.attached):
            if start < column < end:
                return row, end if side else start
        return location

    def action_cursor_left(self, select: bool = False) -> None:
        """Left, over a label as a whole."""
        super().action_cursor_left(select)
        self._leave_label(0)

    def action_cursor_right(self, select: bool = False) -> None:
        """Right, over a label as a whole."""
        super().action_cursor_right(select)
        self._leave_label(1)

    def _leave_label(self, side: int) -> None:
        start, end = self.selection
        if self.attached and (outside := self._outside(end, side)) != end:
            self.selection = Selection(outside if start == end else start, outside)
