"""The built-in tool ``ask_user``: a question to the person."""

from __future__ import annotations

from qianda.tools.context import Context
from qianda.tools.function_tool import tool


@tool(read_only=True, parallel=False, origin="built-in")
async def ask_user(question: str, context: Context, options: list[str] | None = None) -> str:
    """Ask the user, when you cannot go on without their answer.

    Args:
        question: one question
        context: asks
        options: answers to choose from
    """
    answer = await context.ask(question, options or ())
    return answer or "(the user did not answer; go on without it)"
