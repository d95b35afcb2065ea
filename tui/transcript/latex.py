"""LaTeX formulas to Unicode text; what has no readable form there gives None, and its source is shown."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib import import_module
from typing import Any
from unicodedata import normalize

from qianda.tui.transcript.rows import width_of

_SUPER = str.maketrans(
    "0123456789+-−=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVWαβγδεθφχ′∘⊤*",
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂᵅᵝᵞᵟᵋᶿᵠᵡ′°ᵀ*",
)
_SUB = str.maketrans("0123456789+-−=()aehijklmnoprstuvxβγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵦᵧᵨᵩᵪ")
_ARGUMENTS = {
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac", "binom", "dbinom", "overset", "underset", "stackrel"), 2),
    **dict.fromkeys(("textcolor", "color"), 2),
    **dict.fromkeys(("sqrt", "boxed", "tag", "operatorname", "xrightarrow", "xleftarrow", "pmod", "not"), 1),
    **dict.fromkeys(("text", "mathrm", "mathbf", "mathit", "mathsf", "mathtt", "boldsymbol", "bm", "textbf"), 1),
    **dict.fromkeys(("mathop", "mathbin", "mathrel", "underbrace", "overbrace", "underline", "mbox", "textit"), 1),
    **dict.fromkeys(("hat", "bar", "vec", "dot", "ddot", "tilde", "widehat", "widetilde", "overline"), 1),
    **dict.fromkeys(("overrightarrow", "mathbb", "mathcal", "mathscr", "mathfrak", "substack", "phantom"), 1),
}
_ACCENTS = {
    "hat": "\u0302",
    "widehat": "\u0302",
    "bar": "\u0304",
    "overline": "\u0305",
    "vec": "\u20d7",
    "overrightarrow": "\u20d7",
    "dot": "\u0307",
    "ddot": "\u0308",
    "tilde": "\u0303",
    "widetilde": "\u0303",
}
_SILENT = {
    *("left", "right", "middle", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "limits", "nolimits"),
    *("displaystyle", "textstyle", "scriptstyle", "nonumber", "notag", "hline", "!"),
}
_PLAIN = {
    **dict.fromkeys((",", ":", ";", " ", "~", "\n", "thinspace"), " "),
    "quad": "  ",
    "qquad": "   ",
    "\\": "; ",
    "|": "‖",
    "ne": "≠",
    "dots": "…",
    **dict(zip(("neg", "land", "lor", "implies", "iff", "models", "bot", "degree"), "¬∧∨⟹⟺⊨⊥°", strict=True)),
    **dict(zip(("coloneqq", "triangle", "checkmark"), "≔△✓", strict=True)),
    **{word: f"{word} " for word in ("arg", "argmax", "argmin", "det", "dim", "ker", "cot", "gcd", "Pr", "Re", "Im")},
    **{word: f" {word} " for word in ("mod", "bmod", "deg")},
}
_FENCES = {
    "pmatrix": ("⎛⎜⎝", "⎞⎟⎠"),
    "bmatrix": ("⎡⎢⎣", "⎤⎥⎦"),
    "Bmatrix": ("⎧⎨⎩", "⎫⎬⎭"),
    "vmatrix": ("│││", "│││"),
    "Vmatrix": ("‖‖‖", "‖‖‖"),
    "cases": ("⎧⎨⎩", ""),
    "matrix": ("", ""),
    "array": ("", ""),
    "smallmatrix": ("", ""),
}
_ROWS = {"equation", "align", "aligned", "alignat", "gather", "gathered", "split", "multline", "eqnarray"}
_RELATION = re.compile(r" *([=<>≤≥≈≡≠∼≃≅∈∉⊂⊆⊃⊇→←↔⇒⇐⇔↦∝⟹⟺⟶]) *")
_TERM = re.compile(r"[^\s+\-−/=,·×]+|\([^()]*\)")
_ATOM = re.compile(r"\d+|√?[^\W\d]\w{0,2}|√?\w?\([^()]*\)")
"""What needs no parentheses over a slash, and under one."""


class _NoForm(Exception):
    """There is no readable text for it."""


@lru_cache(maxsize=512)
def formula(source: str, *, display: bool = False) -> tuple[str, ...] | None:
    """A formula as lines of text.

    Args:
        source: LaTeX, without its delimiters.
        display: it stands alone and may take several lines.

    Returns:
        One line, or several where it is displayed; None when its source reads better.
    """
    walker: Any = import_module("pylatexenc.latexwalker")  # it has no types
    try:
        nodes = walker.LatexWalker(source, tolerant_parsing=False).get_latex_nodes()[0]
        lines = _lines(_items(nodes)) if display else [_text(_items(nodes))]
    except (walker.LatexWalkerParseError, _NoForm, RecursionError):
        return None
    lines = [line.rstrip() for line in lines if line.strip()]
    return tuple(lines) or None


@cache
def _symbols() -> Any:
    module: Any = import_module("pylatexenc.latex2text")
    return module.LatexNodes2Text(math_mode="text", strict_latex_spaces=False)


def _items(nodes: Any) -> list[Any]:
    """The nodes, with characters one by one."""
    items: list[Any] = []
    for node in nodes or ():
        kind = type(node).__name__
        if kind == "LatexCharsNode":
            items += node.chars
        elif kind == "LatexMathNode":
            items += _items(node.nodelist)
        elif kind != "LatexCommentNode":
            items.append(node)
    return items


def _text(items: list[Any]) -> str:
    """One line of text."""
    out = ""
    rest = list(items)
    while rest:
        item = rest.pop(0)
        if not isinstance(item, str):
            out += _node(item, rest)
        elif item in "^_":
            out = out.rstrip() + _script(_argument(rest), raised=item == "^")
        else:
            out += "′" if item == "'" else item
    return re.sub(r" {3,}", "  ", _RELATION.sub(r" \1 ", re.sub(r"\s", " ", out))).strip()


def _argument(rest: list[Any]) -> str:
    """What the next item says, taken as an argument."""
    while rest and isinstance(rest[0], str) and rest[0].isspace():
        del rest[0]
    if not rest:
        raise _NoForm
    item = rest.pop(0)
    return item if isinstance(item, str) else _node(item, rest).strip()


def _node(node: Any, rest: list[Any]) -> str:
    """A node's text; a macro that pylatexenc gives no arguments takes them from the rest."""
    match type(node).__name__:
        case "LatexGroupNode":
            return _text(_items(node.nodelist))
        case "LatexSpecialsNode":
            return {"''": "″", "~": " ", "&": " "}.get(node.specials_chars) or _symbol(node)
        case "LatexEnvironmentNode":
            return _inline_environment(node)
        case _:
            return _macro(node, rest)


def _macro(node: Any, rest: list[Any]) -> str:
    name: str = node.macroname
    if name in _SILENT:
        if name in ("left", "right", "middle") and rest and isinstance(rest[0], str) and rest[0] == ".":
            del rest[0]
        return ""
    if name in _PLAIN:
        return _PLAIN[name]
    if (count := _ARGUMENTS.get(name)) is None:
        text = _symbol(node)
        word = len(text) > 1 and text == name
    else:
        given = [_text(_items([argument])) for argument in getattr(node.nodeargd, "argnlist", None) or () if argument]
        while len(given) < count:
            given.append(_argument(rest))
        text, word = _with_arguments(name, given), name == "operatorname"
    opens = bool(rest) and (rest[0] == "(" if isinstance(rest[0], str) else getattr(rest[0], "macroname", "") == "left")
    return f"{text} " if node.macro_post_space or (word and not opens) else text


def _with_arguments(name: str, given: list[str]) -> str:
    first, last = given[0], given[-1]
    match name:
        case "frac" | "dfrac" | "tfrac" | "cfrac":
            return (
                f"{first if _TERM.fullmatch(first) else f'({first})'}/{last if _ATOM.fullmatch(last) else f'({last})'}"
            )
        case "binom" | "dbinom":
            return f"C({first}, {last})"
        case "sqrt":
            root = _script(first, raised=True) if len(given) == 2 else ""
            return f"{root if root.isalpha() or len(root) == 1 else ''}√{last if len(last) == 1 else f'({last})'}"
        case "boxed":
            return f"[ {first} ]"
        case "tag":
            return f"  ({first})"
        case "xrightarrow" | "xleftarrow":
            return f" ─{last}→ " if name == "xrightarrow" else f" ←{last}─ "
        case "overset" | "stackrel":
            return last + _script(first, raised=True)
        case "underset":
            return last + _script(first, raised=False)
        case "pmod":
            return f"(mod {first})"
        case "not":
            return "≠" if first == "=" else f"{first}\u0338"
        case "color" | "textcolor":
            return last
        case "mathbb" | "mathcal" | "mathscr" | "mathfrak":
            return _alphabet(name, first)
        case _ if name in _ACCENTS:
            return normalize("NFC", "".join(letter + _ACCENTS[name] for letter in first)) if len(first) <= 2 else first
        case _:
            return first


def _alphabet(name: str, letters: str) -> str:
    style = {"mathbb": "mathbb", "mathcal": "mathcal", "mathscr": "mathcal", "mathfrak": "mathfrak"}[name]
    return "".join(
        _symbols().latex_to_text(f"\\{style}{{{letter}}}") if letter.isalnum() else letter for letter in letters
    )


def _symbol(node: Any) -> str:
    """A macro without arguments, such as a Greek letter."""
    text: str = _symbols().nodelist_to_text([node]).strip()
    if not text:
        raise _NoForm
    return text


def _script(text: str, *, raised: bool) -> str:
    """A superscript or subscript, small where Unicode has all of its characters."""
    text = text.replace(" ", "")
    small = text.translate(_SUPER if raised else _SUB)
    if text and all(before != after or before in "′*" for before, after in zip(text, small, strict=True)):
        return small
    mark = "^" if raised else "_"
    return f"{mark}{text}" if len(text) == 1 else f"{mark}({text})"


def _cells(node: Any) -> list[list[str]]:
    """The rows of an environment, cut at its columns."""
    rows: list[list[list[Any]]] = [[[]]]
    for item in _items(node.nodelist):
        if getattr(item, "macroname", "") in ("\\", "cr"):
            rows.append([[]])
        elif getattr(item, "specials_chars", "") == "&":
            rows[-1].append([])
        else:
            rows[-1][-1].append(item)
    drawn = [[_text(cell) for cell in row] for row in rows]
    return [row for row in drawn if any(row)]


def _inline_environment(node: Any) -> str:
    rows = _cells(node)
    if node.environmentname.rstrip("*") in _ROWS:
        return "; ".join(" ".join(filter(None, row)) for row in rows)
    if node.environmentname not in _FENCES:
        raise _NoForm
    inner = "; ".join((", " if node.environmentname == "cases" else " ").join(row) for row in rows)
    return f"{{ {inner}" if node.environmentname == "cases" else f"[{inner}]"


def _lines(items: list[Any]) -> list[str]:
    """A displayed formula: a line for each of its rows, a matrix or distinction of cases drawn whole."""
    place = next((at for at, item in enumerate(items) if type(item).__name__ == "LatexEnvironmentNode"), None)
    if place is None:
        lines: list[list[Any]] = [[]]
        for item in items:
            if getattr(item, "macroname", "") in ("\\", "cr"):
                lines.append([])
            else:
                lines[-1].append(item)
        return [_text(line) for line in lines]
    node = items[place]
    before, after = _text(items[:place]), _text(items[place + 1 :])
    drawn = _drawn(node)
    middle = (len(drawn) - 1) // 2
    before = f"{before} " if before else ""
    return [
        (before if at == middle else " " * len(before)) + line + (f" {after}" if after and at == middle else "")
        for at, line in enumerate(drawn)
    ]


def _drawn(node: Any) -> list[str]:
    """An environment as lines."""
    name = node.environmentname.rstrip("*")
    rows = _cells(node)
    if name in _ROWS:
        left = max((width_of(row[0]) for row in rows if len(row) > 1), default=0)
        return [" ".join([" " * (left - width_of(row[0])) + row[0], *filter(None, row[1:])]) for row in rows]
    if name not in _FENCES:
        raise _NoForm
    columns = range(max(map(len, rows), default=0))
    widths = [max(width_of(row[at]) if at < len(row) else 0 for row in rows) for at in columns]
    left, right = _FENCES[name]
    drawn: list[str] = []
    for at, row in enumerate(rows):
        cells = [_pad(row[column] if column < len(row) else "", widths[column]) for column in columns]
        drawn.append(_fence(left, at, len(rows)) + "  ".join(cells) + _fence(right, at, len(rows)))
    return drawn


def _pad(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))


def _fence(pieces: str, at: int, count: int) -> str:
    """The piece of a tall bracket that belongs to a row."""
    if not pieces:
        return ""
    if count == 1:
        return {"⎛": "(", "⎞": ")", "⎡": "[", "⎤": "]", "⎧": "{", "⎫": "}"}.get(pieces[0], pieces[0])
    piece = pieces[0] if at == 0 else pieces[2] if at == count - 1 else pieces[1]
    if pieces == "⎧⎨⎩" and 0 < at < count - 1 and at != (count - 1) // 2:
        piece = "⎪"
    return f"{piece} " if pieces == "⎧⎨⎩" else piece
