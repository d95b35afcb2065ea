"""What one tool call would touch: files, a command, addresses. The permissions' rules judge these, not names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What a call with certain arguments would touch, as far as the tool can say before it runs.

    Args:
        reads: files and folders that it looks at, as the model wrote them: relative to the workspace, or absolute.
        writes: files and folders that it creates, changes or deletes.
        command: the shell command that it runs, or "".
        keeps_folder: the command runs in the folder where the last one of the conversation ended.
        urls: addresses that it sends to or fetches.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    command: str = ""
    keeps_folder: bool = False
    urls: tuple[str, ...] = ()


NO_EFFECTS = Effects()


def reads_path(arguments: dict[str, Any]) -> Effects:
    """The effects of a tool that looks at its ``path``."""
    return Effects(reads=(arguments["path"],))
