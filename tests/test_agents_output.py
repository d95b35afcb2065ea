"""Answers of a type: what is asked of the model, what is read from its answers, and how it is asked again."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict

from qianda import Agent, AssistantMessage, ConfigurationError, LimitReached, Limits, ModelOutputError, RunResult, tool
from qianda.agents.output import Output
from qianda.models.events import CallFinished, Notice, RunFinished, TextDelta
from qianda.models.servers import server_kinds
from qianda.testing import Call, ScriptedServer, Turn


class Trip(BaseModel):
    """A journey."""

    city: str
    days: int = Field(ge=1, description="how long")
    tags: list[str] = []

    @field_validator("city")
    @classmethod
    def somewhere(cls, city: str) -> str:
        if city == "Atlantis":
            raise ValueError("there is no Atlantis")
        return city


@dataclass
class Point:
    x: float
    y: float


class Row(TypedDict):
    name: str
    when: date


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


TRIP = Trip(city="杭州", days=3)
TRIP_JSON = '{"city": "杭州", "days": 3}'


@tool
async def weather(city: str) -> str:
    """Weather forecast."""
    return f"sunny in {city}"


def fields_of(request: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: request[name] for name in names if name in request}


# Without tools: the server's grammar.


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_server_is_given_the_schema_and_the_model_is_told(streaming: bool) -> None:
    async with ScriptedServer(TRIP_JSON) as server:
        agent = Agent(server=server.url, instructions="You plan.", output_type=Trip, streaming=streaming)
        result = await agent.run("Where to?")
    assert result.output == TRIP
    assert result.finish == "done"
    request = server.requests[0]
    held = request["response_format"]
    schema = held["json_schema"].pop("schema")
    assert held == {"type": "json_schema", "json_schema": {"name": "answer", "strict": True}}
    assert schema["required"] == ["city", "days"]
    assert schema["properties"]["days"] == {"type": "integer", "description": "how long", "minimum": 1}
    system = request["messages"][0]["content"]
    assert system.startswith("You plan.\n\nAnswer with JSON alone")
    assert json.loads(system.rpartition("\n")[2]) == schema
    assert "tools" not in request


@pytest.mark.parametrize(
    ("output_type", "said", "value"),
    [
        (Trip, TRIP_JSON, TRIP),
        (Point, '{"x": 1, "y": 2.5}', Point(1.0, 2.5)),
        (Row, '{"name": "a", "when": "2026-11-22"}', {"name": "a", "when": date(2026, 11, 22)}),
        (Tree, '{"name": "a", "children": [{"name": "b"}]}', Tree(name="a", children=[Tree(name="b")])),
        (list[Point], '{"answer": [{"x": 1, "y": 2}]}', [Point(1, 2)]),
        (list[Point], '[{"x": 1, "y": 2}]', [Point(1, 2)]),
        (set[int], "[1, 2, 2]", {1, 2}),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (int, '{"answer": 42}', 42),
        (int, "42", 42),
        (float, "The result is:\n```json\n1.5\n```", 1.5),
        (bool, "true", True),
        (Mood, "good", Mood.GOOD),
        (Literal["yes", "no"], "yes", "yes"),
        (Literal["yes", "no"], '{"answer": "no"}', "no"),
        (Trip | None, "null", None),
        (Trip | Point, '{"answer": {"x": 1, "y": 2}}', Point(1, 2)),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (Annotated[int, Field(gt=3)], "4", 4),
    ],
)
async def test_any_type_that_pydantic_validates(output_type: Any, said: str, value: Any) -> None:
    async with ScriptedServer(said) as server:
        result = await Agent(server=server.url, output_type=output_type).run("Go")
    assert result.output == value
    assert type(result.output) is type(value)
    schema = server.requests[0]["response_format"]["json_schema"]["schema"]
    assert schema["type"] == "object"


@pytest.mark.parametrize(
    "said",
    [
        TRIP_JSON,
        f"  {TRIP_JSON}\n",
        f"Here you are:\n```json\n{TRIP_JSON}\n```\nHave fun!",
        f"```\n{TRIP_JSON}\n```",
        f"The trip is {TRIP_JSON}, I hope [that] {{fits}}.",
        f'For example {{"city": "Rome"}}, but you want {TRIP_JSON}',
        '{"city": "杭州", "days": "3"}',
        "{'city': '杭州', 'days': 3,}",
        '{"city": "杭州", "days": 3',
        '{"city": "杭州", "days": 3, "tags": []}',
        "<city>杭州</city> for <days>3</days> days",
        "<trip>\n<city>\n杭州\n</city>\n<days>3</days>\n</trip>",
    ],
)
async def test_an_answer_is_read_in_whatever_it_is_wrapped(said: str) -> None:
    async with ScriptedServer(said) as server:
        result = await Agent(server=server.url, output_type=Trip).run("Go")
    assert result.output == TRIP
    assert len(server.requests) == 1


async def test_events_hold_the_json_and_the_conversation_the_models_words() -> None:
    said = f"Here:\n```json\n{TRIP_JSON}\n```"
    async with ScriptedServer(said) as server, Agent(server=server.url, output_type=Trip).stream("Go") as run:
        events = [event async for event in run]
    assert isinstance(events[-1], RunFinished)
    assert events[-1].output == TRIP_JSON
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == said
    result: RunResult[Trip] = run.result
    assert result.output.city == "杭州"
    assert result.messages[-1] == AssistantMessage(said)


# What does not fit is asked for again.


async def test_the_exact_problems_are_told() -> None:
    bad = '{"city": "Atlantis", "days": 0}'
    async with ScriptedServer(bad, TRIP_JSON) as server, Agent(server=server.url, output_type=Trip).stream("Go") as run:
        events = [event async for event in run]
    assert run.result.output == TRIP
    told = server.requests[1]["messages"][-1]
    assert told["role"] == "user"
    assert told["content"] == (
        "Your answer could not be used: \"city\" there is no Atlantis (got 'Atlantis'), "
        '"days" should be greater than or equal to 1 (got 0). '
        'Give it again, with JSON alone: {"city": string, "days": integer, "tags"?: [string, …]}'
    )
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert "asked for again" in notice
    assert "response_format" in server.requests[1]


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("I do not know.", "it holds no JSON"),
        ('{"city": "Rome"}', '"days" is missing'),
        ("<city>Rome</city>", '"days" is missing'),
        ("[1, 2]", '"answer" should be'),
    ],
)
async def test_three_tries_and_no_more(said: str, problem: str) -> None:
    async with ScriptedServer(default=said) as server:
        with pytest.raises(ModelOutputError) as caught:
            await Agent(server=server.url, output_type=Trip).run("Go")
    assert len(server.requests) == 3
    assert str(caught.value).startswith(f"The model's answer is no Trip in 3 tries: {problem}")
    assert caught.value.cure


async def test_an_answer_that_was_cut_is_not_mended() -> None:
    async with ScriptedServer(Turn('{"city": "杭州", "days": 3', finish="length")) as server:
        with pytest.raises(ModelOutputError, match=r"cut at the output limit.*max_tokens"):
            await Agent(server=server.url, output_type=Trip).run("Go")


async def test_while_thinking_where_that_excludes_a_grammar_only_the_last_try_has_it() -> None:
    script = ["First I think.", "Still thinking.", TRIP_JSON]
    async with ScriptedServer(*script) as server:
        endpoint = await Agent(server=server.url).endpoint()
        held = replace(endpoint, kind=server_kinds()["llamacpp"])
        result = await Agent(server=held, output_type=Trip, thinking=True).run("Go")
    assert result.output == TRIP
    names = ("response_format", "chat_template_kwargs")
    first, second, last = (fields_of(request, *names) for request in server.requests)
    assert first == second == {"chat_template_kwargs": {"enable_thinking": True}}
    assert last["chat_template_kwargs"] == {"enable_thinking": False}
    assert last["response_format"]["type"] == "json_schema"


# With tools: a tool that takes the answer.


def answer(arguments: Any, *more: Call) -> Turn:
    return Turn(calls=[*more, Call("final_answer", arguments)])


async def test_with_tools_the_answer_is_a_call() -> None:
    calls = Turn(calls=[Call("weather", {"city": "杭州"})])
    async with (
        ScriptedServer(calls, answer({"city": "杭州", "days": "3"})) as server,
        Agent(server=server.url, tools=[weather], output_type=Trip).stream("Go") as run,
    ):
        events = [event async for event in run]
    assert run.result.output == TRIP
    for request in server.requests:
        assert "response_format" not in request
        assert [item["function"]["name"] for item in request["tools"]] == ["weather", "final_answer"]
        assert request["tools"][1]["function"]["parameters"]["required"] == ["city", "days"]
        assert "final_answer" in request["messages"][0]["content"]
    assert isinstance(events[-1], RunFinished)
    assert json.loads(events[-1].output) == {"city": "杭州", "days": 3}
    assert [event.name for event in events if isinstance(event, CallFinished)] == ["weather", "final_answer"]
    assert isinstance(run.result.messages[-1], AssistantMessage)


async def test_an_answer_that_is_no_object_is_wrapped_for_the_call() -> None:
    async with ScriptedServer(answer({"answer": ["a", "b"]})) as server:
        result = await Agent(server=server.url, tools=[weather], output_type=list[str]).run("Go")
    assert result.output == ["a", "b"]
    parameters = server.requests[0]["tools"][1]["function"]["parameters"]
    assert parameters["properties"] == {"answer": {"type": "array", "items": {"type": "string"}}}


async def test_a_long_answer_is_not_shortened() -> None:
    async with ScriptedServer(answer({"answer": "x" * 50_000})) as server:
        result = await Agent(server=server.url, tools=[weather], output_type=Annotated[str, Field(min_length=1)]).run(
            "Go"
        )
    assert result.output == "x" * 50_000


async def test_a_call_that_does_not_fit_is_told_why() -> None:
    async with ScriptedServer(answer({"city": "Rome"}), answer(TRIP_JSON)) as server:
        result = await Agent(server=server.url, tools=[weather], output_type=Trip).run("Go")
    assert result.output == TRIP
    told = server.requests[1]["messages"][-1]
    assert told["role"] == "tool"
    assert told["content"].startswith('final_answer: "days" is missing; expected {"city": string')


async def test_text_where_a_call_was_wanted_is_taken_when_it_fits() -> None:
    async with ScriptedServer(TRIP_JSON) as server:
        result = await Agent(server=server.url, tools=[weather], output_type=Trip).run("Go")
    assert result.output == TRIP


async def test_other_text_is_answered_with_what_to_call_and_the_last_try_is_held_to_the_schema() -> None:
    async with ScriptedServer("It is nice there.", "Really.", TRIP_JSON) as server:
        result = await Agent(server=server.url, tools=[weather], output_type=Trip).run("Go")
    assert result.output == TRIP
    _, second, last = server.requests
    assert "by calling final_answer with" in second["messages"][-1]["content"]
    assert "tools" in second
    assert "response_format" not in second
    assert "tools" not in last
    assert "response_format" in last
    assert "with JSON alone" in last["messages"][-1]["content"]


async def test_an_answer_beside_a_call_that_failed_does_not_count() -> None:
    @tool
    async def bad() -> str:
        """Fails."""
        raise ValueError("no")

    async with ScriptedServer(answer(TRIP_JSON, Call("bad")), answer({"city": "Rome", "days": 1})) as server:
        result = await Agent(server=server.url, tools=[bad], output_type=Trip).run("Go")
    assert result.output.city == "Rome"


async def test_what_is_said_meanwhile_is_heard_before_the_end() -> None:
    async with (
        ScriptedServer(TRIP_JSON, '{"city": "Rome", "days": 1}') as server,
        Agent(server=server.url, output_type=Trip).stream("Go") as run,
    ):
        async for event in run:
            if isinstance(event, TextDelta) and len(server.requests) == 1 and not run.has_steering:
                run.steer("Rome, for one day")
    assert run.result.output == Trip(city="Rome", days=1)


async def test_a_session_goes_on_after_an_answer_by_call(tmp_path: Path) -> None:
    async with ScriptedServer(answer(TRIP_JSON), answer({"city": "Rome", "days": 1})) as server:

        def opened() -> Agent[Trip]:
            return Agent(server=server.url, tools=[weather], output_type=Trip, journal=tmp_path / "j.db")

        first = await opened().session("trip").run("Go")
        second = opened().session("trip")
        assert [message.role for message in second.messages] == ["user", "assistant", "tool", "assistant"]
        assert json.loads(str(second.messages[-1].content)) == {"city": "杭州", "days": 3}
        result: RunResult[Trip] = await second.run("Another")
    assert (first.output, result.output.city) == (TRIP, "Rome")
    assert [message["role"] for message in server.requests[1]["messages"]][-3:] == ["tool", "assistant", "user"]


# Fields as XML tags, when the type asks.


class Note(BaseModel):
    title: str
    body: str = Field(description="Markdown")
    stars: int | None = None
    links: list[str] = []
    place: Point | None = None


@pytest.mark.parametrize("tools", [[], [weather]])
async def test_tags_are_asked_for_and_read(tools: Sequence[Any]) -> None:
    said = (
        "Sure!\n<title>If a < b & {c}</title>\n<body>\n# A\n\n```json\n{}\n```\n</body>\n<stars>4</stars>"
        "<links>a</links><links>b</links><place><x>1</x><y>2</y></place>"
    )
    async with ScriptedServer(said) as server:
        result = await Agent(server=server.url, tools=tools, output_type=Annotated[Note, "xml"]).run("Go")
    note: Note = result.output
    assert note == Note(
        title="If a < b & {c}", body="# A\n\n```json\n{}\n```", stars=4, links=["a", "b"], place=Point(1, 2)
    )
    request = server.requests[0]
    assert "response_format" not in request
    assert len(request.get("tools", [])) == len(tools)
    assert "<title>string</title>\n<body>Markdown</body>" in request["messages"][0]["content"]


async def test_missing_tags_are_asked_for_again() -> None:
    async with ScriptedServer("<title>T</title>", "<title>T</title><body>B</body>") as server:
        result = await Agent(server=server.url, output_type=Annotated[Note, "xml"]).run("Go")
    assert result.output == Note(title="T", body="B")
    told = server.requests[1]["messages"][-1]["content"]
    assert '"body" is missing. Give it again, in these XML tags:\n<title>string</title>' in told


# Refusals, and what stays as it was.


async def test_text_stays_text() -> None:
    async with ScriptedServer(TRIP_JSON) as server:
        result = await Agent(server=server.url).run("Go")
    text: str = result.output
    assert text == TRIP_JSON
    assert "response_format" not in server.requests[0]


def test_a_type_that_has_no_schema_is_refused_at_once() -> None:
    class Odd:
        pass

    with pytest.raises(ConfigurationError, match="output_type=Odd cannot be described"):
        Agent(output_type=Odd)


async def test_a_tool_of_the_same_name_is_refused() -> None:
    @tool
    async def final_answer() -> str:
        """Mine."""
        return ""

    async with ScriptedServer("x") as server:
        with pytest.raises(ConfigurationError, match="final_answer"):
            await Agent(server=server.url, tools=[final_answer], output_type=Trip).run("Go")


async def test_a_run_that_was_cut_short_has_no_output() -> None:
    async with ScriptedServer(default=Turn(calls=[Call("weather", {"city": "Rome"})])) as server:
        agent = Agent(server=server.url, tools=[weather], output_type=Trip, limits=Limits(turns=2))
        with pytest.raises(LimitReached) as caught:
            await agent.run("Go")
    assert caught.value.result.output is None


@given(
    st.builds(Trip, city=st.text().filter(lambda city: city != "Atlantis"), days=st.integers(1)),
    st.text(alphabet="ab {}[]`\"<>\n'", max_size=20),
    st.text(alphabet="ab {}[]`\"<>\n'", max_size=20),
)
def test_a_value_in_a_fence_is_found_amid_any_text(trip: Trip, before: str, after: str) -> None:
    reader = Output[Trip](Trip)
    assert reader.read(trip.model_dump_json())[0] == trip
    text = f"{before.replace('```', '')}\n```json\n{trip.model_dump_json()}\n```\n{after.replace('```', '')}"
    if "```" not in trip.city and "``" not in before + after:
        assert reader.read(text)[0] == trip


@pytest.mark.parametrize("text", ["<city>" * 200_000, "{" * 200_000, "[" * 200_000, "```json\n" * 100_000])
def test_a_long_text_that_never_closes_what_it_opens_is_read_in_no_time(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(ValueError, match=r"days.* is missing|nested too deep"):
        Output[Trip](Trip).read("<city>a</city>" + text)
    assert time.perf_counter() - began < 10
