"""What runs cost: counted request by request, bounded, and unknown where there is no price."""

from __future__ import annotations

import pytest

from qianda import Agent, ConfigurationError, LimitReached, Limits, calculator
from qianda.models.messages import Usage
from qianda.testing import Call, ModelStudioServer, ScriptedServer, Turn

SUM = Call("calculator", {"expression": "1+1"})


def turn(input_tokens: int, output_tokens: int, text: str = "") -> Turn:
    """A turn of so many tokens, with a call where there is no text."""
    return Turn(text, calls=[] if text else [SUM], usage=Usage(input_tokens, output_tokens))


async def test_a_run_says_what_it_cost() -> None:
    # 300,000 tokens of input are in the dearer row, 100,000 are not: each request by itself.
    turns = turn(300_000, 10_000), turn(100_000, 10_000, "Two.")
    async with ModelStudioServer(*turns, model="qwen3.7-plus") as server:
        result = await Agent(server=server.url, model="qwen3.7-plus", tools=[calculator]).run("1+1?")
    assert result.output == "Two."
    assert result.cost == pytest.approx(0.66 + 0.08)


@pytest.mark.parametrize("model", ["qwen-turbo", "qwen-plus-2025-07-28"])
async def test_an_unknown_price_is_no_price(model: str) -> None:
    async with ModelStudioServer("Hi", model=model) as server:
        assert (await Agent(server=server.url, model=model).run("hi")).cost is None


async def test_elsewhere_nothing_is_known() -> None:
    async with ScriptedServer("Hi", model="qwen-plus") as server:
        assert (await Agent(server=server.url).run("hi")).cost is None


async def test_a_run_ends_when_its_money_is_spent() -> None:
    async with ModelStudioServer(default=turn(1_000_000, 0), model="qwen-plus") as server:
        agent = Agent(server=server.url, model="qwen-plus", tools=[calculator], limits=Limits(cost=1.0))
        with pytest.raises(LimitReached, match=r"limit of 1\.0 USD.*Limits\(cost=…\)") as caught:
            await agent.run("go on")
        assert len([request for request in server.requests if "messages" in request]) == 3
    assert caught.value.which == "cost"
    assert caught.value.result.cost == pytest.approx(1.2)


async def test_what_cannot_be_counted_cannot_be_limited() -> None:
    async with ScriptedServer("Hi", model="qwen3-8b") as server:
        with pytest.raises(ConfigurationError, match=r"price of qwen3-8b is not known.*tokens"):
            await Agent(server=server.url, limits=Limits(cost=1.0)).run("hi")
