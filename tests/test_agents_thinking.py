"""Runs whose thinking is bounded, switched or all there is, against a server that says what the test wants."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from qianda import Agent, ConfigurationError, ModelOutputError, Thinking, tool
from qianda.models.events import Discarded, Event, Notice, RunFinished, TextDelta, ThinkingDelta, UsageReported
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.testing import Call, Fault, Request, ScriptedServer, Turn
from qianda.testing.http_server import LoopbackServer, Response

ENDLESS = Turn(reasoning="Let me think. " * 50, fault=Fault.hang(after=60))
"""Thinks for 60 chunks, and then waits until the client goes away: who waits for its end, waits for ever."""


@tool
async def weather(city: str) -> str:
    """Weather forecast.

    Args:
        city: name of the city.
    """
    return f"sunny in {city}"


def agent_at(server: ScriptedServer, kind: str, model: str = "qwen3-8b", **options: Any) -> Agent:
    endpoint = Endpoint(url=server.url, kind=server_kinds()[kind], model=model, why="the test says so", api_key=None)
    return Agent(server=endpoint, **options)


async def watch(agent: Agent, prompt: str) -> list[Event]:
    async with asyncio.timeout(20), agent.stream(prompt) as run:
        return [event async for event in run]


@pytest.mark.parametrize("streaming", [True, False])
async def test_at_the_budget_the_server_is_stopped_and_the_same_message_goes_on(streaming: bool) -> None:
    async with ScriptedServer(ENDLESS, "42") as server:
        agent = agent_at(server, "sglang", thinking=Thinking(budget=20), streaming=streaming)
        events = await watch(agent, "go")
    first, second = server.requests
    assert first["chat_template_kwargs"] == {"enable_thinking": True}
    assert second["chat_template_kwargs"] == {"enable_thinking": False}
    assert (second["continue_final_message"], second["add_generation_prompt"]) == (True, False)
    prefill = second["messages"][-1]
    assert prefill["role"] == "assistant"
    assert prefill["content"].startswith("<think>\nLet me think.")
    assert prefill["content"].endswith("based on the thinking directly now.\n</think>\n\n")
    thought = "".join(event.text for event in events if isinstance(event, ThinkingDelta)).strip()
    assert prefill["content"] == f"<think>\n{thought}\n</think>\n\n"
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "42"
    assert not [event for event in events if isinstance(event, Discarded)]
    (usage,) = [event for event in events if isinstance(event, UsageReported)]
    assert usage.request.reasoning_tokens == 20
    assert isinstance(events[-1], RunFinished)
    assert events[-1].output == "42"


async def test_after_the_budget_calls_run_and_the_thought_is_resent() -> None:
    call = Turn(calls=[Call("weather", {"city": "杭州"})])
    async with ScriptedServer(ENDLESS, call, "No umbrella.") as server:
        result = await agent_at(server, "sglang", thinking=Thinking(budget=20), tools=[weather]).run("go")
    assert result.output == "No umbrella."
    reply = server.requests[2]["messages"][1]
    assert reply["reasoning_content"].endswith("based on the thinking directly now.")
    assert "continue_final_message" not in server.requests[2]


async def test_a_server_that_does_not_go_on_answers_anew_without_thinking() -> None:
    refusal = Fault.status(400, body={"error": {"message": "continue_final_message: not in the rendered chat"}})
    async with ScriptedServer(ENDLESS, refusal, "42") as server:
        assert (await agent_at(server, "sglang", thinking=Thinking(budget=20)).run("go")).output == "42"
    assert server.requests[2]["chat_template_kwargs"] == {"enable_thinking": False}
    assert [message["role"] for message in server.requests[2]["messages"]] == ["user"]


async def test_where_only_prompts_switch_the_second_request_is_switched_by_its_prompt() -> None:
    async with ScriptedServer(ENDLESS, "42") as server:
        assert (await agent_at(server, "openai", thinking=Thinking(budget=20)).run("go")).output == "42"
    assert [request["messages"][-1]["content"] for request in server.requests] == ["go /think", "go /no_think"]


async def test_a_server_that_keeps_the_budget_is_told_and_left_alone() -> None:
    async with ScriptedServer(Turn("42", reasoning="Short.")) as server:
        result = await Agent(server=server.url, thinking=Thinking(budget=20)).run("go")
    assert result.output == "42"
    (request,) = server.requests
    assert request["thinking_token_budget"] == 20


async def test_a_server_that_refuses_the_budget_field_is_held_to_it_by_us() -> None:
    message = "thinking_token_budget is set but reasoning_config is not configured"
    refusal = Fault.status(400, body={"error": {"message": message, "type": "BadRequestError", "code": 400}})
    async with (
        ScriptedServer(refusal, ENDLESS, "42", ENDLESS, "43") as server,
        Agent(server=server.url, thinking=Thinking(budget=20)) as agent,
    ):
        assert (await agent.run("go")).output == "42"
        assert (await agent.run("go")).output == "43"
    assert ["thinking_token_budget" in request for request in server.requests] == [True] + [False] * 4


async def test_an_answer_that_is_all_thinking_is_asked_for_with_less_of_it() -> None:
    thought = Turn(reasoning="Hm, hm, hm")
    call = Turn(calls=[Call("weather", {"city": "杭州"})], reasoning="I look.")
    async with ScriptedServer(thought, thought, call, "Sunny.", model="qwen3.8-27b") as server:
        events = await watch(Agent(server=server.url, tools=[weather]), "go")
    told = [request.get("chat_template_kwargs") for request in server.requests]
    # After a reply that is one, the model may think as before.
    assert told == [
        None,
        {"enable_thinking": True, "reasoning_effort": "medium"},
        {"enable_thinking": True, "reasoning_effort": "low"},
        None,
    ]
    assert [request["messages"][-1]["role"] for request in server.requests] == ["user", "user", "user", "tool"]
    assert len([event for event in events if isinstance(event, Notice) and "thinks less" in event.text]) == 2


async def test_a_model_that_cannot_think_less_is_nudged() -> None:
    thought = Turn(reasoning="Hm, hm, hm")
    async with ScriptedServer(thought, thought, model="qwq-32b") as server:
        with pytest.raises(ModelOutputError, match="empty"):
            await Agent(server=server.url).run("go")
    assert "empty" in server.requests[1]["messages"][-1]["content"]


async def test_an_effort_for_a_model_without_levels_is_refused_before_anything_is_sent() -> None:
    async with ScriptedServer() as server:
        with pytest.raises(ConfigurationError, match="no levels of thinking effort"):
            await Agent(server=server.url, thinking=Thinking(effort="low")).run("go")
    assert server.requests == []


async def test_fields_of_the_users_own_are_put_over_ours() -> None:
    async with ScriptedServer("42") as server:
        extra = {"chat_template_kwargs": {"tone": "dry"}, "top_p": None}
        await Agent(server=server.url, thinking=False, extra_body=extra).run("go")
    (request,) = server.requests
    assert request["chat_template_kwargs"] == {"enable_thinking": False, "tone": "dry"}
    assert "top_p" not in request


class NativeOllama(LoopbackServer):
    """Thinks for ever where it may, and answers where it may not."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[dict[str, Any]] = []

    async def answer(self, request: Request, response: Response) -> None:
        """Answer a chat."""
        body = request.json()
        self.bodies.append(body)
        await response.start(200, {"content-type": "application/x-ndjson"})
        if body["think"]:
            line = orjson.dumps({"message": {"role": "assistant", "content": "", "thinking": "hm "}, "done": False})
            await response.write((line + b"\n") * 30)
            await asyncio.Event().wait()
        line = orjson.dumps({"message": {"role": "assistant", "content": "42"}, "done": True, "eval_count": 2})
        await response.write(line + b"\n")
        await response.end()


async def test_ollamas_own_interface_goes_on_in_its_own_words() -> None:
    async with asyncio.timeout(20), NativeOllama() as server:
        kind = server_kinds()["ollama"]
        endpoint = Endpoint(url=f"{server.origin}/v1", kind=kind, model="qwen3:8b", why="the test says so")
        assert (await Agent(server=endpoint, thinking=Thinking(budget=20)).run("go")).output == "42"
    first, second = server.bodies
    assert (first["think"], second["think"]) == (True, False)
    assert second["messages"][-1]["content"].startswith("<think>\nhm hm")
