"""A tool call in one readable line: the command, the path or the question first, the rest short."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from qianda.tui.transcript.rows import visible
from qianda.tui.words import t

VALUE_SHOWN = 60
"""Characters of an argument that is not the first."""
_LOOKED_AT = 2_000
"""Characters of arguments that are still being written that the preview reads."""
# What a call is about stands first, without its name; of several the first of these.
_LEADING = (
    "command", "code", "agent", "path", "file_path", "url", "query", "pattern", "question", "expression", "task",
)  # fmt: skip
_COMMANDS = ("command", "code")
# Shown as a difference, or as a size while they are written.
_LONG = frozenset(
    ("content", "contents", "file_text", "old_text", "new_text", "old_string", "new_string", "old_str", "new_str",
     "oldText", "newText")
)  # fmt: skip
_PAIR = re.compile(r'"(\w+)"\s*:\s*("(?:[^"\\]|\\.)*"?|[^",}\]]+)')

QUIET: Mapping[str, tuple[str, str]] = {
    "read_file": ("1 file read", "{count} files read"),
    "read_document": ("1 document read", "{count} documents read"),
    "view_image": ("1 image viewed", "{count} images viewed"),
    "list_files": ("1 folder listed", "{count} folders listed"),
    "grep": ("1 search", "{count} searches"),
    "web_search": ("1 web search", "{count} web searches"),
    "web_fetch": ("1 page read", "{count} pages read"),
    "search_notes": ("1 search in the notes", "{count} searches in the notes"),
    "calculator": ("1 calculation", "{count} calculations"),
}
"""Tools that only look, and how one call and several of them are told in a line."""

STREAMING = frozenset(("run_command", "run_python"))
"""Tools whose progress is output as it comes, at any cut; that of others is a line each time."""


def counted(count: int, one: str, many: str) -> str:
    """``one`` or ``many``, which has a ``{count}``, in the user's language."""
    return t(one) if count == 1 else t(many, count=f"{count:,}")


def read_arguments(text: str) -> dict[str, Any] | None:
    """The arguments, or None for what is no JSON object."""
    try:
        value: Any = json.loads(text or "{}")
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def argument_items(arguments: str) -> list[tuple[str, str]]:
    """Name and text of each argument; strings as they are, everything else as JSON. What is no object stays whole."""
    values = read_arguments(arguments)
    if values is None:
        return [(t("arguments"), arguments)]
    return [(str(key), _text(value)) for key, value in values.items()]


def call_line(arguments: str, values: Mapping[str, Any] | None, *, writing: bool = False) -> str:
    """The arguments in one line.

    Args:
        arguments: their JSON text.
        values: what ``read_arguments`` made of it.
        writing: the text is not whole yet.
    """
    if values is None and not writing:
        return _one_line(arguments)
    if values is None:
        values = {key: _partial(text) for key, text in _PAIR.findall(arguments[:_LOOKED_AT])}
        if not values:
            return ""
    first = next((key for key in _LEADING if key in values), "")
    others: list[str] = []
    for key, value in values.items():
        if key != first and key not in _LONG:
            text = _one_line(_text(value))
            others.append(f"{visible(key)}={text if len(text) <= VALUE_SHOWN else text[: VALUE_SHOWN - 1] + '…'}")
    rest = " ".join(others)
    if first in _COMMANDS:  # what follows must not look like a part of it
        rest = f"({rest})" if rest else ""
    shown = _one_line(_text(values[first])) if first else ""
    size = (
        t("({count} characters so far)", count=f"{len(arguments):,}") if writing and len(arguments) > _LOOKED_AT else ""
    )
    return " ".join(filter(None, ("$" if first in _COMMANDS else "", shown, rest, size)))


def whole_in_line(values: Mapping[str, Any]) -> list[str]:
    """The names of the arguments that ``call_line`` shows whole, as long as nobody cuts the line."""
    first = next((key for key in _LEADING if key in values), "")
    texts = {key: _text(value) for key, value in values.items() if key not in _LONG}
    most = {key: _LOOKED_AT if key == first else VALUE_SHOWN for key in texts}
    return [key for key, text in texts.items() if "\n" not in text and len(text) <= most[key]]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _one_line(text: str) -> str:
    return visible(text[:_LOOKED_AT].strip()).replace("\n", " ⏎ ").replace("\t", " ")


def _partial(text: str) -> str:
    """A value that is perhaps not whole."""
    if not text.startswith('"'):
        return text.strip()
    for whole in (text, f'{text}"', f'{text[:-1]}"'):
        try:
            return str(json.loads(whole))
        except ValueError:
            continue
    return text[1:]


def bounded(text: str, lines: int, characters: int) -> tuple[str, str, str]:
    """The first quarter and the end of a long text.

    Args:
        text: any.
        lines: that are kept at most.
        characters: likewise.

    Returns:
        The beginning, a line about what is left out, and the end; or the whole text and nothing.
    """
    count = text.count("\n") + 1
    if count <= lines and len(text) <= characters:
        return text, "", ""
    head = "\n".join(text[: characters // 4].split("\n")[: max(lines // 4, 1)])
    end = "\n".join(text[len(head) :][-(characters * 3 // 4) :].split("\n")[-(lines * 3 // 4) :])
    left = len(text) - len(head) - len(end)
    hidden = count - head.count("\n") - end.count("\n") - 2
    if hidden > 0:
        return head, counted(hidden, "… 1 line more", "… {count} lines more"), end
    return head, t("… {count} characters more", count=f"{left:,}"), end
