"""What an agent can do: ``@tool``, the built-in tools, permissions."""

from __future__ import annotations

from qianda.tools.builtin import (
    TOOLSETS,
    calculator,
    core_tools,
    current_time,
    documents,
    edit_file,
    files,
    grep,
    images,
    list_files,
    read_document,
    read_file,
    run_command,
    shell,
    view_image,
    write_file,
)
from qianda.tools.context import Context
from qianda.tools.function_tool import FunctionTool, as_tool, tool
from qianda.tools.permissions import ApprovalRequest, Decision, PermissionMode, Permissions, Rules, Verdict
from qianda.tools.results import ToolResult
from qianda.tools.tool import Tool

__all__ = [
    "TOOLSETS",
    "ApprovalRequest",
    "Context",
    "Decision",
    "FunctionTool",
    "PermissionMode",
    "Permissions",
    "Rules",
    "Tool",
    "ToolResult",
    "Verdict",
    "as_tool",
    "calculator",
    "core_tools",
    "current_time",
    "documents",
    "edit_file",
    "files",
    "grep",
    "images",
    "list_files",
    "read_document",
    "read_file",
    "run_command",
    "shell",
    "tool",
    "view_image",
    "write_file",
]
