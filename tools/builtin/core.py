"""The file tools at the very wording that the demo model was trained on: no argument more."""

from __future__ import annotations

from qianda.tools.builtin.files import LONGEST_TEXT, list_folder, read_lines
from qianda.tools.context import Context
from qianda.tools.effects import reads_path
from qianda.tools.function_tool import tool


@tool(read_only=True, consent=False, origin="built-in", effects=reads_path)
def list_files(path: str, context: Context) -> str:
    """List the files in a folder.

    Args:
        path: Folder path
        context: says where the workspace is
    """
    return list_folder(path, context)


@tool(read_only=True, consent=False, origin="built-in", max_output=LONGEST_TEXT + 500, effects=reads_path)
def read_file(path: str, context: Context) -> str:
    """Read a text file.

    Args:
        path: File path
        context: says where the workspace is
    """
    return read_lines(path, "", context)
