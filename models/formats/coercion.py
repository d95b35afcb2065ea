"""Fits values to a JSON Schema where the model wrote another type than it meant; never loses information."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from qianda.models.formats.json_text import read_value, write_value

Schema = dict[str, Any]

_INTEGER = re.compile(r"\s*([+-]?\d+)(?:\.0+)?\s*\Z", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*\Z", re.ASCII)
_LONGEST_NUMBER = 400
_REFERENCES = 16
_DEEPEST = 4
# Alternatives inside alternatives multiply; a schema of that kind may not hold up a run.
_STEPS = 100_000
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
# The order in which a string is tried, as in Ollama: the narrowest first.
_ORDER = ("boolean", "integer", "number", "array", "object")


def coerce(value: Any, schema: Schema) -> Any:
    """Fit a value to a schema: ``"3"`` to 3, JSON text to the object that it holds, one value to a list of one.

    What does not fit without a doubt stays as it is, for the validation to complain about.

    Args:
        value: any JSON value.
        schema: JSON Schema; ``$ref`` into its own ``$defs``, ``anyOf``, ``oneOf``, ``allOf``, ``enum`` and ``const``
            are understood.
    """
    try:
        return _Coercion(schema).fit(value, schema)
    except RecursionError:
        return value


def coerce_text(text: str, schema: Schema, root: Schema, *, required: bool = True) -> Any:
    """The value that the text of an XML parameter stands for, by Ollama's rule.

    ``null`` is None; then boolean, integer, number, array and object are tried where the schema allows them; else it is
    a string. Where only a string is allowed and needed, ``null`` can only be that string.

    Args:
        text: what stands between the tags, one line break at each end already dropped.
        schema: JSON Schema of the parameter; {} where there is none.
        root: the schema that references in it point into.
        required: the parameter may not be left out.
    """
    types = types_of(schema, root)
    if len(text) < _LONGEST_NUMBER and text.strip().lower() == "null" and not (required and types == {"string"}):
        return None
    for kind in _ORDER:
        if kind in types:
            value = _FROM_TEXT[kind](text)
            if not isinstance(value, str):
                return _Coercion(root).fit(value, schema)
    return text


def resolve(schema: Schema, root: Schema) -> Schema:
    """Follow ``$ref`` into the root's own definitions; an unknown reference allows anything."""
    for _ in range(_REFERENCES):
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        target: Any = root
        for step in reference.removeprefix("#").strip("/").split("/"):
            target = cast("Schema", target).get(step) if isinstance(target, dict) else None
        schema = cast("Schema", target) if isinstance(target, dict) else {}
    return {}


class _Coercion:
    """Coercion against one root schema, to which references point."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._steps = _STEPS

    def fit(self, value: Any, schema: Any) -> Any:
        self._steps -= 1
        if not isinstance(schema, dict) or self._steps < 0:
            return value
        schema = resolve(cast("Schema", schema), self._root)
        for part in schema.get("allOf", ()):
            value = self.fit(value, part)
        branches: list[Any] = schema.get("anyOf") or schema.get("oneOf") or []
        if branches:
            value = self._best(value, branches)
        if "enum" in schema or "const" in schema:
            value = _member(value, schema.get("enum", [schema.get("const")]))
        fitted = _to_type(value, types_of(schema))
        if isinstance(fitted, dict):
            return self._object(cast("dict[str, Any]", fitted), schema)
        if isinstance(fitted, list):
            return [self.fit(item, schema.get("items")) for item in cast("list[Any]", fitted)]
        return fitted

    def _object(self, value: dict[str, Any], schema: Schema) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties", {})
        other = schema.get("additionalProperties")
        return {key: self.fit(item, properties.get(key, other)) for key, item in value.items()}

    def _best(self, value: Any, branches: list[Any]) -> Any:
        """The value by the first alternative that takes it as it is, else by the first that it can be made to fit."""
        fitted = [(self.fit(value, branch), branch) for branch in branches]
        for candidate, branch in fitted:
            if candidate == value and type(candidate) is type(value) and self._fits(candidate, branch):
                return candidate
        # Anything can become a string, so that comes last.
        for candidate, branch in sorted(fitted, key=lambda pair: isinstance(pair[0], str)):
            if self._fits(candidate, branch):
                return candidate
        return value

    def _fits(self, value: Any, schema: Any) -> bool:
        """Whether a value has the type, and an object the keys, that a schema asks for."""
        self._steps -= 1
        if not isinstance(schema, dict) or self._steps < 0:
            return True
        schema = resolve(cast("Schema", schema), self._root)
        types = types_of(schema)
        if types and not any(has_type(value, kind) for kind in types):
            return False
        if "enum" in schema and value not in schema["enum"]:
            return False
        if "const" in schema and value != schema["const"]:
            return False
        branches: list[Any] = schema.get("anyOf") or schema.get("oneOf") or []
        if branches and not any(self._fits(value, branch) for branch in branches):
            return False
        if isinstance(value, list):
            items = schema.get("items")
            return all(self._fits(item, items) for item in cast("list[Any]", value))
        if isinstance(value, dict):
            properties: dict[str, Any] = schema.get("properties", {})
            found = cast("dict[str, Any]", value)
            missing = [key for key in schema.get("required", ()) if key not in found]
            return not missing and all(self._fits(item, properties.get(key)) for key, item in found.items())
        return True


def types_of(schema: Schema, root: Schema | None = None, depth: int = 0) -> set[str]:
    """The types that a schema names; with ``root``, those of its references and alternatives too."""
    if root is not None:
        schema = resolve(schema, root)
    named: Any = schema.get("type")
    types = {named} if isinstance(named, str) else set(cast("list[str]", named or ()))
    if root is not None and depth < _DEEPEST:
        for union in ("anyOf", "oneOf", "allOf"):
            for branch in schema.get(union, ()):
                types |= types_of(branch, root, depth + 1)
    if not types and "properties" in schema:
        return {"object"}
    return {"array"} if not types and "items" in schema else types


def has_type(value: Any, kind: str) -> bool:
    """Whether a value has one of JSON Schema's types; a type that nobody knows fits any."""
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, (object,))) or (
        kind == "integer" and isinstance(value, float) and value.is_integer()
    )


def _to_type(value: Any, types: set[str]) -> Any:
    """Make a value one of these types, where that says the same in another type."""
    if not types or any(has_type(value, kind) for kind in types):
        return int(value) if isinstance(value, float) and "integer" in types and "number" not in types else value
    if isinstance(value, str):
        for kind in _ORDER:
            if kind in types and not isinstance(made := _FROM_TEXT[kind](value), str):
                return made
        if "null" in types and value.strip().lower() in ("null", "none"):
            return None
    if "boolean" in types and type(value) is int and value in (0, 1):
        return bool(value)
    if "array" in types and value not in (None, ""):
        return [value]
    if "string" in types and value is not None:
        return write_value(value)
    return value


def _member(value: Any, members: list[Any]) -> Any:
    """The member of an enumeration that a value means: itself, or the only one that reads the same but for case."""
    if value in members:
        return value
    same = [member for member in members if str(member).casefold() == str(value).strip().casefold()]
    return same[0] if len(same) == 1 else value


def _boolean(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text.strip().lower(), text)


def _integer(text: str) -> int | str:
    found = _INTEGER.match(text) if len(text) < _LONGEST_NUMBER else None
    return int(found[1]) if found else text


def _number(text: str) -> float | str:
    if len(text) >= _LONGEST_NUMBER or not _NUMBER.match(text):
        return text
    whole = _integer(text)
    number = float(text)
    return whole if isinstance(whole, int) else number if abs(number) != float("inf") else text


def _container(kind: type) -> Callable[[str], Any]:
    opener = "[" if kind is list else "{"

    def read(text: str) -> Any:
        if not text.lstrip().startswith(opener):
            return text
        try:
            value = read_value(text.strip())
        except ValueError:
            return text
        return value if isinstance(value, kind) else text

    return read


_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "boolean": _boolean,
    "integer": _integer,
    "number": _number,
    "array": _container(list),
    "object": _container(dict),
}
