"""The built-in tools: calculator, time, files and the shell."""

from __future__ import annotations

from qianda.tools.builtin.calculator import calculator
from qianda.tools.builtin.clock import current_time
from qianda.tools.builtin.edit import edit_file
from qianda.tools.builtin.files import list_files, read_file, write_file
from qianda.tools.builtin.search import grep
from qianda.tools.builtin.shell import run_command
from qianda.tools.tool import Tool


def files(*, write: bool = True) -> list[Tool]:
    """The tools that work on files of the workspace.

    Args:
        write: with False only those that read.
    """
    changing: list[Tool] = [write_file, edit_file] if write else []
    return [list_files, read_file, *changing, grep]


def shell() -> list[Tool]:
    """The tool that runs commands in the workspace."""
    return [run_command]


def core_tools() -> list[Tool]:
    """The few tools that the smallest models can handle."""
    return [calculator, current_time, list_files, read_file, write_file]


__all__ = [
    "calculator",
    "core_tools",
    "current_time",
    "edit_file",
    "files",
    "grep",
    "list_files",
    "read_file",
    "run_command",
    "shell",
    "write_file",
]
