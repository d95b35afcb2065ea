"""JSON values as text: read with repairs, written in the one spelling that Qwen's chat templates use."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from qianda.models.formats.repair import repair

# orjson turns integers that do not fit 64 bits into floats; these go to the slower parser, which keeps every digit.
_LONG_INTEGER = re.compile(r"[1-9][0-9]{18}")
_WRITER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def write_value(value: Any) -> str:
    """JSON text as Qwen's chat templates write it (``tojson``): a space after comma and colon, no escapes but needed.

    Raises:
        ValueError: a number that JSON cannot hold, or nesting without end.
    """
    try:
        return _WRITER.encode(value)
    except RecursionError:
        raise ValueError("objects and lists are nested too deep") from None


def read_value(text: str) -> Any:
    """Read one JSON value, repaired where that loses nothing.

    Raises:
        ValueError: one sentence that says what is wrong, and where.
    """
    if not _LONG_INTEGER.search(text):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
    try:
        # Not strict: raw line breaks and tabs inside strings are what the model meant.
        value = json.loads(text, strict=False, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError):
        value = repair(text)
    return _with_whole_characters(value) if "\\u" in text else value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON value")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits} is too large a number")
    return number


def _with_whole_characters(value: Any) -> Any:
    """Put a replacement character for each half of a surrogate pair: UTF-8, and so everything else, cannot hold it."""
    text = write_value(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return value
