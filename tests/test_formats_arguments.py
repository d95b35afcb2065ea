"""The arguments of a call: what is read, what is repaired, what is refused, what a schema makes of them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianda.models.formats.arguments import coerce, read_object
from qianda.models.formats.coercion import coerce_text
from qianda.models.formats.json_text import write_value

# A machine that is busy with other things is no failure.
steady = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=100)

characters = st.characters(exclude_categories=["Cs"])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters)
    | st.sampled_from(["北京の天気", "서울 날씨", "الطقس في القاهرة", "🌦️👩‍👩‍👧", "`\"'“”‘’", "</tool_call>"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(characters), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(characters), json_values, max_size=5)


@steady
@given(json_objects)
def test_valid_json_is_read_as_it_is(value: dict[str, Any]) -> None:
    assert read_object(json.dumps(value)) == value
    assert read_object(write_value(value)) == value


@steady
@given(json_objects)
def test_double_encoded_arguments_are_decoded_twice(value: dict[str, Any]) -> None:
    assert read_object(json.dumps(json.dumps(value))) == value


words = st.text("ab \n\t\\'\"北서ط😀é{}:,")


@steady
@given(st.dictionaries(words, words | st.booleans() | st.none() | st.integers(), min_size=1))
def test_python_literals_are_read(value: dict[str, Any]) -> None:
    assert read_object(repr(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        (" \n", {}),
        ("null", {}),
        ('""', {}),
        ('"null"', {}),
        ('{"path": "a.txt", }', {"path": "a.txt"}),
        ('{"a": [1, 2, ], }', {"a": [1, 2]}),
        ('{"path": "b.txt"', {"path": "b.txt"}),
        ('{"a": {"b": [1, {"c": 2', {"a": {"b": [1, {"c": 2}]}}),
        ('{"a": [1, 2}', {"a": [1, 2]}),
        ('{"a": 1}}', {"a": 1}),
        ("{'path': 'it\\'s', 'deep': {'x': True, 'y': None}}", {"path": "it's", "deep": {"x": True, "y": None}}),
        ("{“path”: “a.txt”}", {"path": "a.txt"}),
        ('{"text": "one\ntwo\tthree"}', {"text": "one\ntwo\tthree"}),
        ('{"text": "one\ntwo",}', {"text": "one\ntwo"}),
        (r'{"regex": "\d+\.\w"}', {"regex": r"\d+\.\w"}),
        ('{path: "a.txt", n: 3}', {"path": "a.txt", "n": 3}),
        ('{"n": 12345678901234567890123}', {"n": 12345678901234567890123}),
        (r'{"emoji": "\ud83d\ude00",}', {"emoji": "😀"}),
        (r'{"half": "\ud83d!"}', {"half": "�!"}),
        (r'{"half": "\ud83d!",}', {"half": "�!"}),
        ('{"城市": "北京",}', {"城市": "北京"}),
    ],
)
def test_what_loses_nothing_is_repaired(text: str, value: dict[str, Any]) -> None:
    assert read_object(text) == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"path": "c.t', "the string that begins here is not closed (line 1, column 10)"),
        ('{"a": 1,\n "b" 2}', 'a colon is expected after the key "b", but `2}` follows (line 2, column 6)'),
        ('{"a"', 'the text ends after the key "a", without a value (line 1, column 5)'),
        ('{"a": ', "the text ends where a value is expected (line 1, column 6)"),
        ('{"a": 1} and more', "`and more` follows after the end of the object (line 1, column 10)"),
        ("[1, 2]", "the arguments are a list, but a JSON object is expected, like {}"),
        ("17", "the arguments are a number, but a JSON object is expected, like {}"),
        ('"hello"', "the arguments are a string, but a JSON object is expected, like {}"),
        ("false", "the arguments are true or false, but a JSON object is expected, like {}"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem) + r"\Z"):
        read_object(text)


@pytest.mark.parametrize(
    "text", ['{"a": NaN}', '{"a": 1e999}', '{"a": 1e999,}', "{" * 5000, '{"a":' * 5000, "[" * 5000]
)
def test_numbers_and_depths_that_json_cannot_hold_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_object(text)


def test_an_unescaped_quotation_mark_is_explained_and_not_guessed() -> None:
    with pytest.raises(ValueError, match=r'a quotation mark is written \\"'):
        read_object('{"text": "he said "hi" to me"}')


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "flag": {"type": "boolean"},
        "name": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "numbers": {"type": "array", "items": {"type": "integer"}},
        "place": {"$ref": "#/$defs/Place"},
        "maybe": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "many": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
        "unit": {"enum": ["Celsius", "Kelvin", 3]},
        "nullable": {"type": ["integer", "null"]},
    },
    "additionalProperties": {"type": "integer"},
    "$defs": {
        "Place": {
            "type": "object",
            "properties": {"lat": {"type": "number"}, "next": {"$ref": "#/$defs/Place"}},
            "required": ["lat"],
        }
    },
}


@pytest.mark.parametrize(
    ("key", "given_value", "fitted"),
    [
        ("n", "3", 3),
        ("n", "-3.0", -3),
        ("n", 3.0, 3),
        ("n", "3.5", "3.5"),
        ("n", "three", "three"),
        ("n", True, True),
        ("x", "2.5", 2.5),
        ("x", "7", 7),
        ("x", 7, 7),
        ("x", "nan", "nan"),
        ("flag", "true", True),
        ("flag", "False", False),
        ("flag", 1, True),
        ("flag", 2, 2),
        ("flag", "yes", "yes"),
        ("name", 5, "5"),
        ("name", True, "true"),
        ("name", {"a": [1]}, '{"a": [1]}'),
        ("name", None, None),
        ("tags", "one", ["one"]),
        ("tags", '["one", "two"]', ["one", "two"]),
        ("tags", "[draft", ["[draft"]),
        ("numbers", ["1", 2], [1, 2]),
        ("numbers", "4", [4]),
        ("numbers", 4, [4]),
        ("place", '{"lat": "1.5"}', {"lat": 1.5}),
        ("place", {"lat": 1, "next": '{"lat": "2"}'}, {"lat": 1, "next": {"lat": 2}}),
        ("place", "Paris", "Paris"),
        ("maybe", "null", None),
        ("maybe", '{"lat": "2"}', {"lat": 2}),
        ("maybe", None, None),
        ("either", "3", "3"),
        ("either", 3, 3),
        ("many", "5", [5]),
        ("many", None, None),
        ("unit", "celsius", "Celsius"),
        ("unit", "3", 3),
        ("unit", "Fahrenheit", "Fahrenheit"),
        ("nullable", "null", None),
        ("nullable", "4", 4),
        ("other", "9", 9),
    ],
)
def test_values_are_fitted_to_the_schema(key: str, given_value: object, fitted: object) -> None:
    result = coerce({key: given_value}, SCHEMA)[key]
    assert (result, type(result)) == (fitted, type(fitted))


@steady
@given(json_objects)
def test_a_schema_that_says_nothing_changes_nothing(value: dict[str, Any]) -> None:
    assert coerce(value, {"type": "object", "properties": {}}) == value


@steady
@given(json_values, st.sampled_from(sorted(SCHEMA["properties"])))
def test_coercion_is_done_at_once(value: Any, key: str) -> None:
    """What was fitted already fits: a second time changes nothing."""
    once = coerce({key: value}, SCHEMA)
    assert coerce(once, SCHEMA) == once


def test_schemas_that_refer_to_themselves_hold_nothing_up() -> None:
    loop = {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}]}}}
    assert coerce({"a": "1"}, loop) == {"a": "1"}
    assert coerce({"a": "1"}, {"$ref": "#"}) == {"a": "1"}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("null", {"type": "integer"}, None),
        ("NULL", {}, None),
        ("null", {"type": "string"}, "null"),
        ("3", {}, "3"),
        ("3", {"type": "string"}, "3"),
        ("3", {"type": "integer"}, 3),
        ("2.50", {"type": "number"}, 2.5),
        ("True", {"type": "boolean"}, True),
        ("true", {"type": "string"}, "true"),
        ('["a", "b"]', {"type": "array"}, ["a", "b"]),
        ("['a', 'b']", {"type": "array"}, ["a", "b"]),
        ('{"a": "1"}', {"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": 1}),
        ('{"a": 1}', {"type": "string"}, '{"a": 1}'),
        ("7", {"anyOf": [{"type": "string"}, {"type": "integer"}]}, 7),
        ("seven", {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "seven"),
        ("many", {"type": "integer"}, "many"),
        ('{"lat": "1"}', {"$ref": "#/$defs/Place"}, {"lat": 1}),
    ],
)
def test_the_text_of_an_xml_parameter_becomes_what_the_schema_says(
    text: str, schema: dict[str, Any], value: object
) -> None:
    result = coerce_text(text, schema, SCHEMA)
    assert (result, type(result)) == (value, type(value))


def test_null_for_a_string_that_may_be_left_out_is_none() -> None:
    assert coerce_text("null", {"type": "string"}, {}, required=False) is None
