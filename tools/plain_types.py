"""JSON Schemas of the types that most parameters have, as pydantic gives them, without its cost."""

from __future__ import annotations

import enum
import typing
from types import NoneType, UnionType
from typing import Annotated, Any, Literal

_SIMPLE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    None: {"type": "null"},
    Any: {},
    object: {},
    list: {"type": "array", "items": {}},
    dict: {"type": "object"},
}


def plain_schema(hint: Any) -> dict[str, Any] | None:
    """The schema of a plain type in its shortest form, or None for what pydantic has to describe."""
    origin = typing.get_origin(hint)
    if origin is None:
        return dict(_SIMPLE[hint]) if _hashable(hint) and hint in _SIMPLE else _enum(hint)
    arguments = typing.get_args(hint)
    if origin is Literal:
        return _choice(list(arguments))
    if origin is Annotated:
        return plain_schema(arguments[0]) if all(isinstance(item, str) for item in arguments[1:]) else None
    if origin in (typing.Union, UnionType):
        choices = [plain_schema(item) for item in arguments]
        merged = any(item is None or "anyOf" in item or choices.count(item) > 1 for item in choices)
        return None if merged else {"anyOf": choices}
    if origin is list:
        items = plain_schema(arguments[0])
        return None if items is None else {"type": "array", "items": items}
    if origin is dict and arguments[0] is str:
        values = plain_schema(arguments[1])
        return None if values is None else {"type": "object", **({"additionalProperties": values} if values else {})}
    return None


def _hashable(hint: Any) -> bool:
    return getattr(hint, "__hash__", None) is not None


def _enum(hint: Any) -> dict[str, Any] | None:
    """An enum that says nothing but its values."""
    if not (isinstance(hint, type) and issubclass(hint, enum.Enum)) or issubclass(hint, enum.Flag) or hint.__doc__:
        return None
    if any(hasattr(hint, hook) for hook in ("__get_pydantic_core_schema__", "__get_pydantic_json_schema__")):
        return None
    return _choice([member.value for member in hint])


def _choice(values: list[Any]) -> dict[str, Any] | None:
    """One of some texts, or one of some numbers."""
    for kind, name in ((str, "string"), (int, "integer")):
        if values and all(type(value) is kind for value in values):
            return {"type": name, "enum": values}
    return None
