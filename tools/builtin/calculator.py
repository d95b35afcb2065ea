"""The built-in tool ``calculator``: arithmetic as people write it, computed exactly where that is possible."""

from __future__ import annotations

import re
from fractions import Fraction

from qianda.models.errors import ToolError
from qianda.tools.builtin.arithmetic import CONSTANTS, FUNCTIONS, Number, bounded, literal, power, show, sqrt
from qianda.tools.function_tool import tool

_LONGEST = 1_000  # characters of an expression
_CHARACTERS = {full: full - 0xFEE0 for full in range(0xFF01, 0xFF5F)} | str.maketrans(
    {
        "×": "*", "·": "*", "•": "*", "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "−": "-", "–": "-", "—": "-", "^": "**",
        "²": "**2", "³": "**3", "√": "sqrt ", "π": "pi", "【": "(", "】": ")", "\u00a0": " ", "\u3000": " ",
    }
)  # fmt: skip
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d|,\d)|\d[\d_]*)(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<name>(?:math\.)?[^\W\d]\w*)|(?P<sign>\*\*|//|[-+*/%(),]))"
)
# A % that is glued to its number and not to what follows is a percentage; "10 % 3" and "10%3" are remainders.
_PERCENT = re.compile(r"%(?=\s*(?:$|[)*/,]|of\b)|(?:\s*[-+](?:\s|$)))|(?<=\d)%(?=\s*[-+])")
_HELP = "numbers, + - * / // % **, parentheses, pi, e and functions such as sqrt, sin, log, exp, abs, round, min, max"


@tool(read_only=True, consent=False, origin="built-in")
def calculator(expression: str) -> str:
    """Evaluate an arithmetic expression.

    Args:
        expression: e.g. 2*(3+4)
    """
    return evaluate(expression)


def evaluate(expression: str) -> str:
    """Compute an expression; nothing is executed.

    Raises:
        ToolError: it cannot be read, has no real value, or one that is too large.
    """
    if len(expression) > _LONGEST:
        raise ToolError(f"the expression has {len(expression)} characters, more than {_LONGEST}; compute it in parts")
    try:
        return show(_Reader(expression).whole())
    except ZeroDivisionError:
        raise ToolError(f'"{expression}" divides by zero') from None
    except OverflowError:
        raise ToolError(f'"{expression}" is too large to compute') from None
    except RecursionError:
        raise ToolError("the expression is nested too deeply; compute it in parts") from None


class _Reader:
    """Reads an expression from left to right by operator precedence and computes it on the way."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        text = expression.translate(_CHARACTERS).strip().rstrip("=? ")
        self.text = re.sub(r"(?<=[\d)])\s*[xX]\s*(?=[\d(.])", "*", text)
        self.at = 0
        self.in_call = False  # there a comma separates arguments, not thousands

    def whole(self) -> Number:
        value, _ = self.sum()
        if self.peek():
            raise self.unreadable()
        return value

    def unreadable(self) -> ToolError:
        rest = self.text[self.at :].strip()
        where = f'at "{rest[:20]}"' if rest else "at its end"
        if rest.startswith(","):
            where += " (decimals are written with a point)"
        return ToolError(f'cannot read the expression "{self.expression}" {where}; use {_HELP}')

    def match(self) -> re.Match[str] | None:
        found = _TOKEN.match(self.text, self.at)
        if found is not None and self.in_call and "," in (found["number"] or ""):
            return _TOKEN.match(self.text[: self.text.index(",", self.at)], self.at)
        return found

    def peek(self) -> str:
        """The next token without its leading space; "" at the end."""
        found = self.match()
        if found is not None:
            return found[0].strip()
        if self.text[self.at :].strip():
            raise self.unreadable()
        return ""

    def take(self, *wanted: str) -> str:
        """Go past the next token when it is one of these; "" when it is not."""
        found = self.match()
        if found is None or found[0].strip() not in wanted:
            return ""
        self.at = found.end()
        return found[0].strip()

    def sum(self) -> tuple[Number, bool]:
        value, percent = self.product()
        while sign := self.take("+", "-"):
            right, right_percent = self.product()
            if right_percent and not percent:
                right = bounded(value * right)  # "200 + 10%" adds a tenth of the 200, as calculators do
            value, percent = bounded(value + right if sign == "+" else value - right), percent and right_percent
        return value, percent

    def product(self) -> tuple[Number, bool]:
        value, percent = self.signed()
        while True:
            sign = self.take("*", "/", "//", "%", "of")
            if not sign and not self.operand_follows():
                return value, percent
            right, _ = self.signed()
            percent = False
            if sign == "/":
                value = bounded(value / right)
            elif sign == "//":
                value = bounded(Fraction(value // right))
            elif sign == "%":
                value = bounded(value % right)
            else:
                value = bounded(value * right)

    def operand_follows(self) -> bool:
        """Whether a product without a sign goes on, as in ``2(3+4)`` and ``2pi``."""
        found = self.match()
        return found is not None and (found["sign"] == "(" or found["name"] is not None)

    def signed(self) -> tuple[Number, bool]:
        sign = self.take("+", "-")
        if sign:
            value, percent = self.signed()
            return (-value if sign == "-" else value), percent
        value = self.operand()
        if self.take("**"):
            value = power(value, self.signed()[0])
        percent = _PERCENT.match(self.text, self.skip_space())
        if percent is None:
            return value, False
        self.at = percent.start() + 1
        return value / 100, True

    def skip_space(self) -> int:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        return self.at

    def operand(self) -> Number:
        found = self.match()
        if found is None or (found["sign"] and found["sign"] != "("):
            raise self.unreadable()
        self.at = found.end()
        if found["number"]:
            return literal(found["number"])
        if found["sign"]:
            return self.inside(call=False)[0]
        name = found["name"].removeprefix("math.").lower()
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name not in FUNCTIONS:
            raise ToolError(f'"{found["name"]}" is not known to the calculator; use {_HELP}')
        if not self.take("("):
            if found["name"] == "sqrt":  # "√16" has no parentheses
                return sqrt(self.operand())
            raise ToolError(f"{name} needs its argument in parentheses: {name}(…)")
        arguments = self.inside(call=True)
        function, fewest, most = FUNCTIONS[name]
        if not fewest <= len(arguments) <= most:
            raise ToolError(f"{name} takes {fewest} number{'' if most == 1 else ' or more'}, not {len(arguments)}")
        try:
            return bounded(function(*arguments))
        except (ValueError, TypeError):
            raise ToolError(f"{name} of {', '.join(map(show, arguments))} is not a real number") from None

    def inside(self, *, call: bool) -> list[Number]:
        """What stands between parentheses: one value, or a call's arguments."""
        outer, self.in_call = self.in_call, call
        values = [self.sum()[0]]
        while call and self.take(","):
            values.append(self.sum()[0])
        if not self.take(")"):
            raise self.unreadable()
        self.in_call = outer
        return values
