"""The calculator's numbers: exact fractions as long as possible, of bounded size, shown as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Context as DecimalContext
from decimal import Decimal
from fractions import Fraction

from qianda.models.errors import ToolError

Number = Fraction | float

_MOST_BITS = 10_000  # of a numerator or denominator: about 3,000 digits
_SHOWN = DecimalContext(prec=15)  # what a float is good for
CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e, "tau": math.tau}


def literal(text: str) -> Fraction:
    """The exact value of a number as it is written; ``,`` and ``_`` may separate its digits.

    Raises:
        OverflowError: it is too large.
    """
    digits = text.replace(",", "").replace("_", "")
    exponent = re.search(r"[eE]([+-]?\d+)$", digits)
    if exponent is not None and (len(exponent[1]) > 5 or abs(int(exponent[1])) > _MOST_BITS // 4):
        raise OverflowError
    return Fraction(digits)


def bounded(value: Number) -> Number:
    """The value, if it has a size that can be computed with.

    Raises:
        OverflowError: it has not.
    """
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
            raise OverflowError
    elif not math.isfinite(value):
        raise OverflowError
    return value


def power(base: Number, exponent: Number) -> Number:
    """``base ** exponent``, exact where it can be.

    Raises:
        OverflowError: it is too large; found out before it is computed.
        ToolError: it is not a real number.
    """
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits > 1 and bits * abs(exponent.numerator) > _MOST_BITS:
            raise OverflowError
        return bounded(Fraction(base ** (exponent.numerator if bits > 1 else _parity(exponent.numerator))))
    if base < 0 and Fraction(exponent).denominator != 1:
        raise ToolError(f"{show(base)} ** {show(exponent)} is not a real number")
    return bounded(float(base) ** float(exponent))


def _parity(exponent: int) -> int:
    """A small exponent with the same effect on -1, 0 and 1."""
    return (2 if exponent > 0 else -2) + exponent % 2 if exponent else 0


def sqrt(value: Number) -> Number:
    """The square root, exact for squares; ``ValueError`` below 0."""
    if isinstance(value, Fraction) and value >= 0:
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if (top * top, bottom * bottom) == (value.numerator, value.denominator):
            return Fraction(top, bottom)
    return math.sqrt(value)


def _log(value: Number, base: Number | None = None) -> float:
    number = value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value
    return math.log(number) if base is None else math.log(number, base)


def _round(value: Number, digits: Number = Fraction(0)) -> Fraction:
    """Round halves away from zero, as at school."""
    if Fraction(digits).denominator != 1 or abs(digits) > 100:
        raise ValueError
    scale = Fraction(10) ** int(digits)
    exact = value if isinstance(value, Fraction) else Fraction(repr(value))
    return Fraction(math.floor(abs(exact) * scale + Fraction(1, 2))) / scale * (-1 if exact < 0 else 1)


def _clean(function: Callable[[float], float]) -> Callable[..., Number]:
    """A function of floats whose last, wrong digits are dropped, so that sin(pi) is 0."""

    def rounded(value: Number) -> float:
        return round(function(float(value)), 15)

    return rounded


def _log10(value: Number) -> float:
    return _log(value, Fraction(10))


def _log2(value: Number) -> float:
    return _log(value, Fraction(2))


def _absolute(value: Number) -> Number:
    return abs(value)


def _floor(value: Number) -> Fraction:
    return Fraction(math.floor(value))


def _ceil(value: Number) -> Fraction:
    return Fraction(math.ceil(value))


def _least(*values: Number) -> Number:
    return min(values)


def _greatest(*values: Number) -> Number:
    return max(values)


FUNCTIONS: dict[str, tuple[Callable[..., Number], int, int]] = {
    "sqrt": (sqrt, 1, 1),
    "sin": (_clean(math.sin), 1, 1),
    "cos": (_clean(math.cos), 1, 1),
    "tan": (_clean(math.tan), 1, 1),
    "asin": (_clean(math.asin), 1, 1),
    "acos": (_clean(math.acos), 1, 1),
    "atan": (_clean(math.atan), 1, 1),
    "log": (_log, 1, 2),
    "ln": (_log, 1, 1),
    "log10": (_log10, 1, 1),
    "log2": (_log2, 1, 1),
    "exp": (math.exp, 1, 1),
    "pow": (power, 2, 2),
    "abs": (_absolute, 1, 1),
    "round": (_round, 1, 2),
    "floor": (_floor, 1, 1),
    "ceil": (_ceil, 1, 1),
    "min": (_least, 1, 100),
    "max": (_greatest, 1, 100),
}


def show(value: Number) -> str:
    """A number as people write it: whole, exact decimals, else 15 digits."""
    if isinstance(value, float):
        number = _SHOWN.create_decimal(repr(value))
    elif value.denominator == 1:
        return str(value.numerator)
    else:
        number = DecimalContext(prec=20).divide(Decimal(value.numerator), Decimal(value.denominator))
        if Fraction(number) != value:
            number = _SHOWN.divide(Decimal(value.numerator), Decimal(value.denominator))
    if not number:
        return "0"
    number = number.normalize(DecimalContext(prec=40))
    return format(number, "f") if -8 < number.adjusted() < 21 else str(number).replace("E", "e")
