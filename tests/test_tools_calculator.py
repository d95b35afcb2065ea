"""The calculator: what people and models write, exact results, and nothing that runs away."""

from __future__ import annotations

import contextlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.models.errors import ToolError
from qianda.tools import Context, calculator
from qianda.tools.builtin.calculator import evaluate


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("23*17", "391"),
        ("391.0", "391"),
        ("0.1+0.2", "0.3"),
        ("0.1+0.2-0.3", "0"),
        ("19.99*3", "59.97"),
        ("2*(3+4)", "14"),
        ("2^10", "1024"),
        ("2**3**2", "512"),
        ("-2**2", "-4"),
        ("2**-1", "0.5"),
        ("3×4÷2", "6"),
        ("3 x 4", "12"),
        ("23x17", "391"),
        ("1,234,567*2", "2469134"),
        ("1_000*2", "2000"),
        ("7/2", "3.5"),
        ("7//2", "3"),
        ("-7//2", "-4"),
        ("10%3", "1"),
        ("10 % 3", "1"),
        ("17 % 5 * 2", "4"),
        ("15%", "0.15"),
        ("200*15%", "30"),
        ("15% of 200", "30"),
        ("200 + 10%", "220"),
        ("100-20%", "80"),
        ("5% + 3%", "0.08"),
        ("100*(1+5%)", "105"),
        ("1/3", "0.333333333333333"),
        ("2/3*3", "2"),
        ("100/3*3", "100"),
        ("sqrt(16)", "4"),
        ("√16", "4"),
        ("math.sqrt(2)**2", "2"),
        ("8**(1/3)", "2"),
        ("sin(pi)", "0"),
        ("cos(0)", "1"),
        ("log(1000, 10)", "3"),
        ("ln(e)", "1"),
        ("exp(0)", "1"),
        ("abs(-3)", "3"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(2.675, 2)", "2.68"),
        ("min(4, 3)+max(1,234)", "237"),
        ("2pi", "6.28318530717959"),
        ("2(3+4)", "14"),
        ("（２３＋１７）×２", "80"),
        ("5²", "25"),
        ("2+2=", "4"),
        ("1e3", "1000"),
        ("1e-10", "1e-10"),
        ("2**100", "1267650600228229401496703205376"),
        ("1**99999999999999999999", "1"),
        ("(-1)**1000001", "-1"),
        ("0**0", "1"),
    ],
)
def test_arithmetic(expression: str, expected: str) -> None:
    assert evaluate(expression) == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("", "at its end"),
        ("2+", "at its end"),
        ("2 3", 'at "3"'),
        ("(2", "at its end"),
        ("2)", r'at "\)"'),
        ("3,14", "decimals are written with a point"),
        ("1/0", "divides by zero"),
        ("5%0", "divides by zero"),
        ("0**-1", "divides by zero"),
        ("9**9**9**9", "too large"),
        ("(2**9999)**9999", "too large"),
        ("10**10000", "too large"),
        ("1e999999999", "too large"),
        ("exp(10000)", "too large"),
        ("2.0**0.5**-99999", "too large"),
        ("(-8)**0.5", "not a real number"),
        ("sqrt(-1)", "sqrt of -1 is not a real number"),
        ("log(0)", "not a real number"),
        ("sqrt(1,2)", "takes 1 number, not 2"),
        ("sin 3", r"sin\(…\)"),
        ("foo(2)", '"foo" is not known'),
        ("__import__('os').system('ls')", "is not known"),
        ("().__class__", "cannot read"),
        ("(" * 450 + "1" + ")" * 450, "nested too deeply"),
        ("1+" * 600 + "1", "more than 1000"),
    ],
)
def test_what_cannot_be_computed_is_told(expression: str, message: str) -> None:
    with pytest.raises(ToolError, match=message) as caught:
        evaluate(expression)
    assert "\n" not in str(caught.value)


WHOLE = st.recursive(
    st.integers(0, 999).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "//", " % "]), inner).map(
        "({0[0]}{0[1]}{0[2]})".format
    ),
    max_leaves=20,
)


@given(WHOLE)
def test_whole_numbers_as_python_computes_them(expression: str) -> None:
    try:
        expected = str(eval(expression))
    except ZeroDivisionError:
        with pytest.raises(ToolError, match="divides by zero"):
            evaluate(expression)
    else:
        assert evaluate(expression) == expected


@given(st.decimals(-(10**6), 10**6, places=3), st.decimals(-(10**6), 10**6, places=3))
def test_decimals_are_exact(first: object, second: object) -> None:
    assert Fraction(evaluate(f"({first})+({second})")) == Fraction(str(first)) + Fraction(str(second))


@given(st.text(alphabet="0123456789.,%*/+-()^eEpisqrtlogmax ×²_=\n千", max_size=40))
def test_any_text_gives_a_number_or_a_sentence(expression: str) -> None:
    with contextlib.suppress(ToolError):
        assert evaluate(expression)


async def test_as_a_tool() -> None:
    arguments = calculator.read_arguments('{"expression": "23*17"}')
    assert (await calculator.call(arguments, Context())).content == "391"
