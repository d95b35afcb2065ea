"""What the text of an answer holds: JSON alone, in a code fence or amid text, or fields in XML tags."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

from qianda.models.formats.coercion import coerce_text
from qianda.models.formats.json_text import read_value

Schema = dict[str, Any]

_FENCE = re.compile(r"```[\w-]*[ \t]*\n(.*?)```", re.DOTALL)
_START = re.compile(r"[{\[]")
_DECODER = json.JSONDecoder(strict=False)
_STARTS = 200  # brackets that are tried as the start of a value


def json_values(text: str, *, cut: bool = False) -> Iterator[Any]:
    """The JSON values in an answer, the likeliest first: all of it, the last code fence, the last value amid text.

    Args:
        text: the answer.
        cut: it ends at the output limit: nothing that is open at its end is mended.
    """
    for piece in (text, *reversed(_FENCE.findall(text))):
        yield from _whole(piece.strip(), cut=cut)
    yield from reversed(list(_amid(text)))
    if not cut:
        for left, right in ("{}", "[]"):
            start, end = text.find(left), text.rfind(right)
            if start >= 0:
                yield from _read(text[start : end + 1] if end > start else text[start:])


def _whole(text: str, *, cut: bool) -> Iterator[Any]:
    if text[:1] in ("{", "["):
        if not cut or text.endswith(("}", "]")):
            yield from _read(text)
    else:
        try:
            yield json.loads(text)
        except ValueError:
            return


def _read(text: str) -> Iterator[Any]:
    try:
        yield read_value(text)
    except ValueError:
        return


def _amid(text: str) -> Iterator[Any]:
    """The objects and lists that stand in a text, from left to right."""
    at = 0
    for _ in range(_STARTS):
        found = _START.search(text, at)
        if found is None:
            return
        try:
            value, at = _DECODER.raw_decode(text, found.start())
            yield value
        except (ValueError, RecursionError):
            at = found.end()


def tagged_fields(text: str, schema: Schema) -> dict[str, Any]:
    """The fields of an object whose names stand in a text as XML tags; {} when none does.

    A list is one tag per item. Values are read by the schema, as the parameters of a call in XML are.

    Args:
        text: the answer.
        schema: JSON Schema of the object.
    """
    return _object(text, schema, schema)


def _object(text: str, schema: Schema, root: Schema) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    required: list[str] = schema.get("required", [])
    for name, given in cast("dict[str, Schema]", schema.get("properties", {})).items():
        # Only up to the last end: openings without one would each be looked for to the end of the text.
        end = text.rfind(f"</{name}>")
        tag = re.escape(name)
        found = re.findall(rf"<{tag}>(.*?)</{tag}>", text[: end + len(name) + 3], re.DOTALL) if end >= 0 else []
        if not found:
            continue
        field = _resolved(given, root)
        if field.get("type") == "array":
            item = _resolved(field.get("items", {}), root)
            whole = coerce_text(_trimmed(found[0]), field, root) if len(found) == 1 else None
            values = [_value(piece, item, root, required=True) for piece in found]
            fields[name] = whole if isinstance(whole, list) else values
        else:
            fields[name] = _value(found[-1], field, root, required=name in required)
    return fields


def _value(text: str, schema: Schema, root: Schema, *, required: bool) -> Any:
    if "properties" in schema and (inner := _object(text, schema, root)):
        return inner
    return coerce_text(_trimmed(text), schema, root, required=required)


def _resolved(schema: Schema, root: Schema) -> Schema:
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    return root.get("$defs", {}).get(name, schema)


def _trimmed(text: str) -> str:
    return text.removeprefix("\n").removesuffix("\n")


def tag_example(schema: Schema) -> str:
    """The tags of an object's fields, one a line, as a model is shown them."""
    lines: list[str] = []
    for name, field in cast("dict[str, Schema]", schema.get("properties", {})).items():
        items: Schema = field.get("items", {}) if field.get("type") == "array" else field
        about = str(field.get("description") or items.get("type") or "value")
        inner = f"\n{tag_example(items)}\n" if "properties" in items else about
        lines.append(f"<{name}>{inner}</{name}>" + (" (once per item)" if items is not field else ""))
    return "\n".join(lines)
