"""What screens with a list share: a filter, the list, a detail of the marked item, a line of keys, small questions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Input, Static
from textual.worker import Worker, WorkerError

from qianda.models.errors import QiandaError
from qianda.tui.screens.detail import Detail
from qianda.tui.screens.items import Column, Item, ItemList
from qianda.tui.transcript.blocks import Block
from qianda.tui.transcript.rows import visible
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.app import QiandaApp
    from qianda.tui.chat import Chat

T = TypeVar("T")
log = logging.getLogger(__name__)
WIDE = 110
"""Columns from which the detail stands beside the list."""
KEYS = {"enter": "Enter", "escape": "Esc", "slash": "/", "tab": "Tab", "space": "Space"}


class Confirm(Static, can_focus=True):
    """A question for yes or no; only ``y`` and a click on it are a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False),
        Binding("n,enter,escape", "answer(False)", show=False),
    ]

    def __init__(self, text: str, answer: asyncio.Future[bool]) -> None:
        yes, no = f"y {t('yes')}", f"n {t('no')}"
        super().__init__(
            Content.assemble(f"{visible(text)}  ", _link(yes, "answer(True)"), " · ", _link(no, "answer(False)"))
        )
        self._answer = answer

    def action_answer(self, yes: bool) -> None:
        """Answer it."""
        if not self._answer.done():
            self._answer.set_result(yes)


class Ask(Input):
    """A question for a line of text; Esc gives none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", show=False)]

    def __init__(self, text: str, value: str, answer: asyncio.Future[str]) -> None:
        super().__init__(value, placeholder=text, compact=True)
        self._answer = answer

    def action_submit(self) -> Any:
        """Enter."""
        self._give(self.value.strip())

    def action_give_up(self) -> None:
        """Esc."""
        self._give("")

    def _give(self, text: str) -> None:
        if not self._answer.done():
            self._answer.set_result(text)


def _link(text: str, action: str) -> tuple[str, Style]:
    return text, Style.from_meta({"@click": action})


class ListScreen(Screen[None], Generic[T]):
    """A screen with a list. What a kind of it overrides: the class variables, ``load``, ``detail`` and ``choose``.

    Its own keys are bindings with a description, which the last line shows; their actions start work by ``act``.

    Args:
        chat: the chat that it opened over.
    """

    COLUMNS: ClassVar[Sequence[Column]] = (Column(grow=True),)
    HEADING: ClassVar[str] = ""
    EMPTY: ClassVar[str] = "Nothing here"
    HAS_DETAIL: ClassVar[bool] = True
    BESIDE: ClassVar[bool] = True
    """The detail stands beside the list where there is room, else always below."""
    FIND_FIRST: ClassVar[bool] = False
    """The filter has the focus from the start: for screens without letters as keys."""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012 - Textual's
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "open"),
        Binding("slash", "find", "find"),
        Binding("escape", "back", "close"),
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
    ]

    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self.chat = chat
        self.items: Sequence[Item[T]] = ()
        self.head = Static(id="head", markup=False)
        hint = t("type what you look for") if self.FIND_FIRST else t("/ to find")
        self.find = Input(placeholder=hint, id="find", compact=True)
        self.list = ItemList(self.COLUMNS)
        self.pane = Detail()
        self.note = Static(id="note", markup=False)
        self.keys = Static(id="keys")
        self._asking = False
        self._filtering: Worker[None] | None = None

    # What a kind of screen says

    async def load(self) -> Sequence[Item[T]]:
        """All items; what reads the disk is done in a thread."""
        return ()

    async def found(self, words: str) -> Sequence[Item[T]]:
        """The items that a filter leaves: those that hold all its words."""
        terms = words.lower().split()
        lines = ((item, f"{item.group} {' '.join(item.cells)} {item.words}".lower()) for item in self.items)
        return [item for item, line in lines if all(term in line for term in terms)]

    async def detail(self, item: Item[T]) -> Sequence[Block]:
        """What is shown of the marked item; what reads the disk is done in a thread."""
        raise NotImplementedError

    def choose(self, item: Item[T]) -> None:
        """Enter; by default the detail takes the whole screen, and gives it back."""
        del item
        self.set_class(not self.has_class("-whole"), "-whole")
        self.set_focus(self.pane if self.has_class("-whole") else self.list)

    def heading(self) -> str:
        """The first line."""
        return t(self.HEADING)

    # How it is built

    @property
    def program(self) -> QiandaApp:
        """The app."""
        return cast("QiandaApp", self.app)  # pyright: ignore[reportUnknownMemberType] -- Textual's type has a parameter

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        self.add_class("list-screen", *(["-beside"] if self.BESIDE else []))
        yield self.head
        yield self.find
        with Container(id="body"):
            yield self.list
            if self.HAS_DETAIL:
                yield Container(self.pane, id="side")  # which has the border: the pane draws lines alone
        yield self.note
        yield self.keys

    def on_mount(self) -> None:
        """Load; the list has the focus, or the filter."""
        self.find.cursor_blink = False
        self.keys.update(self._key_line())
        self.set_focus(self.find if self.FIND_FIRST else self.list)
        self.reload()

    def _key_line(self) -> Content:
        shown = [one for _, one in self._bindings if one.show and one.description]
        shown = [one for one in shown if one.key != "slash" or not self.FIND_FIRST]
        shown.sort(key=lambda one: ("slash", "escape").index(one.key) + 1 if one.key in ("slash", "escape") else 0)
        parts: list[Any] = []
        for one in shown:
            click = Style.from_meta({"@click": f"screen.{one.action}"})
            key = (KEYS.get(one.key, one.key), Style(bold=True) + click)
            parts += ["  "] * bool(parts) + [key, (f" {t(one.description)}", click)]
        return Content.assemble(*parts)

    def reload(self) -> None:
        """Load all items again."""
        self.run_worker(self._reload, exclusive=True, group="load")

    async def _reload(self) -> None:
        try:
            self.items = await self.load()
            await self._show()
        except Exception as error:
            self._explain(error)

    async def _show(self) -> None:
        words = self.find.value.strip()
        items = await self.found(words) if words else self.items
        self.list.show(items, grouped=not words)
        self.head.update(visible(self.heading()))
        if not items:
            self.say(t("Nothing found") if words else t(self.EMPTY))
        elif self.has_class("-empty"):
            self.say("")
        self.set_class(not items, "-empty")

    async def _filter(self) -> None:
        try:
            await self._show()
        except Exception as error:
            self._explain(error)

    def say(self, text: str) -> None:
        """A line above the keys; "" takes it away."""
        self.note.update(visible(text))
        self.note.display = bool(text)

    def act(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that takes a while or asks; what goes wrong with it is said."""
        self.run_worker(self._act(work), group="act")

    async def _act(self, work: Coroutine[Any, Any, None]) -> None:
        self.say("")
        try:
            await work
        except Exception as error:
            self._explain(error)

    def _explain(self, error: Exception) -> None:
        """What goes wrong on a screen must not end the chat."""
        if not isinstance(error, (QiandaError, OSError)):
            log.error("Unexpected failure of a screen", exc_info=error)
        self.say(str(error) or type(error).__name__)

    async def confirm(self, question: str) -> bool:
        """Ask for yes or no."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        return await self._asked(Confirm(question, answer), answer)

    async def ask(self, question: str, value: str = "") -> str:
        """Ask for a line of text; "" when none is given."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.say(question)
        try:
            return await self._asked(Ask(question, value, answer), answer)
        finally:
            self.say("")

    async def _asked(self, widget: Confirm | Ask, answer: asyncio.Future[Any]) -> Any:
        if self._asking:
            widget.action_answer(False) if isinstance(widget, Confirm) else widget.action_give_up()
            return await answer
        self._asking, before = True, self.focused
        self.keys.display = False
        try:
            await self.mount(widget, after=self.keys)
            self.set_focus(widget)
            return await answer
        finally:
            self._asking = False
            self.keys.display = True
            self.set_focus(before)
            await widget.remove()

    # Keys and mouse

    @property
    def item(self) -> Item[T] | None:
        """The marked item."""
        return self.list.item

    def on_item_list_moved(self, event: ItemList.Moved) -> None:
        """Another item is marked: its detail."""
        if self.HAS_DETAIL:
            self.run_worker(partial(self._detail, event.item), exclusive=True, group="detail")

    async def _detail(self, item: Item[T] | None) -> None:
        try:
            self.pane.show(await self.detail(item) if item is not None else ())
        except Exception as error:
            self._explain(error)

    def on_item_list_chosen(self, event: ItemList.Chosen) -> None:
        """A click on the marked item."""
        self.choose(event.item)

    def on_input_changed(self, event: Input.Changed) -> None:
        """The filter changed."""
        if event.input is self.find:
            self._filtering = self.run_worker(self._filter, exclusive=True, group="load")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter in the filter."""
        if event.input is self.find:
            self.run_worker(self._choose_found)

    async def _choose_found(self) -> None:
        """Enter may be faster than the filter: what is meant is among what that finds."""
        while self._filtering is not None and not self._filtering.is_finished:
            with suppress(WorkerError):  # another took its place
                await self._filtering.wait()
        self.action_choose()

    def action_choose(self) -> None:
        """Enter."""
        if self.item is not None:
            self.choose(self.item)

    def action_find(self) -> None:
        """To the filter."""
        self.set_focus(self.find)

    def action_back(self) -> None:
        """Esc: from the whole detail to the list, from a filter to all, else back to the chat."""
        if self.has_class("-whole"):
            self.remove_class("-whole")
            self.set_focus(self.list)
        elif self.find.value:
            self.find.value = ""
            self.set_focus(self.find if self.FIND_FIRST else self.list)
        elif self.focused is self.find and not self.FIND_FIRST:
            self.set_focus(self.list)
        else:
            self.dismiss()

    def action_move(self, step: int) -> None:
        """The item above or below."""
        self.list.move(step)

    def action_page(self, direction: int) -> None:
        """A window up or down."""
        self.list.page(direction)
