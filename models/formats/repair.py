"""Reads the near-JSON that models write where a JSON parser gives up, or says exactly what is wrong and where.

Repaired is only what loses nothing: trailing commas, closing braces missing at the end, single and typographic quotes,
Python's ``True``, ``False`` and ``None``, bare keys, raw line breaks in strings and backslashes that begin no escape.
A string that is not closed is never repaired: it may be half of what the model meant.
"""

from __future__ import annotations

import re
from typing import Any

from qianda.models.formats.json_scan import BODIES, CLOSERS

_SPACE = re.compile(r"\s*+")
_WORD = re.compile(r"[^\s,:{}\[\]\"'“”]+")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\Z", re.ASCII)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_RAW = re.compile(r"[\x00-\x1f]")
_BAD_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\[^\"\\/bfnrtu]")
_DEEPEST = 200


def repair(text: str) -> Any:
    """Read one value.

    Raises:
        ValueError: one sentence that says what is wrong, with line and column.
    """
    reader = _Reader(text)
    value = reader.value("")
    reader.check_end()
    return value


def repairs(text: str) -> list[str]:
    """What ``repair`` mends in a text that it can read, in order.

    Raises:
        ValueError: it cannot be read.
    """
    reader = _Reader(text)
    reader.value("")
    reader.check_end()
    return list(reader.mended)


class _Reader:
    """Reads near-JSON from front to back, each character once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at: int = 0
        self.mended: dict[str, None] = {}

    def value(self, closers: str) -> Any:
        """Read a value; ``closers`` are the brackets around it, the innermost last."""
        if len(closers) > _DEEPEST:
            raise self._fault(f"objects and lists are nested deeper than {_DEEPEST} levels")
        char = self._peek()
        if not char:
            raise self._fault("the text ends where a value is expected")
        if char == "{":
            return self._object(closers + "}")
        if char == "[":
            return self._list(closers + "]")
        if char in CLOSERS:
            return self._string()
        return self._word()

    def check_end(self) -> None:
        """Nothing but spare brackets and commas may follow."""
        rest = self._text[self._at :]
        self._at += len(rest) - len(rest.lstrip("}],; \t\r\n"))
        if rest.strip():
            self._mend("spare brackets at the end")
        if self._at < len(self._text):
            raise self._fault(f"{self._ahead()} follows after the end of the object")

    def _peek(self) -> str:
        """The next character that is no space, or "" at the end."""
        if space := _SPACE.match(self._text, self._at):
            self._at = space.end()
        return self._text[self._at : self._at + 1]

    def _object(self, closers: str) -> dict[str, Any]:
        self._at += 1
        found: dict[str, Any] = {}
        key = ""
        while True:
            if self._closes(closers, key):
                return found
            key = self._key()
            following = self._peek()
            if following != ":":
                if not following:
                    raise self._fault(f'the text ends after the key "{key}", without a value')
                raise self._fault(f'a colon is expected after the key "{key}", but {self._ahead()} follows')
            self._at += 1
            found[key] = self.value(closers)

    def _list(self, closers: str) -> list[Any]:
        self._at += 1
        found: list[Any] = []
        while not self._closes(closers, ""):
            found.append(self.value(closers))
        return found

    def _closes(self, closers: str, key: str) -> bool:
        """Step over a comma, or over the end of the innermost bracket, which may also be missing."""
        first = self._text[self._at - 1] in "{["
        char = self._peek()
        if char == "," and not first:
            self._at += 1
            char = self._peek()
            if char in "}]":
                self._mend("a comma too many")
        elif char and char not in "}]" and not first:
            after = f'the value of "{key}"' if key else "a value"
            hint = '; inside a string a quotation mark is written \\" and a backslash \\\\'
            raise self._fault(f"a comma or {closers[-1]} is expected after {after}, but {self._ahead()} follows{hint}")
        if char and char == closers[-1]:
            self._at += 1
            return True
        # The end, or the bracket that closes an outer value: the inner one's is missing.
        if not char or (char in "}]" and char in closers):
            self._mend("a closing bracket was missing")
            return True
        return False

    def _key(self) -> str:
        char = self._peek()
        if char in CLOSERS:
            return self._string()
        word = _WORD.match(self._text, self._at)
        if not word or not word[0].isidentifier():
            raise self._fault(f"a key in double quotes is expected, but {self._ahead()} follows")
        self._at = word.end()
        self._mend("a key without quotes")
        return word[0]

    def _string(self) -> str:
        closer = CLOSERS[self._text[self._at]]
        body = BODIES[closer].match(self._text, self._at + 1)
        if not body or self._text[body.end() : body.end() + 1] != closer:
            raise self._fault("the string that begins here is not closed")
        self._at = body.end() + 1
        if self._text[body.start() - 1] != '"':
            self._mend("quotation marks other than JSON's")
        if _RAW.search(body[0]):
            self._mend("raw line breaks or control characters in a string")
        if _BAD_ESCAPE.search(body[0]):
            self._mend("a backslash that begins no escape")
        return _ESCAPE.sub(_unescape, body[0]) if "\\" in body[0] else body[0]

    def _word(self) -> Any:
        word = _WORD.match(self._text, self._at)
        if word and word[0] in _WORDS:
            self._at = word.end()
            if word[0][0].isupper():
                self._mend(f"Python's {word[0]}")
            return _WORDS[word[0]]
        if word and (number := _NUMBER.match(word[0])):
            self._at = word.end()
            found = float(word[0]) if number[1] or number[2] else int(word[0])
            if found in (float("inf"), float("-inf")):
                raise self._fault(f"the number that ends here, {word[0]}, is too large")
            return found
        raise self._fault(
            f"{self._ahead()} is neither a string in double quotes nor a number, object, list, true, false or null"
        )

    def _mend(self, what: str) -> None:
        self.mended[what] = None

    def _ahead(self) -> str:
        """What stands at the current position, short."""
        ahead = self._text[self._at : self._at + 20].split("\n", 1)[0]
        return f"`{ahead}`" if ahead else "nothing"

    def _fault(self, what: str) -> ValueError:
        before = self._text[: self._at]
        line, column = before.count("\n") + 1, self._at - (before.rfind("\n") + 1) + 1
        return ValueError(f"{what} (line {line}, column {column})")


def _unescape(escape: re.Match[str]) -> str:
    """What an escape stands for; a backslash that begins none stands for itself."""
    code = escape[1]
    if len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPES.get(code, escape[0])
