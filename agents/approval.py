"""Asking the user's own callback for an approval."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from qianda.agents.resources import Approve
from qianda.tools.permissions import ApprovalRequest, Decision

_logger = logging.getLogger("qianda.agents")


async def answer_of(approve: Approve, request: ApprovalRequest) -> Decision:
    """What the user's callback decides; one that fails has not agreed."""
    try:
        decision = cast("object", await approve(request))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        why = "what it waited for was cancelled"
    except Exception as error:
        _logger.warning("approve= failed for %s", request.name, exc_info=True)
        why = f"{type(error).__name__}: {error}"
    else:
        if isinstance(decision, Decision):
            return decision
        if isinstance(decision, bool):
            return Decision(allowed=decision)
        why = f"it gave {decision!r} in the place of a Decision"
    return Decision(allowed=False, reason=f"nobody could be asked: the question failed ({why})", by="nobody")
