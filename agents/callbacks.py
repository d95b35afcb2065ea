"""Asking the user's own callbacks: for an approval, and for the answer to a question."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from qianda.agents.resources import Approve, Ask
from qianda.models.errors import ToolError
from qianda.tools.permissions import ApprovalRequest, Decision
from qianda.tools.questions import Answer, Question

_logger = logging.getLogger("qianda.agents")


async def decision_of(approve: Approve, request: ApprovalRequest) -> Decision:
    """What the user's callback decides; one that fails has not agreed."""
    decision, why = await _asked(approve, request, f"approve= failed for {request.name}")
    if isinstance(decision, Decision):
        return decision
    if isinstance(decision, bool):
        return Decision(allowed=decision)
    why = why or f"it gave {decision!r} in the place of a Decision"
    return Decision(allowed=False, reason=f"nobody could be asked: the question failed ({why})", by="nobody")


async def answer_of(ask: Ask, question: Question) -> Answer:
    """What the user's callback answers.

    Raises:
        ToolError: it failed, so nobody answered.
    """
    answer, why = await _asked(ask, question, "ask= failed")
    if not why and (answer is None or isinstance(answer, str | dict)):
        return cast("Answer", answer)
    why = why or f"it gave {answer!r} in the place of a text, a dict or None"
    raise ToolError(f"nobody could be asked, as ask= failed ({why})")


async def _asked(callback: Callable[[Any], Awaitable[object]], what: object, failure: str) -> tuple[object, str]:
    """What a callback gives, and why it gave nothing."""
    try:
        return await callback(what), ""
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return None, "what it waited for was cancelled"
    except Exception as error:
        _logger.warning(failure, exc_info=True)
        return None, f"{type(error).__name__}: {error}"
