"""Consent to a plan: the whole of it, with no, no and why, change it, and carry it out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static, TextArea

from qianda.tui.panes.asking import AskingPane, Choice
from qianda.tui.panes.shown import What, share_of, text_block
from qianda.tui.words import t

if TYPE_CHECKING:
    from textual.app import App

    from qianda.tools.questions import Answer

_PAGES = {
    "": ("no", "tell", "change", "yes"),
    "why": (),
    "steps": ("back", "accept"),
}


class PlanPane(AskingPane):
    """Asks whether a plan may be carried out.

    Args:
        plan: its text, a line each step.
        answer: gets the consent, the changed steps, what is wrong with it, or None for a bare no.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "accept", show=False),
        Binding("ctrl+g", "edit_outside", show=False),
    ]
    first = "no"

    def __init__(self, plan: str, answer: asyncio.Future[Answer]) -> None:
        super().__init__()
        self._plan = plan
        self._answer = answer
        self._page = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """Those of the page."""
        match self._page:
            case "why":
                return (t("Enter says no, with the reason · Esc goes back"), t("Esc goes back"))
            case "steps":
                return (
                    t("Ctrl+S carries these steps out · Ctrl+G your own editor · Esc goes back"),
                    t("Ctrl+S accepts · Ctrl+G editor · Esc goes back"),
                    t("Ctrl+S accepts · Esc goes back"),
                )
            case _:
                return super().keys

    def compose(self) -> ComposeResult:
        """The plan, the answers, and what the other pages need."""
        yield Static(t("Carry out this plan?"), id="title", markup=False)
        yield What(text_block(self._plan), tell=self.show_hidden)
        yield Static(id="more", markup=False)
        yield TextArea(self._steps_text(), id="steps", compact=True, highlight_cursor_line=False, tab_behavior="focus")
        yield Choice("no", t("No, and change nothing"))
        yield Choice("tell", t("No, and say what is wrong with it"))
        yield Choice("change", t("Change the steps first"))
        yield Choice("yes", t("Yes, carry it out"))
        yield Choice("back", t("Back"))
        yield Choice("accept", t("Carry out these steps"))
        yield Input(placeholder=t("What is wrong with it? The model plans again. Enter sends"), id="why", compact=True)

    def _steps_text(self) -> str:
        from qianda.models.plan import step_texts

        return "\n".join(step_texts(self._plan.splitlines()))

    def prepare(self) -> None:
        """The answers first."""
        steps = self.query_one(TextArea)
        steps.cursor_blink = False
        steps.styles.max_height = share_of(self, 0.4)
        self._show_page("")

    def _show_page(self, page: str) -> None:
        self._page = page
        titles = {"steps": t("The steps, one a line")}
        self.query_one("#title", Static).update(titles.get(page, t("Carry out this plan?")))
        self.query_one("#steps").display = page == "steps"
        self.query_one("#what").display = page != "steps"
        if page == "steps":
            self.query_one("#more").display = False
        self.query_one("#why").display = page == "why"
        for choice in self.query(Choice):
            choice.display = choice.id in _PAGES[page]

    def _turn(self, page: str, key: str) -> None:
        self._show_page(page)
        self.focus_on(key)
        self.say_keys()

    def stops(self) -> list[str]:
        """On the page of the steps the editor, too."""
        return [*(["steps"] if self._page == "steps" else []), *super().stops()]

    def choose(self, key: str) -> None:
        """Take an answer."""
        from qianda.agents.plan import ACCEPT

        match key:
            case "yes":
                self._decide(ACCEPT)
            case "tell":
                self._turn("why", "why")
            case "change":
                self._turn("steps", "steps")
            case "accept":
                self.action_accept()
            case "back":
                self.back()
            case _:
                self._decide(None)

    def action_accept(self) -> None:
        """Ctrl+S: carry out the steps as they were changed; without any there is nothing to carry out."""
        from qianda.models.plan import step_texts

        steps = step_texts(self.query_one(TextArea).text.splitlines())
        if self._page == "steps" and steps:
            self._decide({"steps": steps})

    async def action_edit_outside(self) -> None:
        """Ctrl+G: the steps in the person's own editor."""
        from qianda.tui.prompt.outside import edit_outside

        if self._page != "steps":
            return
        steps = self.query_one(TextArea)
        app = cast("App[Any]", self.app)  # pyright: ignore[reportUnknownMemberType] -- Textual's type has a parameter
        try:
            text = await edit_outside(app, steps.text)
        except (OSError, ValueError) as error:
            text, said = None, str(error)
        else:
            said = t("Set $VISUAL or $EDITOR to your editor")
        if text is None:
            self.query_one("#title", Static).update(said)
        else:
            steps.text = text

    def back(self) -> bool:
        """To the answers."""
        if not self._page:
            return False
        self._turn("", "no")
        return True

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """No, with what is wrong."""
        event.stop()
        self._decide(event.value.strip() or None)

    def _decide(self, answer: Answer) -> None:
        if not self._answer.done():
            self._answer.set_result(answer)
