"""Which pane a question gets: a plan, a form, or a text."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from qianda.tools.questions import Answer, Question
    from qianda.tui.panes.asking import AskingPane


def pane_for(question: Question, answer: asyncio.Future[Answer]) -> AskingPane:
    """The pane that asks it.

    Args:
        question: what a tool, an MCP server or the plan asks.
        answer: gets what ``Question.read`` takes.
    """
    from qianda.agents.plan import ASK, PLAN_ANSWERS

    if question.options == PLAN_ANSWERS and question.question.endswith(ASK):
        from qianda.tui.panes.plan import PlanPane

        return PlanPane(question.question.removesuffix(ASK).strip(), answer)
    if question.schema is not None and question.schema.get("properties"):
        from qianda.tui.panes.form import FormPane

        return FormPane(question.question, question.schema, answer)
    from qianda.tui.panes.question import QuestionPane

    return QuestionPane(question.question, question.options, cast("asyncio.Future[Any]", answer))
