"""What a run asks through its events and has no answer to yet: approvals and the questions of tools."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from qianda.agents.callbacks import answer_of, decision_of
from qianda.agents.resources import Approve, Ask
from qianda.models.errors import ToolError
from qianda.models.events import ApprovalAsked, Event, QuestionAsked
from qianda.models.plan import Plan
from qianda.tools.permissions import ApprovalRequest, Decision
from qianda.tools.questions import NOBODY, Answer, Question, is_asked_at_once

if TYPE_CHECKING:
    from qianda.agents.run import Run

A = TypeVar("A")
NOBODY_ASKED = (
    "this needs a person's consent and nobody is there to give it; "
    'it runs unasked under the permissions "auto" (on the command line: --yes), or by a rule that allows it'
)


class OpenQuestions:
    """The open questions of one run; one is asked at a time.

    Args:
        run: where the events go.
    """

    def __init__(self, run: Run[Any]) -> None:
        # Weakly: the run holds this, and what holds each other waits for the garbage collector.
        self._run: Run[Any] = weakref.proxy(run)
        self._approvals: dict[str, asyncio.Future[Decision]] = {}
        self._questions: dict[str, asyncio.Future[Answer | ToolError]] = {}
        self._shown: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

    def show(self, event: Event) -> None:
        """The watcher gets this event now."""
        if isinstance(event, ApprovalAsked | QuestionAsked):
            self._shown.add(event.request_id)

    def give_up(self) -> None:
        """What the watcher has seen and not answered is answered by nobody."""
        for request_id in self._shown:
            _settle(self._approvals, request_id, Decision(allowed=False, reason=NOBODY_ASKED, by="nobody"))
            _settle(self._questions, request_id, ToolError(NOBODY))
        self._shown.clear()

    def answer(self, request_id: str, answer: Decision | bool | Answer | Plan) -> None:
        """Answer one.

        Raises:
            LookupError: no such question is open.
            TypeError: the answer is not of the kind that was asked for.
        """
        if isinstance(answer, bool):
            answer = Decision(allowed=answer)
        elif isinstance(answer, Plan):
            answer = {"steps": [step.text for step in answer.steps]}
        if request_id in (self._questions if isinstance(answer, Decision) else self._approvals):
            raise TypeError(f"{answer!r} is no answer to this: approvals take a Decision, questions text, dict or None")
        if isinstance(answer, Decision):
            found = _settle(self._approvals, request_id, answer)
        else:
            found = _settle(self._questions, request_id, answer)
        if not found:
            raise LookupError(f"No open question has the id {request_id!r}")

    async def ask_approval(self, request: ApprovalRequest, approve: Approve | None) -> Decision:
        """Ask whoever can agree."""
        if approve is None and not self._run.heard:
            return Decision(allowed=False, reason=NOBODY_ASKED, by="nobody")
        if approve is not None and is_asked_at_once(approve):
            self._emit_approval(request)
            return await decision_of(approve, request)
        async with self._one_at_a_time:
            if approve is None:
                self._approvals[request.request_id] = waiting = asyncio.get_running_loop().create_future()
                self._emit_approval(request)
                return await waiting
            self._emit_approval(request)
            return await decision_of(approve, request)

    async def ask_question(self, question: Question, name: str, ask: Ask | None) -> Answer:
        """Ask a tool's question of whoever can answer.

        Raises:
            ToolError: nobody can.
        """
        if ask is None and not self._run.heard:
            raise ToolError(NOBODY)
        async with self._one_at_a_time:
            if ask is not None:
                self._emit_question(question, name)
                return await answer_of(ask, question)
            self._questions[question.request_id] = waiting = asyncio.get_running_loop().create_future()
            self._emit_question(question, name)
            answer = await waiting
        if isinstance(answer, ToolError):
            raise answer
        return answer

    def _emit_approval(self, request: ApprovalRequest) -> None:
        import orjson

        self._run.emit(
            ApprovalAsked,
            request_id=request.request_id,
            call_id=request.call_id,
            name=request.name,
            arguments=orjson.dumps(request.arguments).decode(),
            description=request.description,
            reason=request.reason,
            rule=request.rule,
        )

    def _emit_question(self, question: Question, name: str) -> None:
        self._run.emit(
            QuestionAsked,
            request_id=question.request_id,
            call_id=question.call_id,
            name=name,
            question=question.question,
            options=question.options,
            schema=question.schema,
        )


def _settle(open_ones: dict[str, asyncio.Future[A]], request_id: str, answer: A) -> bool:
    """Answer what is open under an id; whether anything is."""
    waiting = open_ones.pop(request_id, None)
    if waiting is not None and not waiting.done():  # done: the run was stopped meanwhile
        waiting.set_result(answer)
    return waiting is not None
