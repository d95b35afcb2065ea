"""The fifteen failures that a client of Qwen servers must survive, each once, through an agent and real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from qianda import Agent, ModelOutputError, ServerRefused, tool
from qianda.models import attempts as attempts_module
from qianda.models.events import (
    CallFailed,
    CallFinished,
    CallForced,
    CallRepaired,
    CallStarted,
    Event,
    Notice,
    Retrying,
    UsageReported,
    from_json,
    to_json,
)
from qianda.models.messages import Usage
from qianda.testing import Call, Fault, ScriptedServer, Turn
from qianda.testing.http_server import LoopbackServer, Request, Response

TOOL_CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
XML_CALL = "<tool_call>\n<function=weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>"
DONE = "It is sunny."


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(attempts_module, "wait_after", lambda attempt, error: 0.0)


@tool
async def weather(city: str, days: int = 1) -> str:
    """Weather forecast.

    Args:
        city: name of the city.
        days: how many days.
    """
    return f"sunny in {city} for {days}"


@tool
async def now() -> str:
    """The time."""
    return "noon"


class Raw(LoopbackServer):
    """Streams prepared deltas, one list of them per request; keeps the requests' bodies."""

    def __init__(self, *replies: Sequence[dict[str, Any]], finish: str = "stop") -> None:
        super().__init__()
        self.replies = list(replies)
        self.bodies: list[dict[str, Any]] = []
        self._finish = finish

    async def answer(self, request: Request, response: Response) -> None:
        """The next reply."""
        if request.method != "POST":
            models = {"data": [{"id": "qwen3-8b", "owned_by": "vllm", "max_model_len": 32768}]}
            await response.send_json(200 if request.path.endswith("/models") else 404, models)
            return
        self.bodies.append(orjson.loads(request.body))
        deltas = self.replies.pop(0)
        choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": self._finish})
        await response.start(200, {"content-type": "text/event-stream"})
        for choice in choices:
            await response.write(b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        await response.end()


def agent(server: ScriptedServer | Raw, **options: Any) -> Agent:
    url = server.url if isinstance(server, ScriptedServer) else f"{server.origin}/v1"
    return Agent(server=url, tools=[weather, now], **options)


async def events_of(server: ScriptedServer | Raw, **options: Any) -> tuple[list[Event], str]:
    """The events of one run, and its output."""
    run = agent(server, **options).stream("Umbrella?")
    async with asyncio.timeout(20), run:
        events = [event async for event in run]
    assert [from_json(to_json(event)) for event in events] == events
    return events, run.result.output


def only(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def ran(events: list[Event]) -> list[str]:
    return [event.content for event in only(events, CallFinished)]


def delta(index: int = 0, call_id: str | None = None, name: str | None = None, arguments: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if call_id is not None:
        entry["id"] = call_id
    if name is not None:
        entry["function"]["name"] = name
    return {"tool_calls": [entry]}


SAID = [{"content": DONE}]


async def test_01_empty_ids_and_names_in_later_deltas_overwrite_nothing() -> None:
    first = [delta(0, "call_a", "weather", ""), delta(0, "", "", '{"city": '), delta(0, "", "", '"Paris"}')]
    async with Raw(first, SAID) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)
    assert server.bodies[1]["messages"][-1]["tool_call_id"] == "call_a"


async def test_02_a_call_inside_the_thinking_is_made_when_there_is_no_other() -> None:
    async with ScriptedServer(Turn(reasoning=f"I should look.\n{TOOL_CALL}"), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)
    async with ScriptedServer(Turn(reasoning=f"Like this: {TOOL_CALL}", calls=[Call("now")]), DONE) as server:
        events, _ = await events_of(server)
    assert ran(events) == ["noon"]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("text", [TOOL_CALL, XML_CALL])
async def test_03_markup_left_in_the_content_is_a_call(text: str, streaming: bool) -> None:
    async with ScriptedServer(Turn(raw=f"Let me see.\n{text}", finish="stop"), DONE) as server:
        events, output = await events_of(server, streaming=streaming)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)
    assert "<" not in server.requests[1]["messages"][1]["content"]


@pytest.mark.parametrize(
    "text",
    [
        TOOL_CALL.removeprefix("<tool_call>\n"),
        TOOL_CALL.removesuffix("\n</tool_call>"),
        XML_CALL.replace("</parameter>\n", ""),
        XML_CALL.replace("</parameter>\n", "</parameter>\n</parameter>\n"),
        XML_CALL.removeprefix("<tool_call>\n"),
        XML_CALL.removesuffix("\n</tool_call>"),
    ],
)
async def test_04_tags_that_are_missing_or_doubled(text: str) -> None:
    async with ScriptedServer(Turn(raw=text), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.error_in_stream({"error": {"code": 500, "message": "Failed to parse input at pos 12"}}, after=2),
        Fault.status(500, body={"error": {"code": 500, "message": "Failed to parse input at pos 12"}}),
        Fault.drop(after=2),
    ],
)
async def test_05_a_server_that_gives_up_in_the_middle_is_asked_again(fault: Fault) -> None:
    async with ScriptedServer(fault, Turn(calls=[Call("weather", {"city": "Paris"})]), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)
    assert len(only(events, Retrying)) == 1


async def test_05_the_text_in_a_parse_error_is_recovered() -> None:
    message = f"Failed to parse input at pos 0: {TOOL_CALL}"
    fault = Fault.status(500, body={"error": {"code": 500, "message": message, "type": "server_error"}})
    async with ScriptedServer(fault, DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)


async def test_06_missing_characters_are_repaired_and_said() -> None:
    async with ScriptedServer(Turn(calls=[Call("weather", '{"city": "Paris", "days": 2,')]), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 2"], DONE)
    assert [event.reason for event in only(events, CallRepaired)] == ["a comma too many, a closing bracket was missing"]


async def test_06_what_cannot_be_repaired_is_told_then_asked_for_once_more_without_streaming() -> None:
    broken = Turn(calls=[Call("weather", '{"city": "Par')])
    async with ScriptedServer(broken, broken, Turn(calls=[Call("weather", {"city": "Paris"})]), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)
    forced = server.requests[2]
    assert forced["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert (forced["stream"], "stream_options" in forced) == (False, False)
    assert [("tool_choice" in body, body["stream"]) for body in server.requests] == [
        (False, True),
        (False, True),
        (True, False),
        (False, True),
    ]
    failed, asked = only(events, CallFailed), only(events, CallForced)
    assert [event.name for event in failed] == ["weather", "weather"]
    assert [(event.name, event.how) for event in asked] == [("weather", "named choice")]
    assert asked[0].reason == failed[1].error
    assert "is not closed" in asked[0].reason


async def test_06_the_third_wrong_call_in_a_row_ends_the_run_with_the_error() -> None:
    wrong = [Turn(calls=[Call("weather", {"town": str(number)})]) for number in range(3)]
    async with ScriptedServer(*wrong) as server:
        with pytest.raises(ModelOutputError, match=r"called weather wrongly three times in a row: .*city"):
            await agent(server).run("Umbrella?")


async def test_06_a_right_call_in_between_starts_over() -> None:
    wrong, right = Turn(calls=[Call("weather", {})]), Turn(calls=[Call("weather", {"city": "Paris"})])
    async with ScriptedServer(wrong, right, wrong, wrong, right, wrong, DONE) as server:
        events, output = await events_of(server)
    assert output == DONE
    assert len(only(events, CallForced)) == 1


@pytest.mark.parametrize(
    "arguments", ['"{\\"city\\": \\"Paris\\"}"', '"\\"{\\\\\\"city\\\\\\": \\\\\\"Paris\\\\\\"}\\""']
)
async def test_07_arguments_encoded_twice(arguments: str) -> None:
    async with ScriptedServer(Turn(calls=[Call("weather", arguments)]), DONE) as server:
        events, _ = await events_of(server)
    assert ran(events) == ["sunny in Paris for 1"]
    assert only(events, CallRepaired)[0].reason.startswith("an object that was written as a string")


@pytest.mark.parametrize("arguments", ["", "null", "{}", '""', "  "])
async def test_07_no_arguments(arguments: str) -> None:
    async with ScriptedServer(Turn(calls=[Call("now", arguments)]), DONE) as server:
        events, _ = await events_of(server)
    assert (ran(events), only(events, CallRepaired)) == (["noon"], [])


async def test_07_arguments_that_are_no_object_are_told() -> None:
    async with ScriptedServer(Turn(calls=[Call("weather", "[1]")]), DONE) as server:
        events, _ = await events_of(server)
    assert "the arguments are a list, but a JSON object is expected" in only(events, CallFailed)[0].error


async def test_07_a_value_of_another_type_is_made_to_fit_and_said() -> None:
    async with ScriptedServer(Turn(calls=[Call("weather", {"city": "Paris", "days": "3"})]), DONE) as server:
        events, _ = await events_of(server)
    assert ran(events) == ["sunny in Paris for 3"]
    assert [event.reason for event in only(events, CallRepaired)] == ["days: a number in place of a string"]


@pytest.mark.parametrize("name", ["", "wether", "unknown"])
async def test_08_a_call_without_a_known_name_is_nudged_then_any_call_is_required(name: str) -> None:
    lost = [Turn(calls=[Call(name, {"city": city})]) for city in ("Paris", "Rome")]
    async with ScriptedServer(*lost, Turn(calls=[Call("weather", {"city": "Paris"})]), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)
    assert server.requests[2]["tool_choice"] == "required"
    assert [(event.name, event.how) for event in only(events, CallForced)] == [("", "required")]
    nudge = str(server.requests[1]["messages"][-1]["content"])
    assert "weather" in nudge or "name one of the tools" in nudge


async def test_08_an_empty_call_is_nudged() -> None:
    async with ScriptedServer(Turn(raw="<tool_call>\n{}\n</tool_call>"), Turn(raw=TOOL_CALL), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)


async def test_09_a_reused_index_a_late_id_and_replayed_chunks() -> None:
    reused = [delta(0, "a", "weather", '{"city": "Paris"}'), delta(0, "b", "weather", '{"city": "Rome"}')]
    late = [delta(0, None, "weather", ""), delta(0, "c", None, '{"city": "Oslo"}')]
    again = [delta(0, "d", "weather", '{"city": "Lima"}'), delta(0, "d", "weather", '{"city": "Lima"}')]
    async with Raw(reused, late, again, SAID) as server:
        events, output = await events_of(server)
    assert ran(events) == [f"sunny in {city} for 1" for city in ("Paris", "Rome", "Oslo", "Lima")]
    assert output == DONE


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "weather", "arguments": {"city": "Paris"}}',
        '[{"name": "weather", "arguments": {"city": "Paris"}}]',
        '```json\n{"name": "weather", "arguments": {"city": "Paris"}}\n```',
        '<tools>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tools>',
        '<function_invocation>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</function_invocation>',
        XML_CALL,
    ],
)
async def test_10_the_wrong_parser_no_wrapper_or_another(text: str) -> None:
    async with ScriptedServer(Turn(raw=text), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)


async def test_11_a_literal_tag_in_prose_is_text_and_does_not_stop_the_stream() -> None:
    text = "Calls stand between <tool_call> and </tool_call> tags, `<function=` begins one."
    async with ScriptedServer(Turn(raw=text)) as server:
        events, output = await events_of(server)
    assert (output, only(events, CallStarted)) == (text, [])


async def test_12_endless_whitespace_under_force_is_capped_and_asked_for_without_force() -> None:
    wrong = Turn(calls=[Call("weather", {})])
    cut = Usage(output_tokens=4_096)
    endless = Turn(calls=[Call("weather", '{"city": ' + "\n" * 2_000)], finish="length", usage=cut)
    async with ScriptedServer(wrong, wrong, endless, Turn(calls=[Call("weather", {"city": "Paris"})]), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)
    used = only(events, UsageReported)
    assert (used[2].request.requests, used[-1].total.requests) == (2, 5)  # what was thrown away counts
    assert used[2].request.output_tokens > 4_096
    assert server.requests[2]["max_tokens"] == 4_096
    assert "tool_choice" not in server.requests[3]
    assert "max_tokens" not in server.requests[3] or server.requests[3]["max_tokens"] > 4_096
    assert [event.cause for event in only(events, Retrying)] == ["The forced call came to no end"]


async def test_12_a_server_that_refuses_the_force_is_asked_without() -> None:
    wrong = Turn(calls=[Call("weather", {})])
    refusal = Fault.status(400, body={"error": {"message": "tool_choice is not supported", "code": 400}})
    async with ScriptedServer(wrong, wrong, refusal, Turn(calls=[Call("weather", {"city": "Paris"})]), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)
    assert server.requests[2]["tool_choice"]["function"]["name"] == "weather"
    assert server.requests[3].get("tool_choice", "auto") == "auto"


async def test_13_an_empty_answer_after_long_thinking_is_asked_for_with_less_of_it() -> None:
    async with ScriptedServer(Turn(reasoning="Hm. " * 50), DONE, model="qwen3.8-27b") as server:
        _, output = await events_of(server, model="qwen3.8-27b")
    assert output == DONE
    first, second = (body.get("chat_template_kwargs", {}) for body in server.requests)
    assert second != first
    assert second["reasoning_effort"] == "medium"


async def test_14_swapped_reasoning_and_a_leaking_end_tag() -> None:
    async with ScriptedServer(Turn(reasoning=DONE)) as server:
        _, output = await events_of(server, thinking=False)
    assert output == DONE
    async with ScriptedServer(Turn(raw=f"I think it is fine.</think>\n\n{DONE}")) as server:
        _, output = await events_of(server)
    assert output == DONE


async def test_15_the_third_same_result_tells_the_model_once_and_the_seventh_call_is_not_run() -> None:
    call = Turn(calls=[Call("weather", {"city": "Paris"})])
    async with ScriptedServer(*[call] * 7, DONE) as server:
        events, output = await events_of(server)
    assert (len(ran(events)), output) == (6, DONE)
    told = [str(body["messages"][-1]["content"]) for body in server.requests]
    assert ["nothing has changed" in text for text in told] == [False] * 3 + [True] + [False] * 4
    assert "not run again" in told[7]
    assert only(events, CallForced) == []


async def test_15_the_eighth_time_ends_the_run() -> None:
    calls = Turn(calls=[Call("weather", {"city": "Paris"}), Call("now")])
    async with ScriptedServer(default=calls) as server:
        with pytest.raises(ModelOutputError, match="goes in circles: it made the same call of weather, now 8 times"):
            await agent(server).run("Umbrella?")
    assert len(server.requests) == 8


async def test_15_the_same_call_with_another_result_is_no_loop() -> None:
    states = iter(f"{percent} %" for percent in range(0, 101, 5))

    @tool
    async def state() -> str:
        """How far the job is."""
        return next(states)

    async with ScriptedServer(*[Turn(calls=[Call("state")])] * 20, DONE) as server:
        result = await Agent(server=server.url, tools=[state, now]).run("Done?")
    assert result.output == DONE
    assert next(states) == "100 %"
    assert "nothing has changed" not in str(server.requests)


@pytest.mark.parametrize(
    "text",
    [
        "I will now read the forecast…",
        "I'll call `weather` to find out.",
        "Sure. Let me check the forecast for Paris:",
        "我现在查询巴黎的天气：",
        "好的，我将调用 `weather` 来查询。",
    ],
)
async def test_15_a_call_that_is_announced_and_not_made_is_asked_for_once(text: str) -> None:
    async with ScriptedServer(text, Turn(calls=[Call("weather", {"city": "Paris"})]), DONE) as server:
        events, output = await events_of(server)
    assert (ran(events), output) == (["sunny in Paris for 1"], DONE)
    assert [event.text for event in only(events, Notice)] == [
        "The model announced a call and made none; it is asked again"
    ]
    async with ScriptedServer(text, text) as server:
        _, output = await events_of(server)
    assert (len(server.requests), output) == (2, text)


async def test_15_without_tools_an_announcement_is_an_answer() -> None:
    async with ScriptedServer("Let me check the forecast:") as server:
        assert (await Agent(server=server.url).run("Umbrella?")).output == "Let me check the forecast:"


async def test_15_model_studios_own_detector_ends_the_run_with_its_words() -> None:
    body = {"error": {"code": "invalid_parameter_error", "message": "Repetitive tool calls detected."}}
    async with ScriptedServer(Fault.status(400, body=body)) as server:
        with pytest.raises(ServerRefused, match="Repetitive tool calls detected"):
            await agent(server).run("Umbrella?")


def test_all_fifteen_are_here() -> None:
    named = {name.split("_")[1] for name in globals() if name.startswith("test_") and name.split("_")[1].isdigit()}
    assert named == {f"{number:02d}" for number in range(1, 16)}
    assert json.loads(TOOL_CALL.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>"))["name"] == "weather"
