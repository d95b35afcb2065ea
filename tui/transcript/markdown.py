"""Markdown chunks to rows, by markdown-it's tokens: CommonMark, tables, strikethrough, task lists, formulas.

HTML, footnotes and images are shown as text; a bare address is a link.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from qianda.tui.transcript.code import coloured_lines
from qianda.tui.transcript.maths import math_lines, with_maths
from qianda.tui.transcript.rows import TAB, Row, Run, flow, visible, width_of
from qianda.tui.transcript.tables import Cell, table_rows

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

BULLETS = "•◦▪"
LINKABLE = ("http://", "https://", "mailto:")
_INLINE = {"strong_open": "strong", "em_open": "em", "s_open": "strike"}
_ADDRESS = re.compile(r"https?://[^\s<>\"'`，。；：！？、）】」》]+")
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_TASK = re.compile(r"\[([ xX])\] +")


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.disable(["html_block", "html_inline"])
    with_maths(parser)
    define = next(rule.fn for rule in parser.block.ruler.__rules__ if rule.name == "reference")
    parser.block.ruler.at("reference", _no_footnote(define))
    return parser


def _no_footnote(
    define: Callable[[StateBlock, int, int, bool], bool],
) -> Callable[[StateBlock, int, int, bool], bool]:
    """The rule for definitions of links, which leaves footnotes to be shown."""

    def rule(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        begins = state.bMarks[start] + state.tShift[start]
        return not state.src.startswith("[^", begins) and define(state, start, end, silent)

    return rule


def _readable(source: str) -> str:
    return visible(source).expandtabs(TAB)


def define_links(source: str, references: dict[str, Any]) -> None:
    """Take the link definitions of a piece of Markdown into those of its message."""
    _parser().parse(_readable(source), {"references": references})


class _Prefix(NamedTuple):
    """What stands before the rows of a block: before its first row, and before the others."""

    first: tuple[Run, ...] = ()
    rest: tuple[Run, ...] = ()
    gutter: int = 0

    def add(self, first: Run, rest: Run | None = None) -> _Prefix:
        rest = rest or (" " * width_of(first[0]), "")
        return _Prefix((*self.first, first), (*self.rest, rest), self.gutter)

    def after_first(self) -> _Prefix:
        return _Prefix(self.rest, self.rest, self.gutter)


def markdown_rows(
    source: str,
    width: int,
    *,
    gutter: str = "",
    number: int | None = None,
    references: dict[str, Any] | None = None,
    head: str = "",
) -> list[Row]:
    """Lay out one chunk of Markdown.

    Args:
        source: its Markdown.
        width: columns, gutter included.
        gutter: stands before every row and is not copied.
        number: what to show as the number of the list item that the chunk is.
        references: link definitions of the whole message; those in the chunk are added.
        head: the first part of the table that the chunk goes on with.
    """
    environment: dict[str, Any] = {"references": references if references is not None else {}}
    tokens = _parser().parse(_readable(source), environment)
    renderer = _Renderer(width, number, head)
    margin: tuple[Run, ...] = ((gutter, ""),) if gutter else ()
    renderer.blocks(tokens, _Prefix(margin, margin, len(gutter)), depth=0)
    return renderer.rows


class _Renderer:
    def __init__(self, width: int, number: int | None, head: str) -> None:
        self.width = width
        self.number = number
        self.head = head
        self.rows: list[Row] = []

    def blocks(self, tokens: Sequence[Token], prefix: _Prefix, depth: int) -> None:
        """Lay out sibling blocks, with a blank row between them unless the list around them is tight."""
        index = 0
        begun = False
        while index < len(tokens):
            token = tokens[index]
            end = _end(tokens, index)
            tight = token.hidden or (depth > 0 and token.type.endswith("list_open") and _is_tight(tokens[index:end]))
            if begun and not tight:
                self.blank(prefix)
            self.block(token, tokens[index + 1 : end], prefix, depth)
            prefix, begun = prefix.after_first(), True
            index = end + 1

    def nested(self, prefix: _Prefix, first: Run, rest: Run | None = None) -> _Prefix:
        """A deeper prefix, unless that would leave hardly any room."""
        taken = sum(width_of(text) for text, _ in prefix.rest) + width_of(first[0])
        return prefix if prefix.rest and taken > self.width // 2 else prefix.add(first, rest)

    def blank(self, prefix: _Prefix) -> None:
        chars = sum(len(text) for text, _ in prefix.rest)
        self.rows.append(Row(prefix.rest, sum(width_of(text) for text, _ in prefix.rest), pad=chars))

    def block(self, token: Token, inner: Sequence[Token], prefix: _Prefix, depth: int) -> None:
        match token.type:
            case "paragraph_open":
                self.inline(inner[0], prefix)
            case "heading_open":
                self.inline(inner[0], prefix, f"heading h{token.tag[1]}")
            case "bullet_list_open" | "ordered_list_open":
                self.items(token, inner, prefix, depth)
            case "blockquote_open":
                bar = ("▌ ", "quote-bar")
                self.blocks(inner, self.nested(prefix, bar, bar), depth)
            case "fence" | "code_block":
                for line in coloured_lines(token.content.removesuffix("\n"), token.info.split(" ")[0]):
                    self.flow(line, prefix)
                    prefix = prefix.after_first()
            case "math_block":
                for line in math_lines(token.content, token.markup):
                    self.flow(line, prefix)
                    prefix = prefix.after_first()
            case "hr":
                columns = self.width - sum(width_of(text) for text, _ in prefix.first)
                self.flow([("─" * max(columns, 1), "rule")], prefix)
            case "table_open":
                self.table(inner, prefix)
            case _ if token.content:
                self.flow([(token.content.replace("\n", " "), "")], prefix)
            case _:
                pass

    def items(self, opened: Token, tokens: Sequence[Token], prefix: _Prefix, depth: int) -> None:
        number = None
        if opened.type == "ordered_list_open":
            start = opened.attrGet("start")
            number = int(start) if start is not None else 1
            if depth == 0 and self.number is not None:
                number = self.number
        loose = not _is_tight([opened, *tokens])
        index = 0
        while index < len(tokens):
            end = _end(tokens, index)
            if index and loose:
                self.blank(prefix)
            if number is None:
                marker = _task(tokens[index + 1 : end]) or f"{BULLETS[min(depth, len(BULLETS) - 1)]} "
            else:
                marker = f"{number}. "
                number += 1
            inner = tokens[index + 1 : end]
            inside = self.nested(prefix, (marker, "bullet"))
            if inner:
                self.blocks(inner, inside, depth + 1)
            else:
                self.flow([], inside)
            prefix = prefix.after_first()
            index = end + 1

    def table(self, tokens: Sequence[Token], prefix: _Prefix) -> None:
        columns = self.width - sum(width_of(text) for text, _ in prefix.first)
        head = table_cells(_parser().parse(_readable(self.head))) if self.head else None
        for runs in table_rows(table_cells(tokens), columns, head):
            cells = sum(width_of(text) for text, _ in (*prefix.first, *runs))
            self.rows.append(Row((*prefix.first, *runs), cells, pad=prefix.gutter))
            prefix = prefix.after_first()

    def inline(self, token: Token, prefix: _Prefix, style: str = "") -> None:
        for line in inline_lines(token, style):
            self.flow(line, prefix)
            prefix = prefix.after_first()

    def flow(self, runs: Sequence[Run], prefix: _Prefix) -> None:
        self.rows += flow(runs, self.width, first=prefix.first, rest=prefix.rest, gutter=prefix.gutter)


def _end(tokens: Sequence[Token], index: int) -> int:
    """Where the block that starts here closes; itself when it is one token."""
    if tokens[index].nesting != 1:
        return index
    level = tokens[index].level
    return next(at for at in range(index + 1, len(tokens)) if tokens[at].nesting == -1 and tokens[at].level == level)


def _is_tight(tokens: Sequence[Token]) -> bool:
    level = tokens[0].level + 2
    return all(token.hidden for token in tokens if token.type == "paragraph_open" and token.level == level)


def _task(item: Sequence[Token]) -> str:
    """The box of a task list's item, whose source is taken away; "" for any other item."""
    inline = item[1] if len(item) > 1 and item[1].type == "inline" else None
    text = inline.children[0] if inline is not None and inline.children else None
    found = _TASK.match(text.content) if text is not None and text.type == "text" else None
    if text is None or found is None:
        return ""
    text.content = text.content[found.end() :]
    return "☐ " if found[1] == " " else "☑ "


def inline_lines(token: Token, style: str = "", *, breaks: bool = False) -> list[list[Run]]:
    """The styled text of an inline token, cut at hard line breaks.

    Args:
        token: of the type ``inline``.
        style: of all of it.
        breaks: an HTML line break is one, as in the cells of tables, where Markdown has no other.
    """
    lines: list[list[Run]] = [[]]
    styles = [style] if style else []
    for child in token.children or ():
        now = " ".join(styles)
        match child.type:
            case "text":
                content = _readable(child.content).replace("\n", " ")  # an entity may be any character
                for number, text in enumerate(_BREAK.split(content) if breaks else [content]):
                    if number:
                        lines.append([])
                    lines[-1] += [(text, now)] if "link" in styles else _addresses(text, now)
            case "code_inline":
                lines[-1].append((child.content, f"{now} code".strip()))
            case "math":
                _add_formula(lines, child, now)
            case "softbreak":
                lines[-1].append((" ", now))
            case "hardbreak":
                lines.append([])
            case "link_open":
                url = str(child.attrGet("href") or "")
                styles.append(_link(url) if url.startswith(LINKABLE) else "link")
            case "image":
                lines[-1].append((f"[{_readable(child.content) or 'image'}]", f"{now} em".strip()))
            case _ if child.type in _INLINE:
                styles.append(_INLINE[child.type])
            case _ if child.nesting == -1 and styles:
                styles.pop()
            case _:
                pass
    return [_join_wide([run for run in line if run[0]]) for line in lines]


def _link(url: str) -> str:
    return f"link link={url}"


def _addresses(text: str, style: str) -> list[Run]:
    """Text whose bare addresses are links; punctuation at an address's end belongs to the sentence."""
    runs: list[Run] = []
    position = 0
    for found in _ADDRESS.finditer(text) if "://" in text else ():
        url = found[0].rstrip(".,;:!?*_")
        while url.endswith(")") and url.count("(") < url.count(")"):
            url = url[:-1].rstrip(".,;:!?")
        runs += [(text[position : found.start()], style), (url, f"{style} {_link(url)}".strip())]
        position = found.start() + len(url)
    return [*runs, (text[position:], style)]


def _add_formula(lines: list[list[Run]], token: Token, style: str) -> None:
    """A formula in the line, or, displayed, on lines of its own."""
    drawn = [
        [(text, f"{style} {name}".strip()) for text, name in line] for line in math_lines(token.content, token.markup)
    ]
    if len(drawn) > 1:
        lines += [*drawn, []]
    else:
        lines[-1] += [run for line in drawn for run in line]


def _join_wide(line: list[Run]) -> list[Run]:
    """Without the space that a line break of the source put between two wide characters."""
    return [
        run
        for index, run in enumerate(line)
        if not (
            run[0] == " "
            and 0 < index < len(line) - 1
            and width_of(line[index - 1][0][-1]) == 2
            and width_of(line[index + 1][0][0]) == 2
        )
    ]


def table_cells(tokens: Sequence[Token]) -> list[list[Cell]]:
    """The cells of a table's rows, the head first."""
    rows: list[list[Cell]] = []
    head, align = False, ""
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            head = token.type == "th_open"
            align = str(token.attrGet("style") or "").removeprefix("text-align:")
        elif token.type == "inline" and rows:
            rows[-1].append(Cell(inline_lines(token, "strong" if head else "", breaks=True), align))
    return rows
