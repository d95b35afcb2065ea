"""Searches files without ripgrep; runs as a process of its own, with the standard library alone.

Usage: ``python search_worker.py PATTERN PATH GLOB``. Prints ``path NUL line:text``, as ``rg --null`` does, and leaves
out what ripgrep leaves out: hidden and binary files, links, and what .gitignore names (its common forms). With an empty
PATTERN it prints the names of files, ``path NUL``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LONGEST_LINE = 300
_SAMPLE = 8_192
_READ_WHOLE = 10_000_000  # bytes; larger files are read line by line only
_LOOKS_AROUND = re.compile(r"\(\?|\\[AZ]|[*+?}]\+")  # what may see that a line is not alone
_SKIPPED = {"node_modules", "__pycache__"}


class Rule(NamedTuple):
    """A line of a .gitignore: what it matches below its folder, and whether that is ignored or not."""

    folder: str
    pattern: re.Pattern[str]
    ignored: bool
    folders_only: bool


def search(pattern: re.Pattern[str], start: str, glob: str) -> Iterator[tuple[str, int, str]]:
    """Matching lines as path, number from 1 and text; paths are relative to the working folder."""
    wanted = glob_pattern(glob) if glob else None
    for path in [start] if Path(start).is_file() else files(start):
        if wanted is None or wanted.fullmatch(path):
            yield from search_file(pattern, path)


def search_file(pattern: re.Pattern[str], path: str) -> Iterator[tuple[str, int, str]]:
    """Matching lines of one file; none of a binary one or one that cannot be read."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_READ_WHOLE)
            if b"\0" in content[:_SAMPLE] or (len(content) < _READ_WHOLE and not may_match(pattern, content)):
                return
            file.seek(0)
            for number, raw in enumerate(file, 1):
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                found = pattern.search(line)
                if found is not None:
                    # Of a very long line the piece with the match.
                    start = max(0, found.start() - LONGEST_LINE // 3) if len(line) > LONGEST_LINE else 0
                    yield path, number, line[start : start + LONGEST_LINE]
    except OSError:
        return


def may_match(pattern: re.Pattern[str], content: bytes) -> bool:
    """Whether any line of a file can match: the file is searched as one text, which is much faster."""
    if _LOOKS_AROUND.search(pattern.pattern.removeprefix("(?i)")):
        return True
    text = content.replace(b"\r\n", b"\n").decode("utf-8", "replace")
    return re.compile(pattern.pattern, re.MULTILINE).search(text) is not None


def files(start: str) -> Iterator[str]:
    """Regular files below a folder, in order, that are neither hidden nor ignored."""
    parts = Path(start).parts
    rules = [rule for depth in range(len(parts)) for rule in read_rules(str(Path(*parts[:depth])))]
    yield from _walk("" if start == "." else start, rules)


def _walk(folder: str, rules: list[Rule]) -> Iterator[str]:
    rules = rules + read_rules(folder)
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        is_folder = entry.is_dir()
        if is_ignored(path, rules, is_folder=is_folder):
            continue
        if is_folder:
            if entry.name not in _SKIPPED:
                yield from _walk(path, rules)
        elif entry.is_file():
            yield path


def is_ignored(path: str, rules: list[Rule], *, is_folder: bool) -> bool:
    """Whether the rules leave a path out; the last one that matches decides."""
    ignored = False
    for rule in rules:
        below = path.removeprefix(f"{rule.folder}/") if rule.folder else path
        if (is_folder or not rule.folders_only) and rule.pattern.fullmatch(below):
            ignored = rule.ignored
    return ignored


def read_rules(folder: str) -> list[Rule]:
    """The rules of a folder's .gitignore."""
    folder = "" if folder == "." else folder
    try:
        lines = Path(folder, ".gitignore").read_text(errors="replace").splitlines()
    except OSError:
        return []
    rules: list[Rule] = []
    for line in lines:
        text = line.rstrip()
        if not text or text.startswith("#"):
            continue
        ignored = not text.startswith("!")
        text = text.removeprefix("!")
        rules.append(Rule(folder, glob_pattern(text.rstrip("/")), ignored, text.endswith("/")))
    return rules


def glob_pattern(glob: str) -> re.Pattern[str]:
    """The regular expression of a glob; without a slash it matches in every folder."""
    anchored = "/" in glob
    pattern = "" if anchored else "(?:.*/)?"
    rest = glob.removeprefix("/")
    while rest:
        if rest.startswith("**/"):
            pattern, rest = f"{pattern}(?:.*/)?", rest[3:]
        elif rest.startswith("**"):
            pattern, rest = f"{pattern}.*", rest[2:]
        elif rest[0] == "*":
            pattern, rest = f"{pattern}[^/]*", rest[1:]
        elif rest[0] == "?":
            pattern, rest = f"{pattern}[^/]", rest[1:]
        elif (group := re.match(r"\{([^{}]*)\}", rest)) is not None:
            choices = "|".join(glob_pattern(f"/{choice}").pattern for choice in group[1].split(","))
            pattern, rest = f"{pattern}(?:{choices})", rest[group.end() :]
        elif (characters := re.match(r"\[(!?)([^\]]+)\]", rest)) is not None:
            inside = characters[2].replace("\\", r"\\")
            pattern, rest = f"{pattern}[{'^' if characters[1] else ''}{inside}]", rest[characters.end() :]
        else:
            escaped = rest.startswith("\\") and len(rest) > 1
            pattern, rest = pattern + re.escape(rest[1] if escaped else rest[0]), rest[2 if escaped else 1 :]
    return re.compile(pattern)


def main() -> None:
    """Search as the command line says."""
    pattern, start, glob = sys.argv[1:]
    write = sys.stdout.buffer.write
    if not pattern:
        for path in files(start):
            write(os.fsencode(path) + b"\0")
        return
    for path, number, line in search(re.compile(pattern), start, glob):
        write(os.fsencode(path) + f"\0{number}:{line}\n".encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
