"""The Berkeley Function Calling Leaderboard's tools and answers; ``tests/system/setup_bfcl.sh`` fetches its data.

8,726 tools with dotted names and types such as ``dict`` and ``float``, and 3,556 answers: calls, or plain text.
"""

from __future__ import annotations

import ast
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest
from mcp_types import Tool as WireTool

from qianda.models.errors import ToolError
from qianda.models.formats.writing import write_hermes, write_xml
from qianda.models.messages import ToolCall
from qianda.models.reader import ReplyReader
from qianda.models.reply import Reply, merge
from qianda.tools.mcp import MCPServer
from qianda.tools.mcp.connection import MCPConnection
from qianda.tools.mcp.mcp_tool import MCPTool, model_name

# Read before the tests get a home of their own.
PARTS = Path(os.environ.get("QIANDA_PARTS") or Path.home() / ".cache/qianda-parts") / "bfcl"
JSON_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}

Row = dict[str, Any]
Arguments = dict[str, Any]

pytestmark = [pytest.mark.pypi, pytest.mark.timeout(180)]


@pytest.fixture
def data() -> Path:
    """The folder of the data; nothing of the package is imported."""
    found = PathFinder.find_spec("bfcl_eval", [str(PARTS)])
    if found is None or found.origin is None:
        pytest.skip("the data of bfcl-eval are not here: tests/system/setup_bfcl.sh")
    return Path(found.origin).parent / "data"


def rows(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


@cache
def questions(data: Path) -> dict[str, Row]:
    """All questions by id; one file is no list of questions."""
    files = [file for file in data.glob("BFCL_*.json") if "format_sensitivity" not in file.name]
    return {row["id"]: row for file in files for row in rows(file)}


@cache
def tool_of(function: str, name: str) -> MCPTool:
    """The tool for a function, given as JSON text, as if an MCP server offered it; made once, for many are the same."""
    described: Row = json.loads(function)
    wire = WireTool(name=described["name"], description=described["description"], input_schema=described["parameters"])
    server = MCPServer("bfcl", ("not-started",))
    connection = MCPConnection(server, workspace=Path(), notify=lambda _: None, changed=lambda: None)
    return MCPTool.of(wire, connection, name=name)


def as_tools(functions: list[Row]) -> dict[str, MCPTool]:
    """Functions of one question as tools, by the functions' own names."""
    tools: dict[str, MCPTool] = {}
    for function in functions:
        name = model_name("bfcl", function["name"], {tool.name for tool in tools.values()})
        tools[function["name"]] = tool_of(json.dumps(function), name)
    return tools


@cache
def documented(data: Path) -> dict[str, MCPTool]:
    """What conversations of several turns may call."""
    return as_tools([row for file in sorted((data / "multi_turn_func_doc").glob("*.json")) for row in rows(file)])


def types_in(schema: Any) -> Iterator[str]:
    """Every type that a schema names, at any depth."""
    if isinstance(schema, dict):
        named = schema.get("type", [])
        yield from [named] if isinstance(named, str) else named
        for child in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
            yield from types_in(child)


def test_all_8726_tools_get_a_valid_name_and_a_valid_schema(data: Path) -> None:
    seen = 0
    for row in questions(data).values():
        functions = row.get("function", [])
        tools = as_tools(functions)
        assert len({tool.name for tool in tools.values()}) == len({function["name"] for function in functions}), row[
            "id"
        ]
        for function in functions:
            seen += 1
            tool = tools[function["name"]]
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool.name)
            assert tool.wire_name == function["name"]
            assert tool.parameters["properties"].keys() == function["parameters"]["properties"].keys()
            assert set(types_in(tool.schema.parameters)) <= JSON_TYPES, function
            assert tool._validator is not None, function  # jsonschema takes it
    assert seen == 8726


def chosen(value: Any, schema: Any, turn: int) -> Any:
    """One value of an answer; inside objects, lists hold what may stand there, "" what may be left out."""
    if schema.get("type") == "object" and isinstance(value, dict):
        properties = schema.get("properties", {})
        return {
            key: chosen(allowed[turn % len(allowed)], properties.get(key, {}), turn)
            for key, listed in value.items()
            if (allowed := [item for item in listed if item != ""] if isinstance(listed, list) else [listed])
        }
    if schema.get("type") == "array" and isinstance(value, list):
        return [chosen(item, schema.get("items", {}), turn) for item in value]
    return value


def answers_to(
    row: Row, question: Row, data: Path
) -> Iterator[tuple[dict[str, MCPTool], str, list[tuple[str, Arguments]]]]:
    """The replies that an answer allows: the tools, the text, and the calls by the functions' names."""
    truth: list[Any] = row["ground_truth"]
    if isinstance(truth[0], str):
        for text in truth:
            yield documented(data), text, []
        return
    if isinstance(truth[0], list):
        tools = documented(data)
        for turn in truth:
            yield tools, "", [call_in(line, tools) for line in turn]
        return
    tools = as_tools(question["function"])
    parts = [(name, options) for call in truth for name, options in call.items()]
    for turn in range(max([len(option) for _, options in parts for option in options.values()] or [1])):
        wrapped = [(name, {"type": "object", "properties": tools[name].parameters["properties"]}) for name, _ in parts]
        yield (
            tools,
            "",
            [
                (name, chosen(options, schema, turn))
                for (name, options), (_, schema) in zip(parts, wrapped, strict=True)
            ],
        )


def call_in(line: str, tools: dict[str, MCPTool]) -> tuple[str, Arguments]:
    """A call that is written as Python; arguments without a name are named by their place."""
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    names = list(tools[call.func.id].parameters["properties"])
    named = {str(keyword.arg): keyword.value for keyword in call.keywords}
    placed = dict(zip(names, call.args, strict=False))
    return call.func.id, {key: ast.literal_eval(value) for key, value in {**placed, **named}.items()}


def streamed(text: str, tools: dict[str, MCPTool], dice: random.Random) -> Reply:
    """The reply that is read of a text in random pieces."""
    reader = ReplyReader(tools=[tool.schema for tool in tools.values()], thinking_open=False)
    cuts = sorted(dice.sample(range(len(text)), min(len(text), dice.choice((0, 1, 3, 12)))))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    found = [piece for part in pieces for piece in reader.feed({"choices": [{"delta": {"content": part}}]})]
    found += reader.feed({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    return merge(found + reader.close())


def spoken(arguments: Arguments, tool: MCPTool) -> Arguments:
    """An answer's arguments without the nulls that stand for nothing."""
    optional = set(arguments) - set(tool.parameters["required"])
    silent = {
        key for key in optional if arguments[key] is None and "type" in tool.parameters["properties"].get(key, {})
    }
    return {key: value for key, value in arguments.items() if key not in silent}


def sayable(arguments: Arguments, tool: MCPTool) -> bool:
    """Whether the XML format can say them: not the string "null" where null may stand, nor a number of any type."""
    properties, required = tool.parameters["properties"], tool.parameters["required"]
    for key, value in arguments.items():
        untyped = "type" not in properties.get(key, {})
        if (value == "null" and (untyped or key not in required)) or (untyped and isinstance(value, int | float)):
            return False
    return True


@pytest.mark.parametrize(("write", "unsayable"), [(write_hermes, 0), (write_xml, 30)], ids=["hermes", "xml"])
def test_all_3556_answers_survive_the_way_through_text(
    data: Path, write: Callable[[ToolCall], str], unsayable: int
) -> None:
    dice = random.Random(7)
    counts = Counter[str]()
    for file in sorted((data / "possible_answer").glob("*.json")):
        for row in rows(file):
            counts["answers"] += 1
            for tools, text, wanted in answers_to(row, questions(data)[row["id"]], data):
                written = [write(ToolCall("", tools[name].name, json.dumps(given))) for name, given in wanted]
                reply = streamed("\n".join([text, *written]), tools, dice)
                assert reply.text == text, row["id"]
                assert [call.name for call in reply.calls] == [tools[name].name for name, _ in wanted], row["id"]
                for call, (name, given) in zip(reply.calls, wanted, strict=True):
                    counts[outcome(call.arguments, spoken(given, tools[name]), tools[name], write)] += 1
    assert counts == Counter(
        {
            "answers": 3556,
            "same": 10_575 - unsayable,
            "cannot be said in XML": unsayable,
            "contradicts its own schema: made to fit": 46,
            "contradicts its own schema: refused": 127,
        }
    )


def outcome(written: str, said: Arguments, tool: MCPTool, write: Callable[[ToolCall], str]) -> str:
    """What became of a call: what was said comes out, unless it contradicts the function's own schema."""
    assert tool._validator is not None
    fits = tool._validator.is_valid(said)
    try:
        read = tool.read_arguments(written)
    except ToolError as caught:
        why = str(caught)
        named = "is missing" in why or any(f'"{key}' in why for key in said)
        return "contradicts its own schema: refused" if named and not fits else why
    if not fits:
        return "contradicts its own schema: made to fit" if tool._validator.is_valid(read) else "invalid"
    if read == said:
        return "same"
    return "cannot be said in XML" if write is write_xml and not sayable(said, tool) else f"{read} in place of {said}"
