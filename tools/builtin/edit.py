"""The built-in tool ``edit_file``: replaces a piece of text that occurs once, and shows the difference."""

from __future__ import annotations

import difflib

from qianda.models.errors import ToolError
from qianda.tools.builtin.matching import find_alike
from qianda.tools.builtin.text_files import read_text, write_text
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.function_tool import tool
from qianda.tools.remembered import remembered
from qianda.tools.workspace import resolve, shown

_MOST_LINES_COMPARED = 5_000
_LONGEST_LINE_COMPARED = 300
_LARGEST_DIFFED = 1_000_000  # characters; difflib takes its time on more
_LONGEST_DIFF = 60  # lines


@tool(
    parallel=False,
    consent=False,
    origin="built-in",
    effects=lambda given: Effects(reads=(given["path"],), writes=(given["path"],)),
)
def edit_file(path: str, old_text: str, new_text: str, context: Context, replace_all: bool = False) -> str:
    """Replace text in a file.

    Args:
        path: File path
        old_text: text of the file, enough to occur once
        new_text: what takes its place
        context: says where the workspace is
        replace_all: replace every occurrence
    """
    target = resolve(context.workspace, path)
    name = shown(context.workspace, target)
    file = read_text(context.workspace, target)
    memory = remembered(context.closing)
    memory.check(target, file.text, name)
    if not old_text:
        raise ToolError("old_text is empty; give the text to replace, or use write_file to write the whole file")
    if old_text == new_text:
        raise ToolError("old_text and new_text are the same; nothing to do")
    if "\r\n" in file.text and file.text.count("\r\n") == file.text.count("\n"):  # models write \n
        old_text, new_text = (text.replace("\r\n", "\n").replace("\n", "\r\n") for text in (old_text, new_text))
    count = file.text.count(old_text)
    if count == 0:
        edited, how = _edit_alike(name, file.text, old_text, new_text), "; old_text was not quite what stands there"
    elif count > 1 and not replace_all:
        lines = ", ".join(str(line) for line in _line_numbers(file.text, old_text)[:10])
        raise ToolError(
            f"old_text occurs {count} times in {name} (at lines {lines}); "
            "give more of the lines around it so that it occurs once, or set replace_all"
        )
    else:
        edited, how = file.text.replace(old_text, new_text), ""
    context.changing(target)
    write_text(context.workspace, target, edited, file.encoding)
    memory.note(target, edited)
    return _difference(name, file.text, edited, max(count, 1), how)


def _edit_alike(name: str, text: str, old_text: str, new_text: str) -> str:
    """The text with the one place changed that is like ``old_text``, but for blanks, quotes or dashes.

    Raises:
        ToolError: there is none, or more than one.
    """
    found = find_alike(text, old_text, new_text)
    if not found:
        raise ToolError(_not_found(name, text, old_text))
    if len(found) > 1:
        lines = ", ".join(str(text.count("\n", 0, match.start) + 1) for match in found[:10])
        raise ToolError(
            f"old_text does not occur in {name} as it is, but with other blanks or quotes {len(found)} times "
            f"(at lines {lines}); copy it from the file, with more of the lines around it"
        )
    (match,) = found
    edited = text[: match.start] + match.new + text[match.end :]
    if edited == text:
        raise ToolError(f"{name} holds new_text already; nothing to do")
    return edited


def _line_numbers(text: str, piece: str) -> list[int]:
    """The lines, from 1, at which each occurrence begins."""
    found: list[int] = []
    at = text.find(piece)
    while at >= 0:
        found.append(text.count("\n", 0, at) + 1)
        at = text.find(piece, at + len(piece))
    return found


def _not_found(name: str, text: str, old_text: str) -> str:
    """What stands in the file instead: the line that is closest to the first line of what was wanted."""
    lines = text.splitlines()[:_MOST_LINES_COMPARED]
    wanted = next((line for line in old_text.splitlines() if line.strip()), "")
    same = [number for number, line in enumerate(lines, 1) if line.strip() == wanted.strip()]
    if same:
        return (
            f'old_text does not occur in {name}: line {same[0]} is "{lines[same[0] - 1]}", but the lines after it '
            "differ; copy it from the file as it is"
        )
    candidates = [line for line in lines if len(line) <= _LONGEST_LINE_COMPARED]
    close = difflib.get_close_matches(wanted[:_LONGEST_LINE_COMPARED], candidates, n=1, cutoff=0.5)
    if close:
        return (
            f'old_text does not occur in {name}; the closest is line {lines.index(close[0]) + 1}: "{close[0]}"; '
            "copy it from the file as it is"
        )
    return f"old_text does not occur in {name}, nor anything like it; read the file first"


def _difference(name: str, before: str, after: str, count: int, how: str) -> str:
    """What changed, as a unified diff with one line of context."""
    done = f"edited {name}, {count} replacement{'' if count == 1 else 's'}{how}"
    if len(before) > _LARGEST_DIFFED or count > _LONGEST_DIFF:
        return done
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=1, lineterm=""))[2:]
    more = len(lines) - _LONGEST_DIFF
    if more > 0:
        lines = [*lines[:_LONGEST_DIFF], f"(… {more} more lines of the difference)"]
    return "\n".join([f"{done}:", *lines])
