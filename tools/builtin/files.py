"""The built-in tools ``list_files``, ``read_file`` and ``write_file``."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from qianda.models.errors import ToolError
from qianda.tools.builtin.text_files import count_lines, read_text, write_text
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.function_tool import tool
from qianda.tools.workspace import explained, is_inside, resolve, shown

_MOST_ENTRIES = 200
_LONGEST_TEXT = 20_000


@tool(read_only=True, consent=False, origin="built-in", effects=lambda given: Effects(reads=(given["path"],)))
def list_files(path: str, context: Context) -> str:
    """List the files in a folder.

    Args:
        path: Folder path
        context: says where the workspace is
    """
    folder = resolve(context.workspace, path)
    name = shown(context.workspace, folder)
    lines: list[str] = []
    hidden = 0
    with explained(context.workspace, folder, "list"):
        if folder.exists() and not folder.is_dir():
            raise ToolError(f'"{name}" is a file, not a folder; use read_file to see what is in it')
        entries = sorted(os.scandir(folder), key=lambda entry: (not _is_folder(entry), entry.name.casefold()))
    for entry in entries:
        if entry.name.startswith("."):
            hidden += 1
        else:
            lines.append(_line(context.workspace, entry))
    notes: list[str] = []
    if len(lines) > _MOST_ENTRIES:
        notes.append(f"{len(lines) - _MOST_ENTRIES} more not shown")
    if hidden:
        notes.append(f"{hidden} hidden not shown")
    if not lines:
        lines.append(f'The folder "{name}" is empty')
    return "\n".join([*lines[:_MOST_ENTRIES], *([f"({', '.join(notes)})"] if notes else [])])


@tool(
    read_only=True,
    consent=False,
    origin="built-in",
    max_output=_LONGEST_TEXT + 500,
    effects=lambda given: Effects(reads=(given["path"],)),
)
def read_file(path: str, context: Context) -> str:
    """Read a text file.

    Args:
        path: File path
        context: says where the workspace is
    """
    file = read_text(context.workspace, resolve(context.workspace, path))
    if not file.text.strip():
        return "(the file holds only white space)" if file.text else "(the file is empty)"
    note = "" if file.encoding in ("utf-8", "utf-8-sig") else f"(read as {file.encoding}, it is not UTF-8)\n"
    if len(file.text) <= _LONGEST_TEXT:
        return note + file.text.removesuffix("\n").removesuffix(
            "\r"
        )  # small models take a last empty line for the end of the task
    return note + _head_and_tail(file.text)


@tool(
    idempotent=True,
    parallel=False,
    consent=False,
    origin="built-in",
    effects=lambda given: Effects(writes=(given["path"],)),
)
def write_file(path: str, content: str, context: Context) -> str:
    """Write text to a file.

    Args:
        path: File path
        content: Text to write
        context: says where the workspace is
    """
    target = resolve(context.workspace, path)
    context.changing(target)
    written = write_text(context.workspace, target, content)
    size = f"{written.size:,} byte{'' if written.size == 1 else 's'}"
    return f"Wrote {size} to {shown(context.workspace, target)} ({'created' if written.created else 'replaced'})"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _line(workspace: Path, entry: os.DirEntry[str]) -> str:
    """A folder's entry as a line; links that lead nowhere or outside are said to be so."""
    if entry.is_symlink() and not is_inside(workspace, Path(entry.path)):
        return f"{entry.name} (link out of the workspace)"
    try:
        state = entry.stat()
    except OSError:
        return f"{entry.name} (broken link)" if entry.is_symlink() else f"{entry.name} (cannot be read)"
    # Names alone: small models lose their way in a list with sizes.
    return f"{entry.name}/" if stat.S_ISDIR(state.st_mode) else entry.name


def _head_and_tail(text: str) -> str:
    """The first and the last lines of a long text, and between them what is missing and how to get it."""
    head = text[: _LONGEST_TEXT * 3 // 4]
    tail = text[-(_LONGEST_TEXT // 4) :]
    head, tail = head[: head.rfind("\n") + 1] or head, tail[tail.find("\n") + 1 :] or tail
    first, last = text.count("\n", 0, len(head)) + 1, count_lines(text) - count_lines(tail)
    left_out = len(text) - len(head) - len(tail)
    note = f"[… lines {first} to {last} left out ({left_out:,} characters); use grep to find what you need …]"
    return f"{head}{note}\n{tail}"
