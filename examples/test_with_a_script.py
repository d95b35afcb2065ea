"""How to test an agent: a scripted model server on loopback says what the test wants.

    pytest examples/test_with_a_script.py

No model is needed; the requests go over real HTTP.
"""

import asyncio

from qianda import Agent, tool
from qianda.testing import Call, ScriptedServer, Turn


@tool
def stock(item: str) -> int:
    """How many of an item are in stock.

    Args:
        item: name of the item.
    """
    return {"lamp": 3}.get(item, 0)


async def ask_the_shop(server: str, question: str) -> str:
    """What is tested: an agent with one tool."""
    result = await Agent(server=server, tools=[stock]).run(question)
    return result.output


def test_the_shop_looks_into_its_stock() -> None:
    """The model's call reaches the tool, and the tool's result reaches the model."""

    async def scenario() -> None:
        script = Turn(calls=[Call("stock", {"item": "lamp"})]), Turn("There are three lamps.")
        async with ScriptedServer(*script) as server:
            assert await ask_the_shop(server.url, "Are there lamps?") == "There are three lamps."
            told = server.requests[-1]["messages"][-1]
            assert (told["role"], told["content"]) == ("tool", "3")

    asyncio.run(scenario())
