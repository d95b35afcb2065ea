"""The built-in tool ``plan``: the model writes its plan, and says how far it is."""

from __future__ import annotations

from typing import Literal

from qianda.tools.context import Context
from qianda.tools.function_tool import tool
from qianda.tools.planning import PlanChange


@tool(read_only=True, parallel=False, origin="built-in")
async def plan(
    context: Context,
    steps: list[str] | None = None,
    step: int | None = None,
    state: Literal["done", "failed", "skipped"] | None = None,
    note: str | None = None,
) -> str:
    """Plan a long task; update it.

    Args:
        context: keeps the plan
        steps: all
        step: number
        state: its state
        note: result
    """
    change = PlanChange(tuple(steps or ()), step, state, note or "")
    return await context.planning(change, context.ask)
