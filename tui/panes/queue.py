"""The queue of what a person has to answer: one pane at a time takes the prompt's place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tools.permissions import ApprovalRequest, Decision
    from qianda.tools.questions import Answer, Question
    from qianda.tui.panes.approval import ApprovalPane
    from qianda.tui.panes.asking import AskingPane
    from qianda.tui.panes.trust import TrustPane
    from qianda.tui.screen import ChatScreen

T = TypeVar("T")


class PaneQueue:
    """Asks the person: for approvals, several of which may wait, and what tools want to know.

    Args:
        screen: where the panes show.
        answered: told the id of the call when an answer is there.
    """

    def __init__(self, screen: ChatScreen, answered: Callable[[str], None]) -> None:
        self._screen = screen
        self._answered = answered
        self._one_at_a_time = asyncio.Lock()
        self._pane: AskingPane | None = None
        self._beside: TrustPane | None = None
        self._approvals: list[tuple[ApprovalPane, asyncio.Future[Decision]]] = []
        self._done = 0  # approvals, since none waited

    async def approve(self, request: ApprovalRequest) -> Decision:
        """Ask whether a call may run; what is asked for meanwhile waits behind it."""
        from qianda.tui.panes.approval import ApprovalPane
        from qianda.tui.transcript.changes import proposed

        try:
            diff = await asyncio.to_thread(proposed, request.workspace, request.arguments)
        except (OSError, ValueError):  # the arguments themselves are shown then
            diff = None
        answer: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        waiting = (ApprovalPane(request, answer, diff=diff, deny_all=self._deny_all), answer)
        self._approvals.append(waiting)
        self._count()
        try:
            decision = await self._shown(*waiting)
        finally:
            self._approvals.remove(waiting)
            self._done = self._done + 1 if self._approvals else 0
        self._answered(request.call_id)
        return decision

    def _count(self) -> None:
        """The one that is shown says how many wait."""
        if self._approvals:
            self._approvals[0][0].wait_among(self._done + 1, self._done + len(self._approvals))

    def _deny_all(self) -> None:
        from qianda.tools.permissions import Decision

        for _, answer in self._approvals:
            if not answer.done():
                answer.set_result(Decision.deny())

    async def ask(self, question: Question) -> Answer:
        """Ask what a tool wants to know, or whether a plan may be carried out."""
        from qianda.tui.panes.asked import pane_for

        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        answered = await self._shown(pane_for(question, answer), answer)
        self._answered(question.call_id)
        return answered

    def back(self) -> bool:
        """Esc: a step back in the pane, or away with the one above the prompt; whether there was any."""
        if self._pane is None and self._beside is not None and self._beside.has_focus_within:
            self.hide_beside()
            return True
        return self._pane is not None and self._pane.back()

    def show_beside(self, pane: TrustPane) -> None:
        """A pane above the prompt, which stays; it goes when something has to be answered."""
        if self._pane is None:
            self._beside = pane
            self._screen.pane.mount(pane, before=0)

    def hide_beside(self) -> None:
        """Take it away, whether it was answered or not."""
        if self._beside is not None:
            self._beside.leave()
            self._beside = None

    async def _shown(self, pane: AskingPane, answer: asyncio.Future[T]) -> T:
        """A pane in the prompt's place, until it has its answer."""
        screen = self._screen
        async with self._one_at_a_time:
            if answer.done():
                return answer.result()
            self._count()
            self._pane = pane
            self.hide_beside()
            screen.editor.display = False
            screen.post_message(screen.Asks())
            try:
                await screen.pane.mount(pane)
                if not screen.is_active:
                    screen.notify(t("The model waits for your answer: Esc leads back to it"), severity="warning")
                return await answer
            finally:
                pane.remove()
                self._pane = None
                screen.status.say(keys=())
                screen.editor.display = True
                screen.set_focus(screen.editor)
