"""JSON Schemas for a model: foreign words for types made JSON's, no titles, no noise, references resolved in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

_NAMED = ("properties", "patternProperties", "$defs")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "contains", "propertyNames")
_FIRST = ("type", "description", "enum")  # the order that people write, and that models have seen
_REFERENCE = "#/$defs/"
_SHAPES: dict[str, type] = {**dict.fromkeys(_NAMED, dict), **dict.fromkeys((*_LISTS, "required", "enum"), list)}
# What Python, Java and JavaScript call JSON's types, in small letters.
_TYPES = {
    **{name: name for name in ("object", "array", "string", "number", "integer", "boolean", "null")},
    **dict.fromkeys(("dict", "map", "hashmap"), "object"),
    **dict.fromkeys(("list", "tuple", "set", "arraylist"), "array"),
    **dict.fromkeys(("str", "char"), "string"),
    **dict.fromkeys(("float", "double"), "number"),
    **dict.fromkeys(("int", "long"), "integer"),
    "bool": "boolean",
    "none": "null",
}

Schema = dict[str, Any]


def normalised(schema: Schema) -> Schema:
    """A schema that others wrote, in the words of JSON Schema, so that servers take it and arguments can be checked.

    ``dict``, ``float``, ``ArrayList``, ``STRING`` … become JSON's types; a type that nobody knows allows any value, as
    ``any`` does; what has another shape than JSON Schema gives it (``"required": true``) goes. An ``enum`` of which no
    member has the type is made to fit: that of a list is one of its items, ``"3"`` of an integer is 3.
    """
    result: Schema = {}
    for key, value in schema.items():
        if not isinstance(value, _SHAPES.get(key, object)):
            continue
        if key == "type":
            if types := _json_types(value):
                result[key] = types
        elif key in _NAMED:
            result[key] = {label: _normalised(item) for label, item in value.items()}
        elif key in _LISTS:
            result[key] = [_normalised(item) for item in value]
        elif key in _SINGLE:
            result[key] = _normalised(value)
        else:
            result[key] = value
    return _with_possible_enum(result)


def _with_possible_enum(schema: Schema) -> Schema:
    """A schema that no value would fit, since its type and its enumeration exclude each other, as it must be meant."""
    from qianda.models.formats.coercion import coerce, has_type

    kind, members = schema.get("type"), schema.get("enum")
    if not isinstance(kind, str) or not members or any(has_type(member, kind) for member in members):
        return schema
    if kind == "array":
        items = cast("Schema", schema["items"]) if isinstance(schema.get("items"), dict) else {}
        rest = {key: value for key, value in schema.items() if key != "enum"}
        return {**rest, "items": {**items, "enum": members}}
    fitted = [coerce(member, {"type": kind}) for member in members]
    possible = all(has_type(member, kind) for member in fitted)
    return {**{key: value for key, value in schema.items() if possible or key != "type"}, "enum": fitted}


def _normalised(schema: Any) -> Any:
    """A schema inside another; in the place of what is none, the one that allows anything."""
    if isinstance(schema, dict):
        return normalised(cast("Schema", schema))
    if isinstance(schema, list):  # ``items``, one for each place
        return [_normalised(item) for item in cast("list[Any]", schema)]
    return schema if isinstance(schema, bool) else {}


def _json_types(named: Any) -> str | list[str] | None:
    """JSON's names for one type or several; None when any value is allowed."""
    if isinstance(named, list):
        types = [_TYPES.get(str(name).lower()) for name in cast("list[Any]", named)]
        return None if None in types else list(dict.fromkeys(filter(None, types)))
    return _TYPES.get(str(named).lower())


def compact(schema: Schema) -> Schema:
    """A schema with the same meaning and fewer words.

    Titles go, ``const`` becomes ``enum`` (which small models know), definitions are put where they are used; only
    those that contain themselves stay in ``$defs``.
    """
    definitions: dict[str, Schema] = schema.get("$defs", {})
    recursive = {name for name in definitions if name in _reachable(definitions[name], definitions)}
    result = _compact({key: value for key, value in schema.items() if key != "$defs"}, definitions, recursive)
    kept = {name: _compact(definitions[name], definitions, recursive) for name in definitions if name in recursive}
    return {**result, "$defs": kept} if kept else result


def ordered(schema: Schema) -> Schema:
    """The schema with its keys in the usual order."""
    return {key: schema[key] for key in _FIRST if key in schema} | schema


def for_the_model(schema: Schema) -> Schema:
    """The schema without the ``null`` of optional properties: a model leaves out what it does not want to say."""
    properties = {
        name: item if name in schema.get("required", []) else _without_null(item)
        for name, item in cast("dict[str, Schema]", schema.get("properties", {})).items()
    }
    ordered = {"type": "object", "properties": properties}
    return ordered | {key: value for key, value in schema.items() if key not in ordered}


def _without_null(schema: Schema) -> Schema:
    choices: list[Schema] = schema.get("anyOf", [])
    left = [choice for choice in choices if choice != {"type": "null"}]
    if len(left) == len(choices):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {**left[0], **rest} if len(left) == 1 else {"anyOf": left, **rest}


def _children(schema: Schema) -> Iterator[Schema]:
    """The schemas directly inside a schema."""
    for key in _NAMED:
        yield from cast("dict[str, Schema]", schema.get(key, {})).values()
    for key in _LISTS:
        yield from cast("list[Schema]", schema.get(key, []))
    for key in _SINGLE:
        if isinstance(schema.get(key), dict):
            yield schema[key]


def _reachable(schema: Schema, definitions: dict[str, Schema]) -> set[str]:
    """The names of all definitions that a schema refers to, directly or not."""
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        current = waiting.pop()
        waiting.extend(_children(current))
        name = _referred(current)
        if name is not None and name not in found and name in definitions:
            found.add(name)
            waiting.append(definitions[name])
    return found


def _referred(schema: Schema) -> str | None:
    reference = schema.get("$ref")
    return reference.removeprefix(_REFERENCE) if isinstance(reference, str) else None


def _compact(schema: Schema, definitions: dict[str, Schema], recursive: set[str]) -> Schema:
    name = _referred(schema)
    if name is not None and name in definitions and name not in recursive:
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        return _compact({**definitions[name], **beside}, definitions, recursive)
    result: Schema = {}
    for key, value in schema.items():
        if key in ("title", "discriminator") or (key == "additionalProperties" and isinstance(value, bool)):
            continue
        if key == "const":
            result["enum"] = [value]
        elif key in _NAMED:
            result[key] = {label: _compact(item, definitions, recursive) for label, item in value.items()}
        elif key in _LISTS:
            result[key] = [_compact(item, definitions, recursive) for item in value]
        elif key in _SINGLE and isinstance(value, dict):
            result[key] = _compact(cast("Schema", value), definitions, recursive)
        else:
            result[key] = value
    only = cast("list[Schema]", result.get("allOf", []))
    if len(only) == 1:
        result = {**only[0], **{key: value for key, value in result.items() if key != "allOf"}}
    return ordered(result)
