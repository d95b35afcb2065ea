"""Reads the arguments of a tool call and says in one sentence what is wrong with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, cast

from qianda.models.errors import ToolError

_LONGEST_EXPECTATION = 400
_LONGEST_VALUE = 60
_PLAIN: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
_COMBINED = frozenset(("$ref", "allOf", "anyOf", "oneOf", "const"))


def parse_arguments(name: str, text: str, parameters: dict[str, Any], *, extra: bool) -> dict[str, Any]:
    """Parse and coerce the arguments of a call and check their names.

    An argument that may be left out and may not be ``null`` is left out where it is: models write it so.

    Args:
        name: the tool's name, for the error.
        text: what the model wrote; "" is an empty object.
        parameters: JSON Schema of the arguments.
        extra: whether names that the schema does not know are allowed.

    Raises:
        ToolError: unreadable, missing or unknown arguments, named in one sentence.
    """
    from qianda.models.formats.arguments import coerce, read_object
    from qianda.models.formats.coercion import types_of

    try:
        arguments = read_object(text) if text.strip() else {}
    except ValueError as error:
        raise complaint(name, [str(error)], parameters) from None
    known: dict[str, Any] = parameters.get("properties", {})
    arguments = _respelled(arguments, known)
    required: list[str] = parameters.get("required", [])
    problems = [] if extra else [_unknown(key, known) for key in arguments if key not in known]
    problems += [f'"{key}" is missing' for key in required if key not in arguments]
    if problems:
        raise complaint(name, problems, parameters)
    for key in [key for key in arguments if arguments[key] is None and key in known and key not in required]:
        types = types_of(known[key], parameters)
        if types and "null" not in types:
            del arguments[key]
    if _COMBINED.isdisjoint(parameters) and all(_fits(value, known.get(key)) for key, value in arguments.items()):
        return arguments
    return cast("dict[str, Any]", coerce(arguments, parameters))


def _fits(value: object, schema: object) -> bool:
    """Whether a value is of the one plain type that is wanted: most are, and need no coercion."""
    if not isinstance(schema, dict) or not _COMBINED.isdisjoint(cast("dict[str, Any]", schema)):
        return False
    kind, choices = cast("dict[str, Any]", schema).get("type"), cast("dict[str, Any]", schema).get("enum")
    return isinstance(kind, str) and type(value) is _PLAIN.get(kind) and (choices is None or value in choices)


def complaint(name: str, problems: Iterable[str], parameters: dict[str, Any]) -> ToolError:
    """The error of a call that cannot be made so: what is wrong, and what is expected."""
    return ToolError(f"{name}: {', '.join(problems)}; expected {expectation(parameters)}")


def shown(value: object) -> str:
    """A value as it stands in an error: short, on one line."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def expectation(parameters: dict[str, Any]) -> str:
    """What the arguments look like, for an error: ``{"path": string, "lines"?: integer}``."""
    text = _shape(parameters, depth=2)
    return text if len(text) <= _LONGEST_EXPECTATION else f"{text[:_LONGEST_EXPECTATION]}…"


def _shape(schema: dict[str, Any], depth: int) -> str:
    """A JSON Schema as a person would write it down."""
    if "enum" in schema:
        return " | ".join(f'"{item}"' if isinstance(item, str) else str(item) for item in schema["enum"])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " | ".join(_shape(item, depth) for item in schema[union])
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " | ".join(cast("list[str]", kind))
    properties: dict[str, Any] = schema.get("properties", {})
    if kind == "object" and depth > 0 and (properties or depth == 2):
        required: list[str] = schema.get("required", [])
        fields = [
            f'"{key}"{"" if key in required else "?"}: {_shape(item, depth - 1)}' for key, item in properties.items()
        ]
        return "{" + ", ".join(fields) + "}"
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"[{_shape(schema['items'], depth - 1)}, …]"
    return str(kind)


def _plain(name: str) -> str:
    """A name without case and separators."""
    return name.casefold().replace("_", "").replace("-", "").replace(" ", "")


def _respelled(arguments: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Give names that differ only in case and separators (``filePath``, ``File-Path``) their right spelling."""
    if all(key in known for key in arguments):
        return arguments
    spellings = {_plain(key): key for key in known if key not in arguments}
    return {key if key in known else spellings.get(_plain(key), key): value for key, value in arguments.items()}


def _unknown(key: str, known: dict[str, Any]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f'there is no argument "{key}"' + (f' (did you mean "{close[0]}"?)' if close else "")
