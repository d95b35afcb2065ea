"""The built-in tools, and the toolsets that they come in by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from qianda.tools.builtin import core
from qianda.tools.builtin.ask import ask_user
from qianda.tools.builtin.background import jobs
from qianda.tools.builtin.calculator import calculator
from qianda.tools.builtin.clock import current_time
from qianda.tools.builtin.documents import read_document
from qianda.tools.builtin.edit import edit_file
from qianda.tools.builtin.files import list_files, read_file, write_file
from qianda.tools.builtin.images import view_image
from qianda.tools.builtin.plan import plan
from qianda.tools.builtin.python import run_python
from qianda.tools.builtin.search import grep
from qianda.tools.builtin.shell import run_command
from qianda.tools.builtin.trash import move_file
from qianda.tools.builtin.web import web
from qianda.tools.tool import Tool


def files(*, write: bool = True) -> list[Tool]:
    """The tools that work on files of the workspace.

    Args:
        write: with False only those that read.
    """
    changing: list[Tool] = [write_file, edit_file, move_file] if write else []
    return [list_files, read_file, *changing, grep]


def shell() -> list[Tool]:
    """The tools that run commands in the workspace, and look after those in the background."""
    return [run_command, jobs]


def python() -> list[Tool]:
    """The tool that runs Python code in an interpreter that keeps its variables; needs the extra ``python``."""
    return [run_python]


def documents() -> list[Tool]:
    """The tool that reads PDF, Word, PowerPoint, Excel, HTML, CSV and EPUB files; needs the extra ``documents``."""
    return [read_document]


def images() -> list[Tool]:
    """The tool that looks at images of the workspace; needs the extra ``images``."""
    return [view_image]


def notes() -> list[Tool]:
    """The tools that note and search what later conversations should know; see docs/memory.md."""
    from qianda.tools.builtin.notes import search_notes, write_note

    return [write_note, search_notes]


def core_tools() -> list[Tool]:
    """The few tools that the smallest models can handle."""
    return [calculator, current_time, core.list_files, core.read_file, write_file]


TOOLSETS: Mapping[str, Callable[[], list[Tool]]] = MappingProxyType(
    {
        "files": files,
        "shell": shell,
        "python": python,
        "web": web,
        "documents": documents,
        "images": images,
        "calculator": lambda: [calculator],
        "time": lambda: [current_time],
        "notes": notes,
    }
)
"""What the toolsets are called on the command line, and how each is made."""

__all__ = [
    "TOOLSETS",
    "ask_user",
    "calculator",
    "core_tools",
    "current_time",
    "documents",
    "edit_file",
    "files",
    "grep",
    "images",
    "jobs",
    "list_files",
    "move_file",
    "notes",
    "plan",
    "python",
    "read_document",
    "read_file",
    "run_command",
    "shell",
    "view_image",
    "web",
    "write_file",
]
