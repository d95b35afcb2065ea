"""A run's plan on the terminal: the question whether it may be carried out, and changing it in an editor."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from qianda.agents.plan import ACCEPT, ASK
from qianda.cli.approval import Approval
from qianda.cli.terminal import Terminal, clean
from qianda.models.events import QuestionAsked
from qianda.models.plan import step_texts
from qianda.tools.questions import Answer


async def answer_plan(terminal: Terminal, approval: Approval, asked: QuestionAsked, *, shown: bool) -> Answer:
    """Ask whether the plan may be carried out.

    Args:
        terminal: where it is asked.
        approval: reads lines from the keyboard.
        asked: the question.
        shown: the plan stands on the screen already.
    """
    approval.begin("Carry out this plan?")
    err = terminal.err
    plan = asked.question.removesuffix(ASK).strip()
    if not shown:
        err.write("".join(f"  {line}\n" for line in clean(plan).splitlines()))
    while True:
        err.write("  y = yes, e = change it, Enter = no, or say what is wrong with it: ")
        answer = await approval.read_line()
        match answer.casefold():
            case "y" | "yes":
                return ACCEPT
            case "" | "n" | "no":
                return None
            case "e" | "edit":
                steps = await _changed(step_texts(plan.splitlines()), terminal, approval)
                if steps:
                    return {"steps": steps}
            case _ if len(answer) > 1:
                return answer
            case _:
                pass


async def _changed(steps: list[str], terminal: Terminal, approval: Approval) -> list[str]:
    """The steps as the person wants them, one a line; none when they were all taken out."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        terminal.err.write("  One step a line, an empty line ends:\n")
        lines: list[str] = []
        while line := await approval.read_line():
            lines += line.splitlines()
        return step_texts(lines)
    with tempfile.TemporaryDirectory(prefix="qianda-") as folder:
        file = Path(folder) / "plan.txt"
        text = "".join(f"{number}. {step}\n" for number, step in enumerate(steps, 1))
        await asyncio.to_thread(file.write_text, text, encoding="utf-8")
        try:
            done = await asyncio.to_thread(subprocess.run, [*shlex.split(editor), str(file)], check=False)
        except (OSError, ValueError) as error:
            terminal.err.write(f"  {editor} cannot be run: {error}\n")
            return []
        text = await asyncio.to_thread(file.read_text, encoding="utf-8", errors="replace")
        return step_texts(text.splitlines()) if done.returncode == 0 else []
