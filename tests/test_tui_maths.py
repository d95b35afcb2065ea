"""Formulas in the transcript: readable text where there is one, money left alone, the source where there is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qianda.tui.transcript.answer import AnswerStream, answer_blocks
from qianda.tui.transcript.latex import formula
from qianda.tui.transcript.splitter import Splitter


def drawn(source: str, width: int = 60) -> list[str]:
    return [row.text.rstrip()[2:] for block in answer_blocks(source) for row in block.layout(width)][1:]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"E = mc^2", "E = mc²"),
        (r"x_i^{n+1} \leq \frac{1}{2}", "xᵢⁿ⁺¹ ≤ 1/2"),
        (r"\frac{-b \pm \sqrt{b^2-4ac}}{2a}", "(-b ± √(b²-4ac))/(2a)"),
        (r"\sum_{i=1}^{n} i", "∑ᵢ₌₁ⁿ i"),
        (r"\lim_{x \to 0} \frac{\sin x}{x} = 1", "lim_(x → 0) (sin x)/x = 1"),
        (r"\alpha \in \mathbb{R} \implies \neg\exists y", "α ∈ ℝ ⟹ ¬∃ y"),
        (r"\hat{y} = \mathbf{W}^\top x + \vec{b}", "ŷ = Wᵀx + b⃗"),
        (r"\left( \frac{a}{b} \right)", "( a/b )"),
        (r"\text{if } x \neq 0", "if x ≠ 0"),
        (r"90^\circ, 50\%, f'(x), \|v\|_2, \{1\}", "90°, 50%, f′(x), ‖v‖₂, {1}"),
        (r"\boxed{42}", "[ 42 ]"),
        (r"\sqrt[3]{x} \cdot \binom{n}{k}", "³√x · C(n, k)"),
        (r"\operatorname{softmax}(x) + \log_2 n", "softmax(x) + log₂ n"),
        (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", "[a b; c d]"),
    ],
)
def test_formulas_are_text(source: str, text: str) -> None:
    assert formula(source) == (text,)


@pytest.mark.parametrize(
    "source", [r"\frac{a", r"\unknown{x} y", r"x^", r"\begin{tikzpicture} x \end{tikzpicture}", ""]
)
def test_what_has_no_form_keeps_its_source(source: str) -> None:
    assert formula(source) is None


def test_displayed_formulas_take_lines() -> None:
    assert formula(r"A = \begin{bmatrix} 1 & 20 \\ 3 & 4 \\ 5 & 6 \end{bmatrix}", display=True) == (
        "    ⎡1  20⎤",
        "A = ⎢3  4 ⎥",
        "    ⎣5  6 ⎦",
    )
    assert formula(r"|x| = \begin{cases} x & x \ge 0 \\ -x & \text{else} \end{cases}", display=True) == (
        "|x| = ⎧ x   x ≥ 0",
        "      ⎩ -x  else",
    )
    assert formula(r"\begin{align} a &= b \\ &= c \end{align}", display=True) == ("a = b", "  = c")


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("so $x^2$ and \\(y_1\\).", ["so x² and y₁."]),
        ("$n$, $2n$ and $f(x)$", ["n, 2n and f(x)"]),
        ("it costs $5 and $6", ["it costs $5 and $6"]),
        ("from $5 to 10$, $5-$6, US$5 or A$6", ["from $5 to 10$, $5-$6, US$5 or A$6"]),
        ("`$x^2$` and $HOME/$PATH and \\$x^2\\$", ["$x^2$ and $HOME/$PATH and $x^2$"]),
        ("five $ is five $", ["five $ is five $"]),
        ("$a_1$ and $b_1$, not *$c$*", ["a₁ and b₁, not c"]),
        ("$\\unknown{x} * y * z$", ["$\\unknown{x} * y * z$"]),
        ("$$x^2$$", ["x²"]),
        ("$$\nx\n- y\n= z\n$$\nafter", ["x - y = z", "", "after"]),
        ("text\n\\[\nx = 1\n\\]\nafter", ["text", "", "x = 1", "", "after"]),
        ("\\begin{align}\na &= b \\\\\n&= c\n\\end{align}", ["a = b", "  = c"]),
        ("- item\n\n  $$\n  x^2\n  - 1\n  $$", ["• item", "", "  x² - 1"]),
        ("$$ never closed\n\n# Head", ["$$ never closed", "", "Head"]),
        ("| f |\n|---|\n| $x^2$ |", ["f", "──", "x²"]),
    ],
)
def test_formulas_in_markdown(source: str, rows: list[str]) -> None:
    assert drawn(source) == rows


PIECES = [
    "$$",
    "$x^2$",
    "\\[",
    "\\]",
    "a = b",
    "- b",
    "",
    "text $5",
    "\\(x_1\\)",
    "```",
    "1. one",
    "  $$",
    "\\begin{align}",
]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("\n".join), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_a_formula_in_pieces_is_the_same_formula(source: str, step: int) -> None:
    stream = AnswerStream()
    blocks = [block for at in range(0, len(source), step) for block in stream.feed(source[at : at + step])[0]]
    blocks += stream.feed("", end=True)[0]
    assert [block.layout(30) for block in blocks] == [block.layout(30) for block in answer_blocks(source)]


def test_a_formula_that_is_never_closed_swallows_nothing() -> None:
    splitter = Splitter()
    chunks = splitter.feed("$$\na\n\n# Head\n\ntext\n\n") + splitter.close()
    assert [chunk.text for chunk in chunks] == ["$$\na", "# Head", "text"]


@given(st.text(alphabet="\\{}^_$&ab12 frctxsqi[](),", max_size=40))
@settings(max_examples=300, deadline=None)
def test_no_formula_breaks_the_chat(source: str) -> None:
    for display in (False, True):
        lines = formula(source, display=display)
        assert lines is None or (all(lines) and (display or len(lines) == 1))
