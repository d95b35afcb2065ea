"""The built-in tools ``list_files``, ``read_file`` and ``write_file``."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from qianda.models.errors import ToolError
from qianda.tools.builtin.paging import wanted
from qianda.tools.builtin.search import find_files
from qianda.tools.builtin.text_files import count_lines, read_text, write_text
from qianda.tools.context import Context
from qianda.tools.effects import Effects, reads_path
from qianda.tools.function_tool import tool
from qianda.tools.remembered import remembered
from qianda.tools.workspace import explained, is_inside, resolve, shown

_MOST_ENTRIES = 200
LONGEST_TEXT = 20_000
"""Characters of one answer."""
_LONGEST_LINE = 2_000


@tool(read_only=True, consent=False, origin="built-in", effects=reads_path)
async def list_files(path: str, context: Context, glob: str = "") -> str:
    """List the files in a folder; with a glob, those at any depth.

    Args:
        path: Folder path
        context: says where the workspace is
        glob: e.g. *.py or src/**/test_*
    """
    if not glob.strip():
        return await asyncio.to_thread(list_folder, path, context)
    folder = _folder(path, context)
    name = shown(context.workspace, folder)
    found = await find_files(resolve(context.workspace, "."), name, glob.strip())
    more = len(found) - _MOST_ENTRIES
    notes = [f"({more:,} more not shown; narrow the glob or the path)"] if more > 0 else []
    return "\n".join([*(found[:_MOST_ENTRIES] or [f'no file matches "{glob}" in {name}']), *notes])


def list_folder(path: str, context: Context) -> str:
    """What is in a folder, a line each.

    Raises:
        ToolError: it is none, or cannot be listed.
    """
    folder = _folder(path, context)
    lines: list[str] = []
    hidden = 0
    with explained(context.workspace, folder, "list"):
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
        lines.append(f'The folder "{shown(context.workspace, folder)}" is empty')
    return "\n".join([*lines[:_MOST_ENTRIES], *([f"({', '.join(notes)})"] if notes else [])])


def _folder(path: str, context: Context) -> Path:
    folder = resolve(context.workspace, path)
    with explained(context.workspace, folder, "list"):
        if not stat.S_ISDIR(folder.stat().st_mode):
            name = shown(context.workspace, folder)
            raise ToolError(f'"{name}" is a file, not a folder; use read_file to see what is in it')
    return folder


@tool(read_only=True, consent=False, origin="built-in", max_output=LONGEST_TEXT + 500, effects=reads_path)
def read_file(path: str, context: Context, lines: str = "") -> str:
    """Read a text file.

    Args:
        path: File path
        context: says where the workspace is
        lines: e.g. 200-350, with line numbers
    """
    return read_lines(path, lines, context)


def read_lines(path: str, lines: str, context: Context) -> str:
    """A file's text, or some of its lines with their numbers.

    Raises:
        ToolError: it cannot be read, or has no such lines.
    """
    target = resolve(context.workspace, path)
    file = read_text(context.workspace, target)
    remembered(context.closing).note(target, file.text)
    if not file.text.strip():
        return "(the file holds only white space)" if file.text else "(the file is empty)"
    note = "" if file.encoding in ("utf-8", "utf-8-sig") else f"(read as {file.encoding}, it is not UTF-8)\n"
    if lines.strip():
        return note + _numbered(file.text, *wanted(lines, "lines"))
    if len(file.text) <= LONGEST_TEXT:
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
    name = shown(context.workspace, target)
    memory = remembered(context.closing)
    if target in memory.texts and target.exists():
        memory.check(target, read_text(context.workspace, target).text, name)
    context.changing(target)
    written = write_text(context.workspace, target, content)
    memory.note(target, content)
    size = f"{written.size:,} byte{'' if written.size == 1 else 's'}"
    return f"Wrote {size} to {name} ({'created' if written.created else 'replaced'})"


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
    head = text[: LONGEST_TEXT * 3 // 4]
    tail = text[-(LONGEST_TEXT // 4) :]
    head, tail = head[: head.rfind("\n") + 1] or head, tail[tail.find("\n") + 1 :] or tail
    first, last = text.count("\n", 0, len(head)) + 1, count_lines(text) - count_lines(tail)
    left_out = len(text) - len(head) - len(tail)
    note = (
        f"[… lines {first} to {last} left out ({left_out:,} characters); "
        f'read on with lines="{first}-{last}", or use grep to find what you need …]'
    )
    return f"{head}{note}\n{tail}"


def _numbered(text: str, first: int, last: int) -> str:
    """Some lines with their numbers, as many of them as an answer holds."""
    every = text.removesuffix("\n").split("\n")
    if first > len(every):
        raise ToolError(f"there is no line {first}: the file has {len(every)}")
    lines: list[str] = []
    size = 0
    for number, whole in enumerate(every[first - 1 : last], first):
        line = whole.removesuffix("\r")
        cut = f" [… {len(line) - _LONGEST_LINE:,} more characters]" if len(line) > _LONGEST_LINE else ""
        lines.append(f"{number}\t{line[:_LONGEST_LINE]}{cut}")
        size += len(lines[-1]) + 1
        if size > LONGEST_TEXT:
            lines.pop()
            break
    end = first + len(lines) - 1
    more = f'; more: lines="{end + 1}-{min(last, len(every))}"' if end < min(last, len(every)) else ""
    return "\n".join([f"(lines {first} to {end} of {len(every)}{more})", *lines])
