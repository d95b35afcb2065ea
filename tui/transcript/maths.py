r"""Formulas in Markdown: where one begins and ends, and its rows.

``$…$``, ``$$…$$``, ``\(…\)``, ``\[…\]`` and environments such as ``align``. Dollars are money unless what is between
them looks like a formula.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qianda.tui.transcript.rows import Run, visible

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

_ENVIRONMENTS = "equation|align|aligned|gather|gathered|multline|cases|[pbBvV]?matrix"
_OPENS = re.compile(rf"^ *(\$\$|\\\[|\\begin\{{({_ENVIRONMENTS})(\*?)\}})")
# A formula has a sign of one, or is a short name or number: "$5 and 6$" has not, and is not.
_FORMULA = re.compile(r".*[\\^_=+<>{}|/*].*|-?[\w(),.'!]{1,12}", re.DOTALL)
_WORDS = re.compile(r"(?:^|\s)[a-zA-Z]{2,} [a-zA-Z]{2,}(?:\s|$)")


def math_end(line: str) -> str | None:
    """What ends the displayed formula that this line opens; None when it opens none, or ends it itself."""
    found = _OPENS.match(line)
    if found is None:
        return None
    end = {"$$": "$$", "\\[": "\\]"}.get(found[1], f"\\end{{{found[2]}{found[3]}}}")
    return None if end in line[found.end() :] else end


def with_maths(parser: MarkdownIt) -> None:
    """Teach the parser formulas: tokens ``math`` (in a line) and ``math_block``, with the delimiter as markup."""
    parser.inline.ruler.before("escape", "math", _inline)
    parser.block.ruler.before("fence", "math_block", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})


def math_lines(source: str, markup: str) -> list[list[Run]]:
    """The rows of a formula; several only for a displayed one."""
    from qianda.tui.transcript.latex import formula

    lines = formula(source.strip(), display=markup not in ("$", "\\("))
    if lines is not None:
        return [[(visible(line), "math")] for line in lines]
    close = {"\\(": "\\)", "\\[": "\\]", "": ""}.get(markup, markup)
    return [[(line, "math")] for line in f"{markup}{source}{close}".split("\n") if line.strip()]


def _inline(state: StateInline, silent: bool) -> bool:
    start, text = state.pos, state.src
    markup = text[start : start + 2]
    if markup not in ("$$", "\\(", "\\["):
        markup = "$"
    if not text.startswith(markup, start):
        return False
    close = {"\\(": "\\)", "\\[": "\\]"}.get(markup, markup)
    inner = start + len(markup)
    end = text.find(close, inner)
    while end > 0 and text[end - 1] == "\\" and close[0] == "$":
        end = text.find(close, end + 1)
    source = text[inner:end]
    if end < 0 or not source.strip() or (markup == "$" and not _is_formula(text, start, end)):
        return False
    if not silent:
        token = state.push("math", "math", 0)
        token.content, token.markup = source, markup
    state.pos = end + len(close)
    return True


def _is_formula(text: str, start: int, end: int) -> bool:
    source = text[start + 1 : end]
    beside = text[start - 1 : start] + text[end + 1 : end + 2]
    return (
        source == source.strip()
        and "\n" not in source
        and not (beside.isascii() and any(letter.isalnum() or letter == "$" for letter in beside))
        and _FORMULA.fullmatch(source) is not None
        and not ("\\" not in source and _WORDS.search(source))
    )


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    close = math_end(first)
    if close is None or state.is_code_block(start):
        return False
    lines = [first]
    for at in range(start + 1, end):
        if state.isEmpty(at) or state.sCount[at] < state.blkIndent:
            return False
        lines.append(state.getLines(at, at + 1, state.blkIndent, False).rstrip("\n"))
        if close in lines[-1]:
            break
    source, _, after = "\n".join(lines).rpartition(close)
    if not source or after.strip(" .,;"):
        return False
    if not silent:
        token = state.push("math_block", "math", 0)
        token.markup = close if close == "$$" else "\\[" if close == "\\]" else ""
        token.content = source.removeprefix(token.markup) if token.markup else source + close
        token.map = [start, start + len(lines)]
        state.line = start + len(lines)
    return True
