"""Whole runs against the recorded traffic of a real vLLM, replayed in small pieces: JSON and SSE give the same run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from qianda import Agent, AssistantMessage, RunResult, ToolMessage, tool
from qianda.testing import ReplayServer

WIRE = Path(__file__).parent / "fixtures" / "wire" / "vllm-0.32"


@tool
async def read_file(path: str) -> str:
    """Read a text file."""
    return f"milk, eggs ({path})"


@tool
async def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"sunny in {city}"


async def replay(name: str, *, streaming: bool) -> RunResult:
    """A run whose first reply is a recording and whose second is a plain answer."""
    paths = (WIRE / f"{name}.resp.http", WIRE / "01_auto_plain.resp.http")
    # In two thousand pieces, a few bytes each: cuts at every byte are tested where replies are read.
    piece = 1 + paths[0].stat().st_size // 2000
    async with asyncio.timeout(30), ReplayServer(*paths, piece=piece if streaming else None) as server:
        agent = Agent(server=server.url, model="qwen3-tiny", tools=[read_file, get_weather], streaming=streaming)
        return await agent.run("Read notes.txt and summarise it.")


def shape(result: RunResult) -> list[object]:
    """What must be the same: everything but the ids that the server made up."""
    told: list[object] = []
    for message in result.messages:
        if isinstance(message, AssistantMessage):
            calls = [(call.name, json.loads(call.arguments)) for call in message.tool_calls]
            told.append((message.content, message.reasoning, calls))
        else:
            told.append((message.role, message.content))
    return told


PAIRS = [
    ("02_auto_read", "03_auto_read_stream"),
    ("05_parallel_false", "06_parallel_false_stream"),
    ("07_required_read", "08_required_read_stream"),
    ("12_named", "13_named_stream"),
    ("16_none", "17_none_stream"),
    ("19_cut_in_call", "20_cut_in_call_stream"),
    ("21_cut_second_call", "22_cut_second_call_stream"),
    ("23_cut_after_call_body", "24_cut_after_call_body_stream"),
]


@pytest.mark.parametrize(("whole", "stream"), PAIRS)
async def test_json_and_sse_give_the_same_run(whole: str, stream: str) -> None:
    one, other = await replay(whole, streaming=False), await replay(stream, streaming=True)
    assert shape(one) == shape(other)
    assert "tool_call>" not in one.output
    assert one.output == "The capital of France is **Paris**."


async def test_parallel_calls_are_both_made() -> None:
    result = await replay("04_auto_parallel_stream", streaming=True)
    results = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert results == ["sunny in Paris", "sunny in Tokyo"]


async def test_a_call_that_was_cut_is_explained_to_the_model() -> None:
    result = await replay("20_cut_in_call_stream", streaming=True)
    told = [message.content for message in result.messages if isinstance(message, ToolMessage)]
    assert len(told) == 1
    assert "could not be read" in str(told[0])
