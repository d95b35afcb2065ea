"""The recorded traffic of a real vLLM: every chat completion is read; JSON and SSE of a turn give the same reply."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qianda.models.messages import ToolSchema, Usage
from qianda.models.reader import ReplyReader
from qianda.models.reply import Reply, merge

WIRE = Path(__file__).parent / "fixtures" / "wire" / "vllm-0.32"


def halves(path: Path) -> tuple[str, str]:
    head, _, body = path.read_bytes().replace(b"\r\n", b"\n").decode().partition("\n\n")
    return head, body


def is_chat(path: Path) -> bool:
    return halves(path.with_name(path.name.replace(".resp.", ".req.")))[0].startswith("POST /v1/chat/completions")


TURNS = {path.name.removesuffix(".resp.http"): path for path in sorted(WIRE.glob("*.resp.http")) if is_chat(path)}


def read(name: str) -> Reply:
    path = TURNS[name]
    request = json.loads(halves(path.with_name(f"{name}.req.http"))[1])
    functions: list[dict[str, Any]] = [tool["function"] for tool in request.get("tools", [])]
    tools = [ToolSchema(tool["name"], tool["description"], tool["parameters"]) for tool in functions]
    reader = ReplyReader(tools=tools, thinking_open=False)
    head, body = halves(path)
    if "text/event-stream" not in head:
        return merge(reader.read_response(json.loads(body)))
    events = [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    pieces = [piece for event in events[:-1] for piece in reader.feed(json.loads(event))]
    return merge(pieces + reader.close())


def comparable(reply: Reply) -> Reply:
    """Without what is another one in each request."""
    return replace(reply, usage=Usage(), calls=tuple(replace(call, id="") for call in reply.calls))


PARIS, TOKYO = ("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Tokyo"})
NOTES = ("read_file", {"path": "notes.txt"})
LIST = {"name": "list_dir", "arguments": {"path": "docs", "content": {"name": "Ann", "arguments": {"command": "docs"}}}}
CALLS: dict[str, list[tuple[str, Any]]] = {
    **{key: [NOTES] for key in ("02", "03", "14", "16", "17", "23", "24", "27", "29", "36")},
    "04": [PARIS, TOKYO],
    **{key: [PARIS] for key in ("05", "06", "21", "22")},
    **{key: [("add", LIST), ("read_file", {"path": "missing.md"})] for key in ("07", "08")},
    "09": [("list_dir", {"path": "src/main.py"})],
    "10": [("list_dir", {"path": "docs"})],
    "11": [("read_file", {"path": "src/main.py"})],
    "15": [("list_dir", {"path": "x"})],
}
BROKEN = {
    **{key: [("read_file", '{"path": "notes.txt')] for key in ("19", "20")},
    **{key: [("get_weather", '{"city":')] for key in ("21", "22")},
}
FRANCE, SHOPPING = "The capital of France is **Paris**.", "The file notes.txt contains a short shopping list."
TEXT = {
    **dict.fromkeys(("01", "26", "28"), FRANCE),
    "25": "Recovered after the missing brace.",
    **dict.fromkeys(("30", "31", "32", "34"), '{"name": "Alice", "age": 30}'),
    "33": '{"name": "read_file", "age": 30}',
    **dict.fromkeys(("38", "39", "40", "41", "42", "43"), SHOPPING),
}
CUT = ("18", "19", "20", "21", "22", "37")


def test_there_are_43_recorded_turns() -> None:
    assert len(TURNS) == 43


@pytest.mark.parametrize("name", TURNS)
def test_every_recorded_turn_is_read(name: str) -> None:
    number, reply = name[:2], read(name)
    assert reply.text == TEXT.get(number, "")
    found = [(call.name, json.loads(call.arguments)) for call in reply.calls]
    if number in ("12", "13"):
        assert [(call, sorted(arguments)) for call, arguments in found] == [
            ("read_file", ["age", "b", "content", "path"])
        ]
    else:
        assert found == CALLS.get(number, [])
    assert [(call.name, call.text) for call in reply.broken] == BROKEN.get(number, [])
    assert reply.finish == ("length" if number in CUT else "tool_calls" if found else "stop")
    assert all(call.id for call in reply.calls)


@pytest.mark.parametrize("name", [name for name in TURNS if name.endswith("_stream") and name[:2] not in ("04", "29")])
def test_json_and_sse_of_a_turn_give_the_same_reply(name: str) -> None:
    twin = next(other for other in TURNS if other[3:] == name[3:].removesuffix("_stream"))
    assert comparable(read(name)) == comparable(read(twin))


def test_usage_of_a_stream_comes_in_a_chunk_without_choices() -> None:
    assert read("03_auto_read_stream").usage == Usage(585, 33, 9, 0, 1)
    assert read("02_auto_read").usage == Usage(585, 33, 9, 0, 1)


def test_reasoning_is_read() -> None:
    assert read("03_auto_read_stream").reasoning == read("02_auto_read").reasoning == "I need to read the file first."
