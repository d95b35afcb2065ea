"""Long texts by page: which pages are wanted, how a text is cut into them, how they are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from qianda.models.errors import ToolError

BUDGET = 18_000  # characters of one answer
_PIECE = 6_000  # characters of a page of what has no pages of its own


@dataclass(frozen=True, slots=True)
class Pages:
    """Some pages of a document.

    Args:
        first: number of the first of them, from 1.
        texts: theirs.
        total: how many the document has.
        unit: what they are: ``page``, ``slide``, ``part``.
    """

    first: int
    texts: Sequence[str]
    total: int
    unit: str


def wanted(pages: str, what: str = "pages") -> tuple[int, int]:
    """The first and the last page that ``3``, ``3-5``, ``3-`` or nothing stands for.

    Args:
        pages: as the model wrote it.
        what: the argument's name.

    Raises:
        ToolError: it is none of those.
    """
    found = re.fullmatch(r"\s*(?:(\d{1,6})\s*(?:([-–])\s*(\d{1,6})?)?)?\s*", pages)
    if found is None:
        raise ToolError(f'{what} is a number or a range such as "3" or "3-5", not "{pages}"')
    first = max(int(found[1] or 1), 1)
    alone = found[1] is not None and found[2] is None
    last = first if alone else int(found[3] or 1_000_000)
    return first, max(first, last)


def take(page: Callable[[int], str], total: int, first: int, last: int, unit: str) -> Pages:
    """As many of the wanted pages as an answer holds, at least one.

    Args:
        page: gives the text of a page, by its number from 1.
        total: how many there are.
        first: number of the first that is wanted.
        last: number of the last.
        unit: what they are.

    Raises:
        ToolError: there is no such page.
    """
    if first > max(total, 1):
        raise ToolError(f"there is no {unit} {first}: it has {total}")
    texts: list[str] = []
    size = 0
    for number in range(first, min(last, total) + 1):
        text = page(number)
        if texts and size + len(text) > BUDGET:
            break
        texts.append(text)
        size += len(text)
    return Pages(first, texts, total, unit)


def cut(text: str) -> list[str]:
    """A text as parts of about 6,000 characters, cut between paragraphs or lines where there are any."""
    parts: list[str] = []
    rest = text.strip()
    while len(rest) > _PIECE * 5 // 4:
        at = max(rest.rfind("\n\n", _PIECE // 2, _PIECE), 0) or max(rest.rfind("\n", _PIECE // 2, _PIECE), 0) or _PIECE
        parts.append(rest[:at].rstrip())
        rest = rest[at:].lstrip("\n")
    return [*parts, rest] if rest or not parts else parts


def cut_pages(text: str, first: int, last: int) -> Pages:
    """The wanted parts of a text.

    Raises:
        ToolError: there is no such part.
    """
    parts = cut(text)
    return take(lambda number: parts[number - 1], len(parts), first, last, "part")


def show(name: str, pages: Pages) -> str:
    """The pages as the model reads them, with what else there is.

    Args:
        name: what the document is called.
        pages: some of its pages.
    """
    if pages.total <= 1:
        text = "".join(pages.texts).strip()
        return f"{name}\n\n{text or '(no text in it)'}"
    last = pages.first + len(pages.texts) - 1
    span = f"{pages.unit} {pages.first}" if last == pages.first else f"{pages.unit}s {pages.first}-{last}"
    lines = [f"{name}: {span} of {pages.total}"]
    for number, text in enumerate(pages.texts, pages.first):
        lines.append(f"[{pages.unit} {number}]\n{text.strip() or '(no text: an empty page, or a scan)'}")
    if last < pages.total:
        lines.append(f'(more: pages="{last + 1}-{min(last + len(pages.texts), pages.total)}")')
    return "\n\n".join(lines)
