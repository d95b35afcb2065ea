"""What a model is told about a function: schema and description from signature, type hints and docstring."""

from __future__ import annotations

import enum
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, cast
from typing import TypedDict as TypedDictOfPython

import pytest
from hypothesis import given, settings, strategies
from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from qianda.models.errors import ConfigurationError
from qianda.tools import Context, as_tool, core_tools, tool
from qianda.tools.json_schema import compact
from qianda.tools.schema import read_signature


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    title: str
    floor: int = 0


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)


class Filter(TypedDict, total=False):
    field: str
    limit: int


def parameters(function: Callable[..., Any]) -> dict[str, Any]:
    return as_tool(function).schema.parameters


def test_the_example_of_the_documentation() -> None:
    @tool
    async def weather(city: str, days: int = 1) -> str:
        """Weather forecast.

        Args:
            city: name of the city, in any language.
            days: how many days ahead, 1 to 7.
        """
        return f"{city} {days}"

    assert weather.schema.name == "weather"
    assert weather.schema.description == "Weather forecast."
    expected = {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "name of the city, in any language."},
            "days": {"type": "integer", "description": "how many days ahead, 1 to 7.", "default": 1},
        },
        "required": ["city"],
    }
    assert json.dumps(weather.schema.parameters) == json.dumps(expected)  # the order too


def test_no_parameters() -> None:
    def ping() -> str:
        return "pong"

    assert parameters(ping) == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (str, {"type": "string"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict[str, Any], {"type": "object"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a"], {"type": "string", "enum": ["a"]}),
        (Colour, {"type": "string", "enum": ["red", "blue"]}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (date, {"type": "string", "format": "date"}),
        (Annotated[int, Field(ge=1, le=7)], {"type": "integer", "minimum": 1, "maximum": 7}),
        (Annotated[str, "a name"], {"type": "string", "description": "a name"}),
        (
            Place,
            {
                "type": "object",
                "properties": {"title": {"type": "string"}, "floor": {"type": "integer", "default": 0}},
                "required": ["title"],
            },
        ),
        (Filter, {"type": "object", "properties": {"field": {"type": "string"}, "limit": {"type": "integer"}}}),
        (Any, {}),
    ],
)
def test_type_hints(hint: Any, expected: dict[str, Any]) -> None:
    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": hint}
    assert parameters(function)["properties"]["value"] == expected


def test_an_optional_parameter_is_left_out_rather_than_null() -> None:
    def function(a: str | None = None, b: int | str | None = None, c: float | None = 2.5) -> None: ...

    assert parameters(function) == {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "c": {"type": "number", "default": 2.5},
        },
    }


def test_a_required_null_stays() -> None:
    def function(a: str | None) -> None: ...

    assert parameters(function)["properties"]["a"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}


def test_definitions_are_put_in_place_and_recursive_ones_kept() -> None:
    def function(place: Place, node: Node) -> None: ...

    schema = parameters(function)
    assert "$ref" not in json.dumps(schema["properties"]["place"])
    assert schema["properties"]["node"]["$ref"] == "#/$defs/Node"
    assert schema["$defs"] == {
        "Node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
            "required": ["name"],
        }
    }


def test_a_property_named_title_is_no_title() -> None:
    def function(title: str, schema: str, copy: int, model_config: int) -> None: ...

    assert list(parameters(function)["properties"]) == ["title", "schema", "copy", "model_config"]


def test_the_context_is_hidden() -> None:
    def function(a: int, context: Context, other: Context | None = None) -> None:
        """Do.

        Args:
            a: number.
            context: hidden.
        """

    assert list(parameters(function)["properties"]) == ["a"]


def test_hints_may_name_types_of_the_enclosing_function() -> None:
    @dataclass
    class Local:
        x: int

    @tool
    def with_decorator(value: Local) -> None: ...

    @tool(name="named")
    def with_arguments(value: Local) -> None: ...

    for made in (with_decorator, with_arguments):
        assert made.schema.parameters["properties"]["value"]["required"] == ["x"]


def test_without_a_hint_the_default_says_the_type() -> None:
    def function(a, b=3, c=None): ...

    assert parameters(function) == {
        "type": "object",
        "properties": {"a": {}, "b": {"type": "integer", "default": 3}, "c": {}},
        "required": ["a"],
    }


def test_defaults_that_json_cannot_show_are_left_out() -> None:
    odd: Any = object()
    number: int = Field(3, ge=1, description="c")

    def function(a: Colour = Colour.RED, b: Any = odd, c: int = number) -> None: ...

    assert parameters(function)["properties"] == {
        "a": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "b": {},
        "c": {"type": "integer", "description": "c", "default": 3, "minimum": 1},
    }


def test_any_further_names() -> None:
    def function(a: int, **more: int) -> None: ...

    assert parameters(function)["additionalProperties"] is True


@pytest.mark.parametrize("style", ["google", "numpy", "rest", "chinese"])
def test_docstring_styles(style: str) -> None:
    texts = {
        "google": """Find things.

            Over two lines
            of text.

            Args:
                name (str, optional): what to
                    look for: anything.
                *limit: how many.

            Returns:
                name: not a parameter.
            """,
        "numpy": """Find things.

            Over two lines
            of text.

            Parameters
            ----------
            name : str
                what to
                look for: anything.
            limit : int, optional
                how many.

            Returns
            -------
            list
                name
            """,
        "rest": """Find things.

            Over two lines
            of text.

            :param str name: what to
                look for: anything.
            :param limit: how many.
            :returns: nothing
            :rtype: str
            """,
        "chinese": """Find things.

            Over two lines
            of text.

            参数：
                name：what to look for: anything.
                limit：how many.
            """,
    }

    def function(name: str, limit: int) -> None: ...

    function.__doc__ = texts[style]
    made = as_tool(function)
    assert made.schema.description == "Find things.\nOver two lines of text."
    assert made.schema.parameters["properties"]["name"]["description"] == "what to look for: anything."
    assert made.schema.parameters["properties"]["limit"]["description"] == "how many."


def test_a_description_of_ones_own() -> None:
    @tool(name="other-name", description="Other.")
    def function(a: int) -> None:
        """Docstring."""

    assert (function.schema.name, function.schema.description) == ("other-name", "Other.")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: parameters(lambda *args: None), "take a list instead|cannot be the name"),
        (lambda: tool(name="my tool")(lambda: None), "my tool.*cannot be the name.*@tool"),
        (lambda: tool(cast("Any", "name")), "takes a function"),
        (lambda: tool(int), "takes a function"),
        (lambda: as_tool(cast("Any", 3)), "takes a function"),
        (lambda: tool(timeout=0)(print), "timeout"),
    ],
)
def test_what_cannot_be_a_tool_is_told_at_once(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?i){message}"):
        make()


def test_types_that_json_does_not_know_are_told_at_first_use() -> None:
    class Odd: ...

    @tool
    def function(value: Odd) -> None: ...

    with pytest.raises(ConfigurationError, match=r"tool function: .*JSON Schema.*Use JSON types"):
        _ = function.schema

    @tool
    def star(*values: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"cannot fill \*values"):
        _ = star.schema


def test_unknown_names_in_hints_are_told() -> None:
    def function(value: int) -> None: ...

    function.__annotations__ = {"value": "Missing"}
    with pytest.raises(ConfigurationError, match=r"'Missing'.*not known"):
        _ = as_tool(function).schema


def test_the_core_tools_are_those_that_the_pocket_model_was_trained_on() -> None:
    trained = json.loads((Path(__file__).parent / "fixtures/core-tools.json").read_text())
    by_name = {item["function"]["name"]: item["function"] for item in trained}
    for made in core_tools():
        schema = made.schema
        text = {"name": schema.name, "description": schema.description, "parameters": schema.parameters}
        assert json.dumps(text) == json.dumps(by_name[schema.name])  # the order too: the model has seen these bytes


def test_nothing_heavy_is_imported_before_a_call() -> None:
    code = inspect.cleandoc(
        """
        import sys
        from qianda.tools import files, tool
        @tool
        def f(a: int) -> int: return a
        assert "pydantic" not in sys.modules and "pydantic_core" not in sys.modules
        assert f.name == "f" and [item.name for item in files()][0] == "list_files"
        assert "pydantic" not in sys.modules
        f.schema, [item.schema for item in files()]
        assert "pydantic" not in sys.modules
        f.read_arguments('{"a": 1}')
        assert "pydantic" in sys.modules
        """
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Old(TypedDictOfPython):
    """A dictionary of the standard library's kind."""

    a: int
    b: NotRequired[str]


HINTS = strategies.recursive(
    strategies.sampled_from([str, int, float, bool, None, Any, list, dict, Colour, Literal["a", "b"], Literal[1, 2]]),
    lambda inner: strategies.one_of(
        inner.map(lambda hint: list[hint]),
        inner.map(lambda hint: dict[str, hint]),
        inner.map(lambda hint: hint | None if hint not in (None, Any) else hint),
        inner.map(lambda hint: Colour | hint if hint not in (None, Any) else hint),
        inner.map(lambda hint: Annotated[hint, "a text"]),
    ),
    max_leaves=4,
)


def sorted_choices(schema: Any) -> Any:
    """A schema without an order of its choices: Python takes ``list[int | str]`` for ``list[str | int]``."""
    if isinstance(schema, list):
        return [sorted_choices(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    done = {key: sorted_choices(item) for key, item in cast("dict[str, Any]", schema).items()}
    return {**done, "anyOf": sorted(done["anyOf"], key=repr)} if "anyOf" in done else done


@given(HINTS, strategies.booleans())
@settings(max_examples=60, deadline=None)
def test_the_schemas_of_plain_types_are_those_of_pydantic(hint: Any, required: bool) -> None:
    def function(value: Any) -> None: ...

    def with_default(value: Any = None) -> None: ...

    chosen = function if required else with_default
    chosen.__annotations__ = {"value": hint}
    signature = read_signature(chosen, name="f")
    expected = compact(TypeAdapter(signature.shape()).json_schema())
    assert sorted_choices(signature.full) == sorted_choices(expected)


async def test_a_typed_dict_of_the_standard_library() -> None:
    def function(one: Old, many: list[Old] | None = None) -> str:
        return f"{one} {many}"

    made = as_tool(function)
    expected = {
        "type": "object",
        "description": "A dictionary of the standard library's kind.",
        "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
        "required": ["a"],
    }
    assert made.schema.parameters["properties"]["one"] == expected
    assert made.schema.parameters["properties"]["many"]["items"] == expected
    result = await made.call({"one": {"a": 1}, "many": [{"a": 2, "b": "x"}]}, Context())
    assert result.content == "{'a': 1} [{'a': 2, 'b': 'x'}]"
