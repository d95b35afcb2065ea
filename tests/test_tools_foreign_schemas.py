"""Schemas that others wrote: types by other languages' names, enumerations and nulls that do not fit their types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from qianda.models.errors import ToolError
from qianda.tools.json_schema import normalised
from qianda.tools.validation import parse_arguments


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "dict", "properties": {"x": {"type": "float"}}}, ("object", {"x": {"type": "number"}})),
        ({"type": "HashMap", "properties": {"x": {"type": "long"}}}, ("object", {"x": {"type": "integer"}})),
        ({"type": "OBJECT", "properties": {"x": {"type": "STRING"}}}, ("object", {"x": {"type": "string"}})),
        ({"type": "object", "properties": {"x": {"type": "any"}}}, ("object", {"x": {}})),
        ({"type": "object", "properties": {"x": {"type": ""}}}, ("object", {"x": {}})),
        (
            {"type": "object", "properties": {"x": {"type": ["str", "None"]}}},
            ("object", {"x": {"type": ["string", "null"]}}),
        ),
        ({"type": "object", "properties": {"x": {"type": ["str", "date"]}}}, ("object", {"x": {}})),
        ({"type": "object", "properties": {"x": "string"}}, ("object", {"x": {}})),
        (
            {"type": "object", "properties": {"x": {"type": "int", "required": True}}},
            ("object", {"x": {"type": "integer"}}),
        ),
        ({"type": "object", "properties": {"type": {"type": "str"}}}, ("object", {"type": {"type": "string"}})),
    ],
)
def test_other_languages_words_become_those_of_json_schema(given: dict[str, Any], expected: tuple[str, Any]) -> None:
    found = normalised(given)
    assert (found["type"], found["properties"]) == expected
    assert normalised(found) == found


def test_schemas_inside_schemas_are_normalised_too() -> None:
    inner = {
        "type": "tuple",
        "items": {"anyOf": [{"type": "bool"}, {"type": "dict", "additionalProperties": {"type": "str"}}]},
    }
    assert normalised({"$defs": {"a": inner}, "items": [inner]}) == {
        "$defs": {
            "a": (
                clean := {
                    "type": "array",
                    "items": {
                        "anyOf": [{"type": "boolean"}, {"type": "object", "additionalProperties": {"type": "string"}}]
                    },
                }
            )
        },
        "items": [clean],
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "array", "enum": ["a", "b"]}, {"type": "array", "items": {"enum": ["a", "b"]}}),
        ({"type": "integer", "enum": ["1", "2"]}, {"type": "integer", "enum": [1, 2]}),
        ({"type": "boolean", "enum": ["True", "either"]}, {"enum": [True, "either"]}),
        ({"type": "string", "enum": ["a", None]}, {"type": "string", "enum": ["a", None]}),
        ({"type": "array", "enum": [["a"], "b"]}, {"type": "array", "enum": [["a"], "b"]}),
    ],
)
def test_an_enumeration_that_its_type_excludes_is_made_to_fit(given: dict[str, Any], expected: dict[str, Any]) -> None:
    assert normalised(given) == expected


NULLS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "needed": {"type": "string"},
        "optional": {"type": "string"},
        "nullable": {"type": ["string", "null"]},
        "any": {},
    },
    "required": ["needed"],
}


def test_a_null_for_what_may_be_left_out_and_not_be_null_is_left_out() -> None:
    written = {"needed": "x", "optional": None, "nullable": None, "any": None}
    read = parse_arguments("tool", json.dumps(written), NULLS, extra=False)
    assert read == {"needed": "x", "nullable": None, "any": None}


def test_a_null_for_what_is_needed_or_unknown_is_no_silence() -> None:
    assert parse_arguments("tool", '{"needed": null, "more": null}', NULLS, extra=True) == {
        "needed": None,
        "more": None,
    }
    with pytest.raises(ToolError, match="more"):
        parse_arguments("tool", '{"needed": "x", "more": null}', NULLS, extra=False)
