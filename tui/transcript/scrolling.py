"""A window on a stack of blocks: it follows the end, scrolls by rows as they really are, and has a scrollbar."""

from __future__ import annotations

from typing import cast

from textual import events
from textual.geometry import Size
from textual.reactive import Reactive
from textual.scroll_view import ScrollView
from textual.widget import Widget

from qianda.tui.transcript.stack import Stack

WHEEL_ROWS = 3


class Scroller(ScrollView, can_focus=False):
    """Scrolls a stack without laying out more of it than is visible.

    Attributes:
        stack: what it shows.
        follow: whether the window stays at the end while text arrives.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stack = Stack()
        self.follow = True
        self._dragging = self._held = False

    def flush(self) -> None:
        """Take what is waiting into the stack."""
        raise NotImplementedError

    def settle(self) -> None:
        """Lay out what is visible, and draw it."""
        width, height = self.size
        if width < 2 or height < 1:
            return
        self.stack.resize(width - 1)
        top = self.stack.settle(height, follow=self.follow)
        # Not through the reactive attributes: those would lay out the whole screen.
        self.set_reactive(cast("Reactive[Size]", Widget.virtual_size), Size(width, self.stack.total))
        self.set_reactive(Widget.scroll_y, float(top))
        self.set_reactive(cast("Reactive[float]", Widget.scroll_target_y), float(top))
        self.refresh()

    def move(self, rows: int) -> None:
        """Scroll by rows; at the end the window follows again."""
        self.flush()
        self._held = False
        if rows < 0:
            self.follow = False
            self.stack.up(-rows)
        else:
            self.stack.down(rows)
        self.settle()
        self.follow = self.at_end

    def go(self, y: int) -> None:
        """Scroll to a row of the whole."""
        self.follow = False
        self.stack.jump(y)
        self.settle()
        self.follow = self.at_end

    @property
    def at_end(self) -> bool:
        """Whether the last row is visible."""
        return self.stack.offset(self.stack.top[0]) + self.stack.top[1] + self.size.height >= self.stack.total

    def action_page(self, direction: int) -> None:
        """Scroll by a page."""
        self.move(direction * max(self.size.height - 2, 1))

    @property
    def allow_vertical_scroll(self) -> bool:
        """Without a stock scrollbar, Textual would take it for unscrollable."""
        return not self._check_disabled()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Textual itself scrolls when a selection is dragged over the edge, or the window grew."""
        if not self.stack.width or round(old_value) == round(new_value):
            return
        rows = round(new_value) - self.stack.offset(self.stack.top[0]) - self.stack.top[1]
        if rows and (not self.follow or (rows < 0 and self.screen.selections)):
            self.move(rows)

    def on_resize(self) -> None:
        """Another size: the anchor stays where it is."""
        self.settle()

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.move(WHEEL_ROWS)

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.move(-WHEEL_ROWS)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """The last column is the scrollbar; what is being selected elsewhere does not run away."""
        if event.x == self.size.width - 1 and self.stack.total > self.size.height:
            self._dragging = True
            self.capture_mouse()
            self._drag(event.y)
        elif self.follow:
            self._held, self.follow = True, False

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag the thumb."""
        if self._dragging:
            self._drag(event.y)
        elif not event.button:
            self._let_go()

    def on_mouse_up(self) -> None:
        """Let the thumb go, or the text."""
        if self._dragging:
            self._dragging = False
            self.release_mouse()
        self._let_go()

    def _let_go(self) -> None:
        """Follow the end again, if the press of a button ended that."""
        if self._held:
            self._held, self.follow = False, True
            self.settle()

    def _drag(self, y: int) -> None:
        height = self.size.height
        self.go(round(y / max(height - 1, 1) * max(self.stack.total - height, 0)))
