"""Reads docstrings: what a function does and what its parameters mean, in Google, NumPy and reST style."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_PARAMETERS = {"args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "参数"}
_OTHERS = {
    "returns", "return", "yields", "yield", "raises", "raise", "examples", "example", "note", "notes", "see also",
    "warning", "warnings", "warns", "attributes", "references", "todo", "other parameters", "返回", "异常", "示例",
}  # fmt: skip
_HEADING = re.compile(r"^([A-Za-z ]+|[\u4e00-\u9fff]+)\s*[:：]\s*$")
_GOOGLE_ENTRY = re.compile(r"^\*{0,2}(\w+)\s*(?:\(.*?\))?\s*[:：]\s*(.*)$")
_NUMPY_ENTRY = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\w+)*)\s*(?::.*)?$")
_REST_FIELD = re.compile(r"^:(\w+)(?:\s+([^:]*))?:\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Docstring:
    """What a docstring says.

    Args:
        description: everything before the first section, paragraphs kept.
        parameters: what each parameter means, by name.
    """

    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict[str, str])


def read_docstring(text: str | None) -> Docstring:
    """Read a docstring; the style is recognised section by section."""
    lines = inspect.cleandoc(text or "").splitlines()
    description: list[str] = []
    parameters: dict[str, str] = {}
    index = 0
    in_description = True
    while index < len(lines):
        line = lines[index]
        underlined = index + 1 < len(lines) and re.fullmatch(r"\s*-{3,}\s*", lines[index + 1]) is not None
        title = line.strip().lower() if underlined else _google_title(line)
        rest = _REST_FIELD.match(line)
        if title in _PARAMETERS or title in _OTHERS:
            in_description = False
            start = index + 2 if underlined else index + 1
            index = _section_end(lines, start, underlined=underlined)
            if title in _PARAMETERS:
                parameters |= (_numpy_entries if underlined else _google_entries)(lines[start:index])
        elif rest is not None:
            in_description = False
            start = index
            index = _block_end(lines, start)
            if rest[1] in ("param", "parameter", "arg", "argument", "key", "keyword") and rest[2]:
                parameters[rest[2].split()[-1].lstrip("*")] = _joined([rest[3], *lines[start + 1 : index]])
        else:
            if in_description:
                description.append(line)
            index += 1
    return Docstring(_paragraphs(description), {name: text for name, text in parameters.items() if text})


def _google_title(line: str) -> str:
    """The lower-case title of a Google section that starts here, or ""."""
    heading = _HEADING.match(line)
    return heading[1].strip().lower() if heading else ""


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _block_end(lines: list[str], start: int) -> int:
    """Where the indented or blank lines after ``start`` end."""
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > 0):
        end += 1
    return end


def _section_end(lines: list[str], start: int, *, underlined: bool) -> int:
    """Where a section's body ends: Google bodies are indented, NumPy bodies end at the next underlined title."""
    if not underlined:
        return _block_end(lines, start - 1)
    end = start
    while end < len(lines) and not (end + 1 < len(lines) and re.fullmatch(r"\s*-{3,}\s*", lines[end + 1])):
        end += 1
    return end


def _entries(lines: list[str], heading: re.Pattern[str]) -> list[tuple[str, str, list[str]]]:
    """Entries of a section: names, the text beside them, the deeper lines below."""
    filled = [line for line in lines if line.strip()]
    base = min((_indent(line) for line in filled), default=0)
    found: list[tuple[str, str, list[str]]] = []
    for line in filled:
        match = heading.match(line.strip()) if _indent(line) == base else None
        if match is not None:
            found.append((match[1], match[2] if match.re.groups > 1 else "", []))
        elif found:
            found[-1][2].append(line)
    return found


def _google_entries(lines: list[str]) -> dict[str, str]:
    return {name: _joined([text, *below]) for name, text, below in _entries(lines, _GOOGLE_ENTRY)}


def _numpy_entries(lines: list[str]) -> dict[str, str]:
    return {
        name.strip(): _joined(below) for names, _, below in _entries(lines, _NUMPY_ENTRY) for name in names.split(",")
    }


def _joined(lines: list[str]) -> str:
    return " ".join(line.strip() for line in lines if line.strip())


def _paragraphs(lines: list[str]) -> str:
    """Paragraphs joined to one line each; lists and the like keep their lines."""
    text = "\n".join(lines).strip()
    paragraphs = re.split(r"\n\s*\n", text)
    return "\n".join(
        paragraph if re.search(r"\n\s*([-*•]|\d+[.)]|\s{2,})\s*\S", paragraph) else _joined(paragraph.splitlines())
        for paragraph in paragraphs
        if paragraph
    )
