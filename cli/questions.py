"""Asking the person at the terminal what a tool wants to know."""

from __future__ import annotations

from qianda.cli.approval import Approval
from qianda.cli.terminal import Terminal, clean
from qianda.models.events import QuestionAsked
from qianda.tools.questions import Answer, Question, fill_in


async def answer_on(terminal: Terminal, approval: Approval, asked: QuestionAsked) -> Answer:
    """Show a question and wait for the answer; an empty one, or the end of the input, declines.

    Args:
        terminal: where it is shown.
        approval: reads lines from the keyboard.
        asked: the question.
    """
    err = terminal.err

    async def ask(text: str, options: tuple[str, ...]) -> str | None:
        for line in clean(text).splitlines():
            err.write(f"  {line}\n")
        for number, option in enumerate(options, 1):
            err.write(f"  {number}. {clean(option)}\n")
        how = "a number or another answer" if options else "your answer"
        err.write(f"  {how}, Enter = none: ")
        answer = await approval.read_line()
        numbered = dict(enumerate(options, 1))
        return (numbered.get(int(answer), answer) if answer.isdecimal() else answer) or None

    approval.begin(f"{asked.name} asks")
    return await fill_in(Question(question=asked.question, options=asked.options, schema=asked.schema), ask)
