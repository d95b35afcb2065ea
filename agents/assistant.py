"""The assistant: the agent of the command line and the terminal UI, with its instructions and default tools."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qianda.agents.agent import Agent
from qianda.models.resolve import Endpoint
from qianda.tools import ask_user, calculator, core_tools, current_time, files, shell

if TYPE_CHECKING:
    from qianda.tools.tool import Tool

INSTRUCTIONS = """\
You are Qianda, an assistant that works in the user's folder through tools.
- Use tools to look and to act; do not guess what a file holds or what a command prints.
- Before you change a file, read it. Change only what was asked.
- When a call fails, read the error and try another way; when it is denied, go on without it.
- Say what you did and what you found, briefly, in the user's language. Never claim what no tool showed.

Folder: {folder}
System: {system}
Today: {today}"""


def assistant_instructions(workspace: Path) -> str:
    """The system prompt. The date has no clock time, so that a server's prompt cache holds for a day."""
    today = datetime.now().astimezone().strftime("%A, %Y-%m-%d")
    return INSTRUCTIONS.format(folder=workspace, system=platform.system(), today=today)


def assistant_tools() -> list[Tool]:
    """The default tools: files, search, shell, calculator, clock, questions."""
    return [*files(), *shell(), calculator, current_time, ask_user]


def assistant_agent(endpoint: Endpoint, *, workspace: str | Path = ".", **options: Any) -> Agent:
    """The assistant on a chosen server.

    Args:
        endpoint: what ``resolve`` gave. The demo model gets the pocket preset: no instructions, and only the tools
            that it was trained on, at their trained wording.
        workspace: the folder to work in.
        options: more arguments of ``Agent``; ``tools`` are added to the default ones.
    """
    folder = Path(workspace).resolve()
    extra: Sequence[Tool] = options.pop("tools", ())
    default = core_tools() if endpoint.demo else assistant_tools()
    instructions = options.pop("instructions", "" if endpoint.demo else assistant_instructions(folder))
    return Agent(server=endpoint, instructions=instructions, tools=[*default, *extra], workspace=folder, **options)
