"""Runs of an agent, through the public face, against a server that says what the test wants."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from qianda import (
    Agent,
    ApprovalRequest,
    ConfigurationError,
    ContextTooLong,
    Decision,
    LimitReached,
    Limits,
    ModelOutputError,
    QuotaExceeded,
    Run,
    ServerOverloaded,
    ServerRefused,
    ServerUnreachable,
    ToolError,
    UserMessage,
    calculator,
    files,
    tool,
)
from qianda.models import attempts as attempts_module
from qianda.models.events import (
    ApprovalAsked,
    CallDenied,
    CallFailed,
    CallFinished,
    CallStarted,
    Event,
    InputReceived,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    from_json,
    to_json,
)
from qianda.testing import Call, Fault, ScriptedServer, Turn


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(attempts_module, "wait_after", lambda attempt, error: 0.0)


@tool
async def weather(city: str) -> str:
    """Weather forecast.

    Args:
        city: name of the city.
    """
    return f"sunny in {city}"


async def events_of(run: Run) -> list[Event]:
    async with asyncio.timeout(50), run:
        return [event async for event in run]


def only(events: list[Event], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_call_runs_and_its_result_reaches_the_model(streaming: bool) -> None:
    async with ScriptedServer(
        Turn(reasoning="I look.", calls=[Call("weather", {"city": "杭州"})]), Turn("No umbrella.")
    ) as server:
        result = await Agent(server=server.url, tools=[weather], streaming=streaming).run("Umbrella?")
    assert result.output == "No umbrella."
    assert result.finish == "done"
    assert result.usage.requests == 2
    sent = server.requests[1]["messages"]
    assert sent[1]["reasoning_content"].strip() == "I look."
    assert sent[2] == {
        "role": "tool",
        "tool_call_id": sent[1]["tool_calls"][0]["id"],
        "name": "weather",
        "content": "sunny in 杭州",
    }
    assert [message.role for message in result.messages] == ["user", "assistant", "tool", "assistant"]


async def test_events_tell_the_whole_run_and_round_trip() -> None:
    async with ScriptedServer(
        Turn(reasoning="Hm.", calls=[Call("weather", {"city": "Paris"})]), Turn("Fine weather today.")
    ) as server:
        run = Agent(server=server.url, tools=[weather]).stream("Umbrella?")
        events = await events_of(run)
    kinds = [type(event) for event in events]
    assert kinds[:2] == [RunStarted, InputReceived]
    assert kinds[-1] is RunFinished
    assert kinds.index(CallStarted) < kinds.index(CallFinished)
    assert [event.seq for event in events] == list(range(len(events)))
    assert "".join(event.text for event in only(events, TextDelta)) == "Fine weather today."
    assert "".join(event.text for event in only(events, ThinkingDelta)).strip() == "Hm."
    assert [from_json(to_json(event)) for event in events] == events
    assert run.result.output == "Fine weather today."


async def test_calls_of_one_reply_run_side_by_side_and_answer_in_order() -> None:
    both = asyncio.Barrier(2)

    @tool
    async def meet(name: str) -> str:
        """Waits for the other call."""
        async with asyncio.timeout(5):
            await both.wait()
        return name

    async with ScriptedServer(Turn(calls=[Call("meet", {"name": "a"}), Call("meet", {"name": "b"})]), "ok") as server:
        await Agent(server=server.url, tools=[meet]).run("go")
    assert [message["content"] for message in server.requests[1]["messages"][-2:]] == ["a", "b"]


async def test_calls_that_must_not_run_side_by_side_take_turns() -> None:
    running: list[str] = []

    @tool(parallel=False)
    async def alone(name: str) -> str:
        """Must be alone."""
        running.append(name)
        await asyncio.sleep(0)
        assert running == [name]
        running.remove(name)
        return name

    async with ScriptedServer(Turn(calls=[Call("alone", {"name": "a"}), Call("alone", {"name": "b"})]), "ok") as server:
        await Agent(server=server.url, tools=[alone]).run("go")
    assert [message["content"] for message in server.requests[1]["messages"][-2:]] == ["a", "b"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call("wether", {"city": "x"}), "Did you mean weather?"),
        (Call("weather", {"town": "x"}), "city"),
        (Call("fails", {}), "the well is dry"),
        (Call("breaks", {}), "ZeroDivisionError"),
        (Call("hangs", {}), "did not finish within"),
        (Call("weather", '{"city": "Paris'), "could not be read"),
    ],
)
async def test_what_goes_wrong_with_a_call_is_said_to_the_model(call: Call, said: str) -> None:
    @tool
    async def fails() -> str:
        """Fails."""
        raise ToolError("the well is dry")

    @tool
    def breaks() -> str:
        """Breaks."""
        return str(1 // 0)

    @tool(timeout=0.05)
    async def hangs() -> str:
        """Hangs."""
        await asyncio.Event().wait()
        return ""

    finish = "length" if isinstance(call.arguments, str) else None
    async with ScriptedServer(Turn(calls=[call], finish=finish), "sorry") as server:
        run = Agent(server=server.url, tools=[weather, fails, breaks, hangs]).stream("go")
        events = await events_of(run)
    answer = server.requests[1]["messages"][-1]
    assert answer["role"] == "tool"
    assert said in answer["content"]
    assert "Traceback" not in answer["content"]
    assert [event.error for event in only(events, CallFailed)] == [answer["content"]]
    assert not only(events, CallFinished)
    assert json.loads(server.requests[1]["messages"][-2]["tool_calls"][0]["function"]["arguments"]) is not None


async def test_a_call_written_as_text_is_understood() -> None:
    raw = '<tool_call>\n{"name": "weather", "arguments": {"city": "Lima"}}\n</tool_call>'
    async with ScriptedServer(Turn(raw=raw), "warm") as server:
        result = await Agent(server=server.url, tools=[weather]).run("go")
    assert server.requests[1]["messages"][-1]["content"] == "sunny in Lima"
    assert result.output == "warm"


class TestApproval:
    """Built-in tools that change something are asked for."""

    @staticmethod
    async def turns() -> ScriptedServer:
        return ScriptedServer(Turn(calls=[Call("write_file", {"path": "a.txt", "content": "hi"})]), "end")

    async def test_without_anyone_to_ask_it_is_denied_and_names_the_cure(self, tmp_path: Any) -> None:
        async with await self.turns() as server:
            await Agent(server=server.url, tools=files(), workspace=tmp_path).run("go")
        said = server.requests[1]["messages"][-1]["content"]
        assert said.startswith("Denied")
        assert "auto" in said
        assert not (tmp_path / "a.txt").exists()

    @pytest.mark.parametrize("decision", [Decision.allow(), True])
    async def test_a_callback_allows(self, tmp_path: Any, decision: Decision | bool) -> None:
        asked: list[ApprovalRequest] = []

        async def approve(request: ApprovalRequest) -> Decision | bool:
            asked.append(request)
            return decision

        async with await self.turns() as server:
            await Agent(server=server.url, tools=files(), workspace=tmp_path, approve=approve).run("go")
        assert (tmp_path / "a.txt").read_text() == "hi"
        assert asked[0].name == "write_file"
        assert asked[0].arguments == {"path": "a.txt", "content": "hi"}

    async def test_a_refusal_with_a_reason_reaches_the_model(self, tmp_path: Any) -> None:
        async def approve(request: ApprovalRequest) -> Decision:
            return Decision.deny("use b.txt")

        async with await self.turns() as server:
            agent = Agent(server=server.url, tools=files(), workspace=tmp_path, approve=approve)
            events = await events_of(agent.stream("go"))
        assert "use b.txt" in server.requests[1]["messages"][-1]["content"]
        assert only(events, CallDenied)[0].by == "person"
        assert not only(events, CallFinished)

    async def test_a_watcher_answers_the_event(self, tmp_path: Any) -> None:
        async with await self.turns() as server:
            agent = Agent(server=server.url, tools=files(), workspace=tmp_path)
            async with asyncio.timeout(50), agent.stream("go") as run:
                async for event in run:
                    if isinstance(event, ApprovalAsked):
                        run.answer(event.request_id, Decision.allow())
        assert (tmp_path / "a.txt").read_text() == "hi"

    async def test_a_watcher_who_does_not_answer_has_said_no(self, tmp_path: Any) -> None:
        async with await self.turns() as server:
            events = await events_of(Agent(server=server.url, tools=files(), workspace=tmp_path).stream("go"))
        assert only(events, CallDenied)[0].by == "nobody"
        assert not (tmp_path / "a.txt").exists()

    async def test_read_only_denies_without_asking(self, tmp_path: Any) -> None:
        async with await self.turns() as server:
            agent = Agent(server=server.url, tools=files(), workspace=tmp_path, permissions="read-only")
            events = await events_of(agent.stream("go"))
        assert only(events, CallDenied)[0].by == "rule"
        assert not only(events, ApprovalAsked)

    async def test_an_answer_to_no_question_is_an_error(self) -> None:
        async with ScriptedServer("x") as server, Agent(server=server.url).stream("go") as run:
            with pytest.raises(LookupError):
                run.answer("nonsense", True)


async def test_steering_is_read_before_the_next_reply() -> None:
    @tool
    async def look() -> str:
        """Looks."""
        run.steer("In French, please.")
        return "seen"

    async with ScriptedServer(Turn(calls=[Call("look")]), "Voilà.") as server:
        run = Agent(server=server.url, tools=[look]).stream("go")
        events = await events_of(run)
    assert server.requests[1]["messages"][-1] == {"role": "user", "content": "In French, please."}
    assert [event.content for event in only(events, InputReceived) if event.steering] == ["In French, please."]


async def test_cancel_closes_the_connection_and_keeps_what_there_is() -> None:
    async with ScriptedServer(Turn(calls=[Call("weather", {"city": "x"})]), Fault.hang(after=2)) as server:
        run = Agent(server=server.url, tools=[weather]).stream("go")
        async with asyncio.timeout(50), run:
            async for event in run:
                if isinstance(event, TextDelta):
                    run.cancel()
            await server.wait_disconnects()
    assert run.result.finish == "cancelled"
    assert [message.role for message in run.result.messages] == ["user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("limits", "which"),
    [
        (Limits(turns=2), "turns"),
        (Limits(tool_calls=1), "tool_calls"),
        (Limits(tokens=1), "tokens"),
    ],
)
async def test_a_limit_ends_the_run_with_what_there_is(limits: Limits, which: str) -> None:
    async with ScriptedServer(default=Turn(calls=[Call("weather", {"city": "x"})])) as server:
        agent = Agent(server=server.url, tools=[weather], limits=limits)
        with pytest.raises(LimitReached) as caught:
            await agent.run("go")
        run = agent.stream("go")
        events = await events_of(run)
    assert caught.value.which == which
    assert caught.value.result.messages[0] == UserMessage("go")
    last = events[-1]
    assert isinstance(last, RunFinished)
    assert (last.reason, last.which) == ("limit", which)
    assert run.result.finish == "limit"


async def test_the_time_limit_stops_a_hanging_server() -> None:
    async with ScriptedServer(Fault.hang()) as server:
        with pytest.raises(LimitReached) as caught:
            await Agent(server=server.url, limits=Limits(seconds=0.2)).run("go")
    assert caught.value.which == "seconds"


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("fault", [Fault.status(429, retry_after=0.0), Fault.status(503), Fault.drop()])
async def test_a_passing_fault_is_retried_and_said(fault: Fault, streaming: bool) -> None:
    async with ScriptedServer(fault, "fine") as server:
        run = Agent(server=server.url, streaming=streaming).stream("go")
        events = await events_of(run)
    retries = only(events, Retrying)
    assert [retry.attempt for retry in retries] == [2]
    assert retries[0].cause
    assert run.result.output == "fine"


async def test_a_stream_that_breaks_is_asked_for_again_and_what_was_shown_is_void() -> None:
    async with ScriptedServer(Turn("The answer is 42.", fault=Fault.drop(after=4)), "The answer is 43.") as server:
        run = Agent(server=server.url).stream("go")
        events = await events_of(run)
    retry = only(events, Retrying)[0]
    assert retry.discard
    after = events[events.index(retry) :]
    assert "".join(event.text for event in only(after, TextDelta)) == "The answer is 43."
    assert run.result.output == "The answer is 43."


async def test_an_error_inside_a_200_is_an_error() -> None:
    async with ScriptedServer(Turn("x", fault=Fault.error_in_stream()), "fine") as server:
        assert (await Agent(server=server.url).run("go")).output == "fine"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.status(400, body={"error": {"message": "maximum context length is 8192"}}), ContextTooLong),
        (Fault.status(429, body={"error": {"code": "Arrearage", "message": "overdue"}}), QuotaExceeded),
        (Fault.status(400, body={"error": {"message": "bad field"}}), ServerRefused),
    ],
)
async def test_a_refusal_is_not_retried(fault: Fault, error: type[Exception]) -> None:
    async with ScriptedServer(fault) as server:
        with pytest.raises(error):
            await Agent(server=server.url).run("go")
    assert len(server.requests) == 1


async def test_an_overload_that_lasts_is_one_error() -> None:
    async with ScriptedServer(default=Fault.status(503)) as server:
        with pytest.raises(ServerOverloaded):
            await Agent(server=server.url).run("go")
    assert len(server.requests) == attempts_module.ATTEMPTS


async def test_nothing_listens() -> None:
    async with ScriptedServer() as server:
        url = server.url
    with pytest.raises(ServerUnreachable, match="No server answers") as caught:
        await Agent(server=url).run("go")
    assert caught.value.cure


async def test_wrong_key_and_unknown_model() -> None:
    async with ScriptedServer("x", api_key="right") as server:
        with pytest.raises(ServerRefused, match="key"):
            await Agent(server=server.url, api_key="wrong").run("go")
        with pytest.raises(ServerRefused, match="nothere"):
            await Agent(server=server.url, api_key="right", model="nothere").run("go")
        assert (await Agent(server=server.url, api_key="right").run("go")).output == "x"


async def test_an_empty_answer_is_asked_for_once_more() -> None:
    async with ScriptedServer("", "here") as server:
        assert (await Agent(server=server.url).run("go")).output == "here"
    async with ScriptedServer("", "", "") as server:
        with pytest.raises(ModelOutputError, match="empty answer 3 times"):
            await Agent(server=server.url).run("go")
    assert server.requests[2]["chat_template_kwargs"] == {"enable_thinking": False}


async def test_empty_answers_far_apart_are_each_asked_for_once_more() -> None:
    turns = ["", Turn(calls=[Call("weather", {"city": "x"})]), "", "here"]
    async with ScriptedServer(*turns) as server:
        assert (await Agent(server=server.url, tools=[weather]).run("go")).output == "here"


async def test_output_that_was_used_up_by_thinking_is_said() -> None:
    always = Turn(reasoning="Hm, hm, hm", finish="length")
    async with ScriptedServer(default=always, model="qwq-32b") as server:
        with pytest.raises(ModelOutputError, match="max_tokens"):
            await Agent(server=server.url).run("go")


async def test_a_check_of_arguments_that_breaks_is_a_failed_call() -> None:
    def odd(city: str) -> str:
        raise KeyError(city)

    @tool
    async def visit(city: Annotated[str, AfterValidator(odd)]) -> str:
        """Visits."""
        return city

    async with ScriptedServer(Turn(calls=[Call("visit", {"city": "Ulm"})]), "sorry") as server:
        run = Agent(server=server.url, tools=[visit]).stream("go")
        events = await events_of(run)
    assert "KeyError" in only(events, CallFailed)[0].error
    assert run.result.output == "sorry"


async def test_an_answer_cut_by_the_server_says_so() -> None:
    async with ScriptedServer(Turn("half an", finish="length")) as server:
        result = await Agent(server=server.url).run("go")
    assert (result.output, result.finish) == ("half an", "length")


async def test_history_goes_on() -> None:
    async with ScriptedServer("one", "two") as server:
        agent = Agent(server=server.url, instructions="Be brief.")
        first = await agent.run("first")
        await agent.run("second", history=first.messages)
    assert [message["role"] for message in server.requests[1]["messages"]] == ["system", "user", "assistant", "user"]
    assert first.messages[0] == UserMessage("first")


async def test_reasoning_is_resent_only_within_the_tool_loop() -> None:
    async with ScriptedServer(
        Turn(reasoning="r1", calls=[Call("weather", {"city": "x"})]), Turn("a", reasoning="r2"), "b"
    ) as server:
        agent = Agent(server=server.url, tools=[weather])
        first = await agent.run("first")
        await agent.run("second", history=first.messages)
    assert "reasoning_content" in server.requests[1]["messages"][1]
    assert not any("reasoning_content" in message for message in server.requests[2]["messages"])


async def test_many_runs_share_one_agent() -> None:
    async with ScriptedServer(default=lambda body: Turn(body["messages"][-1]["content"])) as server:
        agent = Agent(server=server.url)
        results = await asyncio.gather(*(agent.run(str(n)) for n in range(32)))
        async with agent:
            again = [(await agent.run(str(n))).output for n in range(3)]
    assert [result.output for result in results] == [str(n) for n in range(32)]
    assert again == ["0", "1", "2"]


async def test_run_sync_inside_a_loop_is_explained() -> None:
    with pytest.raises(ConfigurationError, match="run_sync"):
        Agent(server="http://127.0.0.1:9").run_sync("x")


async def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="calculator"):
        Agent(tools=[calculator, calculator])


@pytest.mark.parametrize("package", ["httpx", "httpx2"])
async def test_a_client_of_the_users_own_is_used(package: str) -> None:
    module: Any = __import__(package)
    async with ScriptedServer("hi", Fault.drop(), "again") as server, module.AsyncClient(trust_env=False) as http:
        agent = Agent(server=server.url, http_client=http)
        assert (await agent.run("go")).output == "hi"
        assert (await agent.run("go")).output == "again"
        assert not http.is_closed


@pytest.mark.parametrize(
    ("model", "thinking", "field"),
    [("qwen3-8b", False, {"enable_thinking": False}), ("qwen3-8b", None, None), ("qwen3-coder-30b", None, None)],
)
async def test_thinking_is_switched_as_the_server_wants(model: str, thinking: bool | None, field: Any) -> None:
    async with ScriptedServer("x", model=model) as server:
        await Agent(server=server.url, thinking=thinking).run("go")
    assert server.requests[0].get("chat_template_kwargs") == field
    assert server.requests[0]["temperature"] in (0.6, 0.7)


async def test_a_model_that_cannot_think_refuses_kindly() -> None:
    async with ScriptedServer("x", model="qwen3-coder-30b") as server:
        with pytest.raises(ConfigurationError, match="cannot think"):
            await Agent(server=server.url, thinking=True).run("go")


async def test_the_seconds_of_a_call_are_the_tool_s_not_those_of_the_person_who_was_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [0.0]
    monkeypatch.setattr("qianda.agents.calls.time", SimpleNamespace(monotonic=lambda: clock[0]))

    async def approve(_: ApprovalRequest) -> Decision:
        clock[0] += 60
        return Decision.allow()

    write = Turn(calls=[Call("write_file", {"path": "a", "content": "x"})])
    async with ScriptedServer(write, "Done.") as server:
        agent = Agent(server=server.url, tools=files(), workspace=tmp_path, approve=approve)
        async with agent.stream("Write") as run:
            finished = [event async for event in run if isinstance(event, CallFinished)]
    assert [event.seconds for event in finished] == [0.0]
