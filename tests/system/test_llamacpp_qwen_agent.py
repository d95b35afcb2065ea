"""Qwen-Agent and ours over a real llama.cpp: our tool in its ``Assistant``, our agent on its backend with its tool."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from typing import Any

import pytest

from qianda import Agent, ToolMessage, tool
from qianda.models.embedded import EmbeddedServer, start_embedded
from qianda.models.embedded.weights import installed_weights
from qianda.models.qwen_agent import load_qwen_agent, qwen_agent_server
from qianda.tools.qwen_agent import as_qwen_agent, qwen_agent_tool

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(300)]


@pytest.fixture
async def engine() -> AsyncIterator[EmbeddedServer]:
    if importlib.util.find_spec("xllamacpp") is None or installed_weights() is None:
        pytest.skip("xllamacpp or the demo weights are missing: bash tests/servers/setup_llamacpp.sh")
    engine = await start_embedded(None, download=False, notify=print)
    yield engine
    await asyncio.to_thread(engine.close)


@tool
async def temperature(city: str) -> str:
    """Temperature of a city now.

    Args:
        city: name of the city.
    """
    return f"{city}: 31 degrees"


def settings(engine: EmbeddedServer, **generate: Any) -> dict[str, Any]:
    generate = {"temperature": 0.0, "max_tokens": 200, "seed": 1} | generate
    return {
        "model": "demo",
        "model_type": "oai",
        "model_server": engine.url,
        "api_key": engine.api_key,
        "generate_cfg": generate,
    }


async def test_our_tool_in_its_assistant(engine: EmbeddedServer) -> None:
    theirs = load_qwen_agent("qwen_agent.agents").Assistant(
        llm=settings(engine), function_list=[as_qwen_agent(temperature)]
    )

    def work() -> list[dict[str, Any]]:
        *_, last = theirs.run([{"role": "user", "content": "What is the temperature in Hangzhou? Use the tool."}])
        return last

    messages = await asyncio.to_thread(work)
    print(messages)
    assert [message["content"] for message in messages if message["role"] == "function"] == ["Hangzhou: 31 degrees"]
    assert messages[-1]["role"] == "assistant"
    assert messages[-1]["content"]


async def test_its_backend_and_its_tool_in_our_agent(engine: EmbeddedServer) -> None:
    base = load_qwen_agent("qwen_agent.tools.base").BaseTool

    def call(_self: Any, params: str, **_: Any) -> str:
        return f"31 degrees, says {params}"

    parameters = [{"name": "city", "type": "string", "description": "name of the city", "required": True}]
    cls = type(
        "Temperature",
        (base,),
        {"name": "temperature", "description": "Temperature of a city now.", "parameters": parameters, "call": call},
    )
    agent = Agent(server=qwen_agent_server(settings(engine)), tools=[qwen_agent_tool(cls)], thinking=False)
    result = await agent.run("What is the temperature in Hangzhou? Use the tool.")
    print(result.messages)
    said = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert said == ['31 degrees, says {"city": "Hangzhou"}']
    assert result.output
