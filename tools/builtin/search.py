"""The built-in tool ``grep``, and finding files by a glob: by ripgrep where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from qianda.models.errors import ToolError
from qianda.tools.builtin import search_worker
from qianda.tools.builtin.processes import run_child
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.function_tool import tool
from qianda.tools.workspace import missing, resolve, shown

_MOST_MATCHES = 100
_CHUNK = 65_536
_LONGEST_LINE = search_worker.LONGEST_LINE
_RIPGREP = [
    "--no-config", "--null", "--line-number", "--no-heading", "--with-filename", "--color=never",
    f"--max-columns={_LONGEST_LINE}", "--max-columns-preview",
]  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class _Match:
    path: str
    line: int
    text: str


@tool(
    read_only=True,
    consent=False,
    origin="built-in",
    effects=lambda given: Effects(reads=(given.get("path", "."),)),
)
async def grep(pattern: str, context: Context, path: str = ".", glob: str = "") -> str:
    """Search files for a regular expression.

    Args:
        pattern: regular expression
        context: says where the workspace is
        path: file or folder
        glob: e.g. *.py
    """
    if not pattern:
        raise ToolError("the pattern is empty")
    target = resolve(context.workspace, path)
    if not target.exists():
        raise missing(context.workspace, target)
    where = shown(context.workspace, target)
    note = ""
    try:
        re.compile(pattern)
    except re.error as error:
        # Usually a piece of code, such as "main(": taken as the text that it is.
        note = f"(searched as plain text: as a regular expression it is wrong, {error})\n"
        pattern = re.escape(pattern)
    root = resolve(context.workspace, ".")
    matches, problem = await _search(root, pattern, where, glob)
    if not matches:
        if problem:
            raise ToolError(f"the search failed: {problem}")
        return f'{note}no match for "{pattern}" in {where}{f" ({glob})" if glob else ""}'
    lines = [f"{match.path}:{match.line}: {match.text}" for match in sorted(matches[:_MOST_MATCHES])]
    if len(matches) > _MOST_MATCHES:
        lines.append(f"(only {_MOST_MATCHES} matches shown; narrow the pattern, path or glob to see others)")
    return note + "\n".join(lines)


async def _search(root: Path, pattern: str, where: str, glob: str) -> tuple[list[_Match], str]:
    """Matches, one more than are shown at most, and what went wrong."""
    ripgrep = shutil.which("rg")
    if ripgrep is not None:
        # A type of our own, because --glob would bring back what .gitignore leaves out; types know only file names.
        only = ["--glob", glob] if "/" in glob else ["--type-add", f"wanted:{glob}", "--type", "wanted"]
        options = [*_RIPGREP, *_ignoring(root, where), *(only if glob else []), "-e", pattern]
        matches, problem = await _collect([ripgrep, *options, "--", where if where == "." else f"./{where}"], root)
        if matches or "regex parse error" not in problem:
            return matches, problem
    # In a process of its own: Python's expressions can take for ever, and nothing else runs meanwhile.
    worker = [sys.executable, "-I", "-S", search_worker.__file__]
    return await _collect([*worker, pattern, where, glob], root)


async def find_files(root: Path, where: str, glob: str, *, most: int | None = None) -> list[str]:
    """Files that match a glob, in order, relative to the workspace; neither hidden nor ignored ones.

    Args:
        root: the workspace, resolved.
        where: the folder to look in, relative to it.
        glob: relative to that folder; without a slash it matches at any depth.
        most: stop when there are so many.
    """
    ripgrep = shutil.which("rg")
    if ripgrep is None:
        arguments = [sys.executable, "-I", "-S", search_worker.__file__, "", where, ""]
    else:
        start = where if where == "." else f"./{where}"
        arguments = [ripgrep, "--no-config", "--no-messages", "--files", "--null", *_ignoring(root, where), "--", start]
    wanted = search_worker.glob_pattern(glob)
    folder = "" if where == "." else f"{where}/"
    found: list[str] = []
    async with run_child(arguments, folder=root) as child:
        rest = b""
        while (most is None or len(found) < most) and (chunk := await child.output.read(_CHUNK)):
            *paths, rest = (rest + chunk).split(b"\0")
            for raw in paths:
                path = os.fsdecode(raw).removeprefix("./")
                if wanted.fullmatch(path.removeprefix(folder)):
                    found.append(path)
    return sorted(found)


def _ignoring(root: Path, where: str) -> list[str]:
    """Options: the rules of the workspace count, those above it do not, as it may itself lie in an ignored folder."""
    rules = ["--ignore-file", ".gitignore"] if where != "." and (root / ".gitignore").is_file() else []
    return ["--no-require-git", "--no-ignore-parent", *rules]


async def _collect(arguments: list[str], root: Path) -> tuple[list[_Match], str]:
    """Read ``path NUL line:text`` lines until there are enough; any other line says what went wrong."""
    matches: list[_Match] = []
    problems: list[str] = []
    async with run_child(arguments, folder=root) as child:
        while len(matches) <= _MOST_MATCHES and (raw := await child.output.readline()):
            line = raw.decode("utf-8", "replace").rstrip("\r\n")
            path, separator, rest = line.partition("\0")
            number, _, text = rest.partition(":")
            if separator and number.isdigit():
                matches.append(_Match(path.removeprefix("./"), int(number), text[:_LONGEST_LINE]))
            elif line.strip():
                problems.append(line.strip())
    return matches, "; ".join(problems[:3])
