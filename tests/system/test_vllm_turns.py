"""Every turn that a model may write, through the parsers of a real vLLM to an agent: Hermes and XML, JSON and SSE."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from qianda import Agent, Sampling
from qianda.models.events import CallFailed

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

Done = tuple[str, dict[str, Any]]


def hermes(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


def xml(name: str, end: str = "</function>\n</tool_call>", **values: str) -> str:
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function={name}>\n{parameters}{end}"


@dataclass(frozen=True)
class Case:
    """What the model writes, and the calls that come of it.

    Args:
        text: the reply.
        calls: those that are run.
        again: the model is told what is wrong and asked again, when streaming, when not.
        answer: the run's end; "" for the one after the calls.
    """

    text: str
    calls: list[Done]
    again: tuple[bool, bool] = (False, False)
    max_tokens: int | None = None


READ = ("read_file", {"path": "a.txt"})
TAG = ("write_file", {"path": "a.txt", "content": "the tag </tool_call> ends it"})
GOOD_JSON = '{"name": "read_file", "arguments": {"path": "a.txt"}}'
PARIS, TOKYO = ("get_weather", {"city": "Paris"}), ("get_weather", {"city": "東京"})

HERMES = {
    "one": Case(hermes(GOOD_JSON), [READ]),
    "text before": Case(f"I read it.\n{hermes(GOOD_JSON)}", [READ]),
    "parallel": Case(
        hermes('{"name": "get_weather", "arguments": {"city": "Paris"}}')
        + "\n"
        + hermes('{"name": "get_weather", "arguments": {"city": "東京"}}'),
        [PARIS, TOKYO],
    ),
    "no arguments": Case(hermes('{"name": "get_time", "arguments": {}}'), [("get_time", {})]),
    "numbers": Case(hermes('{"name": "add", "arguments": {"a": 19, "b": "23"}}'), [("add", {"a": 19, "b": 23})]),
    "trailing comma": Case(hermes('{"name": "read_file", "arguments": {"path": "a.txt", }}'), [READ]),
    "a brace short": Case(hermes('{"name": "read_file", "arguments": {"path": "a.txt"}'), [READ]),
    "stops amid": Case('<tool_call>\n{"name": "read_file", "arguments": {"path": "a.t', [READ], (True, True)),
    "arguments first": Case(hermes('{"arguments": {"path": "a.txt"}, "name": "read_file"}'), [READ]),
    "end tag in a string": Case(
        hermes('{"name": "write_file", "arguments": {"path": "a.txt", "content": "the tag </tool_call> ends it"}}'),
        [TAG],
        (True, False),
    ),
    "array": Case(
        hermes(
            '[{"name": "get_weather", "arguments": {"city": "Paris"}}, '
            '{"name": "get_weather", "arguments": {"city": "東京"}}]'
        ),
        [PARIS, TOKYO],
    ),
    "no arguments key": Case(hermes('{"name": "get_time"}'), [("get_time", {})]),
    "null arguments": Case(hermes('{"name": "get_time", "arguments": null}'), [("get_time", {})]),
    "arguments in a string": Case(hermes('{"name": "read_file", "arguments": "{\\"path\\": \\"a.txt\\"}"}'), [READ]),
    "single quotes": Case(hermes("{'name': 'read_file', 'arguments': {'path': 'a.txt'}}"), [READ]),
    "other format": Case(xml("read_file", path="a.txt"), [READ]),
    "one good, one broken": Case(
        hermes(GOOD_JSON) + "\n" + hermes('{"name": "get_weather", "arguments": {"city": "Paris", }}'), [READ, PARIS]
    ),
    "no end tag": Case(f"<tool_call>\n{GOOD_JSON}", [READ]),
    "cut": Case(
        hermes('{"name": "write_file", "arguments": {"path": "a.txt", "content": "' + "long " * 100 + '"}}'),
        [READ],
        (True, True),
        max_tokens=90,
    ),
    "unknown tool": Case(hermes('{"name": "read_flie", "arguments": {"path": "a.txt"}}'), [READ], (True, True)),
}
XML = {
    "one": Case(xml("read_file", path="a.txt"), [READ]),
    "text before": Case("I read it.\n\n" + xml("read_file", path="a.txt"), [READ]),
    "parallel": Case(xml("get_weather", city="Paris") + "\n" + xml("get_weather", city="東京"), [PARIS, TOKYO]),
    "no arguments": Case(xml("get_time"), [("get_time", {})]),
    "numbers": Case(xml("add", a="19", b="23"), [("add", {"a": 19, "b": 23})]),
    "lines": Case(
        xml("write_file", path="a.txt", content='{"a": 1}\n  <b>\n'),
        [("write_file", {"path": "a.txt", "content": '{"a": 1}\n  <b>\n'})],
    ),
    "no wrapper": Case("<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>", [READ]),
    "no end of a value": Case(
        "<tool_call>\n<function=read_file>\n<parameter=path>\na.txt\n</function>\n</tool_call>", [READ], (True, True)
    ),
    "no end tags": Case(xml("read_file", end="", path="a.txt"), [READ]),
    "stops amid": Case("<tool_call>\n<function=read_file>\n<parameter=path>\na.t", [READ], (True, True)),
    "cut": Case(xml("write_file", path="a.txt", content="long " * 100), [READ], (True, True), max_tokens=90),
    "unknown tool": Case(xml("read_flie", path="a.txt"), [READ], (True, True)),
}
CASES = [("hermes", name, case) for name, case in HERMES.items()] + [("xml", name, case) for name, case in XML.items()]
RIGHT = {"hermes": hermes(GOOD_JSON), "xml": xml("read_file", path="a.txt")}
RIGHT_TAG = hermes(
    '{"name": "write_file", "arguments": {"path": "a.txt", "content": "the tag <\\/tool_call> ends it"}}'
)


def desk(calls: list[Done]) -> list[Callable[..., str]]:
    """Tools that only note how they are called."""

    def read_file(path: str) -> str:
        """Read a file."""
        calls.append(("read_file", {"path": path}))
        return "Hello."

    def write_file(path: str, content: str) -> str:
        """Write a file."""
        calls.append(("write_file", {"path": path, "content": content}))
        return "Written."

    def get_weather(city: str) -> str:
        """The weather."""
        calls.append(("get_weather", {"city": city}))
        return "Sunny."

    def get_time() -> str:
        """The time."""
        calls.append(("get_time", {}))
        return "Noon."

    def add(a: int, b: int) -> str:
        """Add."""
        calls.append(("add", {"a": a, "b": b}))
        return str(a + b)

    return [read_file, write_file, get_weather, get_time, add]


@pytest.mark.parametrize("thinking", [True, False], ids=["thinking", "not thinking"])
@pytest.mark.parametrize("streaming", [True, False], ids=["SSE", "JSON"])
@pytest.mark.parametrize(
    ("vllm", "case"), [(c, case) for c, _, case in CASES], indirect=["vllm"], ids=[f"{c}-{n}" for c, n, _ in CASES]
)
async def test_a_turn(vllm: Any, case: Case, streaming: bool, thinking: bool) -> None:
    again = case.again[0 if streaming else 1]
    right = RIGHT_TAG if case.calls == [TAG] else RIGHT[vllm.configuration]
    turns = [case.text, *[right] * again, "All is done."]
    marker = vllm.say(*({"thought": "I look at what is asked.", "text": text} for text in turns))
    calls: list[Done] = []
    sampling = Sampling(max_tokens=case.max_tokens) if case.max_tokens else None
    agent = Agent(
        server=vllm.url,
        model=vllm.models[0],
        tools=desk(calls),
        streaming=streaming,
        thinking=thinking,
        sampling=sampling,
    )
    async with agent.stream(f"Do it. {marker}") as run:
        events = [event async for event in run]
    assert calls == case.calls
    assert run.result.output == "All is done."
    assert sum(isinstance(event, CallFailed) for event in events) == again
