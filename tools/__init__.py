"""What an agent can do: ``@tool``, the built-in tools, permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qianda.tools.context import Context
from qianda.tools.function_tool import FunctionTool, as_tool, tool
from qianda.tools.permissions import ApprovalRequest, Decision, PermissionMode, Permissions, Rules, Verdict
from qianda.tools.questions import Answer, Question
from qianda.tools.results import ToolResult
from qianda.tools.tool import Tool
from qianda.tools.tool_search import fit, on_demand
from qianda.tools.toolset import Toolset

if TYPE_CHECKING:
    from qianda.tools.builtin import (
        TOOLSETS,
        ask_user,
        calculator,
        core_tools,
        current_time,
        documents,
        edit_file,
        files,
        grep,
        images,
        jobs,
        list_files,
        move_file,
        python,
        read_document,
        read_file,
        run_command,
        shell,
        view_image,
        web,
        write_file,
    )

__all__ = [
    "TOOLSETS",
    "Answer",
    "ApprovalRequest",
    "Context",
    "Decision",
    "FunctionTool",
    "PermissionMode",
    "Permissions",
    "Question",
    "Rules",
    "Tool",
    "ToolResult",
    "Toolset",
    "Verdict",
    "as_tool",
    "ask_user",
    "calculator",
    "core_tools",
    "current_time",
    "documents",
    "edit_file",
    "files",
    "fit",
    "grep",
    "images",
    "jobs",
    "list_files",
    "move_file",
    "on_demand",
    "python",
    "read_document",
    "read_file",
    "run_command",
    "shell",
    "tool",
    "view_image",
    "web",
    "write_file",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'qianda.tools' has no attribute {name!r}")
    from qianda.tools import builtin  # loaded by who asks for one: an agent without them does without their imports

    value = globals()[name] = getattr(builtin, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
