"""The arguments of a tool call: read from what the model wrote, and fitted to the tool's schema."""

from __future__ import annotations

from typing import Any, cast

import orjson

from qianda.models.formats.coercion import coerce
from qianda.models.formats.json_text import read_value
from qianda.models.formats.repair import repairs

__all__ = ["coerce", "fitted", "mended", "read_object"]

_ENCODINGS = 3
_KINDS: tuple[tuple[type, str], ...] = (
    (type(None), "null"),
    (dict, "an object"),
    (list, "a list"),
    (str, "a string"),
    (bool, "true or false"),
    (object, "a number"),
)


def read_object(text: str) -> dict[str, Any]:
    """Read the arguments of a call: a JSON object, encoded once or more, ``null`` or nothing; repaired where needed.

    Args:
        text: what the model wrote.

    Raises:
        ValueError: one sentence that says what is wrong, and where.
    """
    value: Any = text
    for _ in range(_ENCODINGS):
        stripped = value.strip()
        if not stripped:
            return {}
        try:
            value = read_value(stripped)
        except ValueError:
            if value is text:
                raise
            break  # a plain string: it was encoded once
        if not isinstance(value, str):
            break
    if value is None:
        return {}
    if isinstance(value, dict):
        return cast("dict[str, Any]", value)
    raise ValueError(f"the arguments are {_kind(value)}, but a JSON object is expected, like {{}}")


def mended(text: str) -> str:
    """What had to be mended for ``read_object`` to read a text, as a list of phrases; "" when it was right.

    That there are no arguments, or ``null``, is no fault.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return ", ".join(repairs(text.strip())) if text.strip() else ""
        except (ValueError, RecursionError):
            return ""
    if isinstance(value, str) and value.strip():
        return ", ".join(filter(None, ("an object that was written as a string", mended(value))))
    return ""


def fitted(text: str, arguments: dict[str, Any]) -> str:
    """Which arguments were made to fit the schema, as a list of phrases; "" when none had to be.

    Args:
        text: JSON text of an object, as the call has it.
        arguments: what came out.
    """
    written: Any = read_object(text)
    pairs = [(key, written[key], value) for key, value in arguments.items() if key in written]
    changed = [pair for pair in pairs if pair[1] != pair[2] or type(pair[1]) is not type(pair[2])]
    kinds = [(key, _kind(before), _kind(after)) for key, before, after in changed]
    return ", ".join(f"{key}: {new} in place of {old}" if old != new else f"{key} adjusted" for key, old, new in kinds)


def _kind(value: Any) -> str:
    """What a value is, in JSON's terms."""
    return next(name for kind, name in _KINDS if isinstance(value, kind))
