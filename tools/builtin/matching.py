"""Finds a piece of a file that a model wrote down slightly wrong: other blanks, quotes, dashes, line numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

# One character for one, so that places in the text stay the same.
_LOOK_ALIKES = str.maketrans("“”„‟″‘’‚‛′‐‑‒–—−\u00a0\u2007\u202f\u3000", "\"\"\"\"\"'''''------    ")
_NUMBERED = re.compile(r"[ ]*\d+\t")
_LINE_KEYS: tuple[Callable[[str], str], ...] = (str.rstrip, str.strip, lambda line: " ".join(line.split()))


@dataclass(frozen=True, slots=True)
class Match:
    """A place in a text, and what is to stand there.

    Args:
        start: of its first character.
        end: behind its last one.
        new: the new text, with the file's own indentation, quotes and line ends.
    """

    start: int
    end: int
    new: str


def find_alike(text: str, old: str, new: str) -> list[Match]:
    """Every place that is like ``old``: by the strictest way of comparing that finds any.

    Args:
        text: of the file.
        old: what a model took for a piece of it.
        new: what is to take its place.
    """
    plain, wanted = text.translate(_LOOK_ALIKES), old.translate(_LOOK_ALIKES)
    if wanted.strip() and wanted in plain:
        return [_same_but_looks(at, old, new) for at in _places(plain, wanted)]
    if all(_NUMBERED.match(line) for line in old.strip("\n").split("\n")):
        old, new = ("\n".join(_NUMBERED.sub("", line, 1) for line in piece.split("\n")) for piece in (old, new))
        if old.strip() and old in text:
            return [Match(at, at + len(old), new) for at in _places(text, old)]
    lines = text.split("\n")
    wanted_lines = old.strip("\r\n").translate(_LOOK_ALIKES).split("\n")
    if not any(line.strip() for line in wanted_lines):
        return []
    for key in _LINE_KEYS:
        keys, wanted_keys = [key(line) for line in plain.split("\n")], [key(line) for line in wanted_lines]
        size = len(wanted_keys)
        found = [at for at in range(len(keys)) if keys[at] == wanted_keys[0] and keys[at : at + size] == wanted_keys]
        if found:
            return [_lines_at(lines, at, old, new) for at in found]
    return []


def _places(text: str, piece: str) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(piece), text)]


def _same_but_looks(at: int, old: str, new: str) -> Match:
    """Only what differs between old and new is changed: the file's quotes stay around it."""
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    most = min(len(old), len(new)) - start
    tail = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
    return Match(at + start, at + len(old) - tail, new[start : len(new) - tail])


def _lines_at(lines: list[str], at: int, old: str, new: str) -> Match:
    """Whole lines, in the file's indentation; those that only stand around the change stay as they are."""
    old_lines, new_lines = old.strip("\r\n").split("\n"), new.strip("\r\n").split("\n")
    there = lines[at : at + len(old_lines)]
    end_of_line = "\r\n" if there[0].endswith("\r") else "\n"
    there = [line.removesuffix("\r") for line in there]
    known = dict(zip(old_lines, there, strict=True))
    indents: dict[str, str] = {}
    for line, other in zip(old_lines, there, strict=True):
        if line.strip():
            indents.setdefault(_indent(line), _indent(other))
    written = [known[line] if line in known else _indented(line.removesuffix("\r"), indents) for line in new_lines]
    start = sum(len(line) + 1 for line in lines[:at])
    end = start + sum(len(line) + 1 for line in lines[at : at + len(old_lines)]) - 1
    if lines[at + len(old_lines) - 1].endswith("\r"):
        end -= 1
    before = _newlines(new, str.lstrip) - _newlines(old, str.lstrip)
    after = _newlines(new, str.rstrip) - _newlines(old, str.rstrip)
    if after < 0 and at + len(old_lines) < len(lines):  # the line goes with its end
        end += len(end_of_line)
    body = end_of_line.join(written)
    return Match(start, end, end_of_line * max(before, 0) + body + end_of_line * max(after, 0))


def _newlines(text: str, strip: Callable[[str, str], str]) -> int:
    return text.count("\n") - strip(text, "\r\n").count("\n")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _indented(line: str, indents: dict[str, str]) -> str:
    """A new line, as far in as the file has what stands around it."""
    indent = _indent(line)
    if not line.strip():
        return line
    if indent in indents:
        return indents[indent] + line.lstrip()
    around = max((known for known in indents if indent.startswith(known)), key=len, default=None)
    if around is None:  # further out than all that is known
        known, there = next(iter(indents.items()))
        return there[: max(len(there) - len(known) + len(indent), 0)] + line.lstrip()
    rest = indent[len(around) :]
    if any("\t" in there for there in indents.values()) and "\t" not in rest:
        width = next((len(known) // len(there) for known, there in indents.items() if there and known), 4) or 4
        rest = "\t" * -(-len(rest) // width)
    return indents[around] + rest + line.lstrip()
