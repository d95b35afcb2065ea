"""Code to rows: plain while it streams, coloured by pygments once it is whole and on the screen."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from qianda.tui.transcript.rows import TAB, Row, Run, flow, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from pygments.lexer import Lexer
    from pygments.token import _TokenType  # pyright: ignore[reportPrivateUsage]  # it has no public name

# Pygments' token types, most special first, and our style names.
_STYLES = (
    ("Comment", "code-comment"),
    ("Keyword", "code-keyword"),
    ("Operator.Word", "code-keyword"),
    ("Literal.String", "code-string"),
    ("Literal.Number", "code-number"),
    ("Name.Function", "code-name"),
    ("Name.Class", "code-name"),
    ("Name.Tag", "code-name"),
    ("Name.Decorator", "code-name"),
    ("Name.Builtin", "code-builtin"),
    ("Name.Attribute", "code-builtin"),
    ("Generic.Deleted", "code-deleted"),
    ("Generic.Inserted", "code-inserted"),
    ("Generic.Heading", "code-keyword"),
    ("Generic.Subheading", "code-keyword"),
)


def code_rows(lines: list[list[Run]], width: int, *, gutter: str) -> list[Row]:
    """Lay out lines of code on their own background, wrapped where they are too long.

    Args:
        lines: the runs of each line.
        width: columns, gutter and the pad column before the code included.
        gutter: stands before the pad column; neither is copied.
    """
    before: list[Run] = [(gutter, ""), (" ", "code-block")] if gutter else [(" ", "code-block")]
    rows: list[Row] = []
    for runs in lines:
        rows += flow(runs, width - 1, first=before, rest=before, gutter=len(gutter) + 1, fill="code-block")
    return rows


def plain_lines(source: str) -> list[list[Run]]:
    """The lines without colours."""
    return [[(line, "code-block")] if line else [] for line in visible(source).expandtabs(TAB).split("\n")]


def coloured_lines(source: str, language: str) -> list[list[Run]]:
    """The same lines with the colours of the language; plain ones when pygments does not know it."""
    lexer = _lexer(language)
    if lexer is None:
        return plain_lines(source)
    lines: list[list[Run]] = [[]]
    text = visible(source).expandtabs(TAB)
    for kind, value in lexer.get_tokens(text):
        style = _style(kind)
        for index, piece in enumerate(value.split("\n")):
            if index:
                lines.append([])
            if piece and lines[-1] and lines[-1][-1][1] == style:
                lines[-1][-1] = (lines[-1][-1][0] + piece, style)
            elif piece:
                lines[-1].append((piece, style))
    wanted = text.count("\n") + 1  # pygments ends the last line, so there may be one more
    return (lines + [[]] * wanted)[:wanted]


@lru_cache(maxsize=32)
def _lexer(language: str) -> Lexer | None:
    import pygments.lexers
    from pygments.util import ClassNotFound

    find: Callable[..., Lexer] = cast("Any", pygments.lexers).get_lexer_by_name
    try:
        return find(language, stripnl=False, ensurenl=True)
    except ClassNotFound:
        return None


@lru_cache(maxsize=256)
def _style(kind: _TokenType) -> str:
    name = str(kind).removeprefix("Token.")
    found = next((style for prefix, style in _STYLES if name == prefix or name.startswith(f"{prefix}.")), "")
    return f"code-block {found}".rstrip()
