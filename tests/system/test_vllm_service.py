"""What a real vLLM does around replies: cancelling, windows, counts, refusals."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import httpx2
import pytest

from qianda import Agent, ContextTooLong, Sampling, ServerRefused, UserMessage, tool
from qianda.models.events import Compacted, TextDelta
from qianda.models.messages import SystemMessage, ToolSchema
from qianda.models.reply import UsagePiece
from qianda.models.tokens import count_at_server

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(400)]

on_hermes = pytest.mark.parametrize("vllm", ["hermes"], indirect=True)
both_ways = pytest.mark.parametrize("streaming", [True, False], ids=["SSE", "JSON"])


async def metrics(http: httpx2.AsyncClient, url: str) -> dict[str, float]:
    """Sums of vLLM's counters by name."""
    text = (await http.get(url.removesuffix("/v1") + "/metrics")).text
    sums: dict[str, float] = {}
    for name, value in re.findall(r"^vllm:(\w+)\{[^\n]*\} (\S+)$", text, re.MULTILINE):
        sums[name] = sums.get(name, 0) + float(value)
    return sums


@on_hermes
@both_ways
async def test_cancelling_stops_the_generation(vllm: Any, streaming: bool) -> None:
    marker = vllm.say({"thought": "Long.", "text": "again " * 8_000})
    agent = Agent(server=vllm.url, model=vllm.models[0], streaming=streaming)
    async with asyncio.timeout(120), httpx2.AsyncClient(trust_env=False) as http:
        before = (await metrics(http, vllm.url))["generation_tokens_total"]
        async with agent.stream(f"Go on. {marker}") as run:
            if streaming:
                async for event in run:
                    if isinstance(event, TextDelta):
                        break
            while (await metrics(http, vllm.url))["num_requests_running"] == 0:
                pass
            run.cancel()
        while (await metrics(http, vllm.url))["num_requests_running"] > 0:
            pass
        assert (await metrics(http, vllm.url))["generation_tokens_total"] - before < 8_000


@on_hermes
@both_ways
async def test_a_prompt_that_is_too_long(vllm: Any, streaming: bool) -> None:
    agent = Agent(server=vllm.url, model=vllm.models[0], streaming=streaming)
    with pytest.raises(ContextTooLong, match="32768"):
        await agent.run("word " * 33_000)


@on_hermes
@both_ways
async def test_the_context_error_of_a_run_is_recovered_from(vllm: Any, streaming: bool) -> None:
    @tool
    async def look(page: int) -> str:
        """Look at a page."""
        return f"Page {page}: " + "word " * 3_950

    def call(page: int) -> dict[str, str | None]:
        arguments = f'{{"name": "look", "arguments": {{"page": {page}}}}}'
        return {"thought": "On.", "text": f"<tool_call>\n{arguments}\n</tool_call>"}

    marker = vllm.say(*(call(page) for page in range(9)), {"thought": "Done.", "text": "All nine are read."})
    agent = Agent(server=vllm.url, model=vllm.models[0], tools=[look], streaming=streaming)
    async with agent:
        async with agent.opened() as resources:
            resources.client.window = 1_000_000  # what the server has is only known from its refusal
        async with agent.stream(f"The code is 7391. {marker}") as run:
            events = [event async for event in run]
    compacted = [event for event in events if isinstance(event, Compacted)]
    assert run.result.output == "All nine are read."
    assert [event.before > 32_768 for event in compacted] == [True]
    assert run.result.messages[0] == UserMessage(f"The code is 7391. {marker}")


@on_hermes
async def test_an_output_that_is_too_long_is_clamped(vllm: Any) -> None:
    marker = vllm.say({"thought": "Short.", "text": "All is done."})
    agent = Agent(server=vllm.url, model=vllm.models[0], sampling=Sampling(max_tokens=1_000_000))
    assert (await agent.run(f"Go. {marker}")).output == "All is done."


@on_hermes
async def test_a_model_that_is_not_there(vllm: Any) -> None:
    with pytest.raises(ServerRefused, match=r"qwen3-none.*qianda doctor"):
        await Agent(server=vllm.url, model="qwen3-none").run("Go.")


@on_hermes
@pytest.mark.parametrize("tools", [(), (ToolSchema("get_time", "The time.", {"type": "object", "properties": {}}),)])
async def test_the_server_counts_what_it_is_sent(vllm: Any, tools: tuple[ToolSchema, ...]) -> None:
    marker = vllm.say({"thought": "Short.", "text": "All is done."})
    messages = [SystemMessage("Be brief."), UserMessage(f"千问, how long is this? {marker}")]
    agent = Agent(server=vllm.url, model=vllm.models[0])
    async with agent.opened() as resources, httpx2.AsyncClient(trust_env=False) as http:
        client = resources.client
        usage: list[int] = []
        async for batch in client.ask(messages, tools, client.encoder()):
            assert isinstance(batch, list)
            usage += [piece.usage.input_tokens for piece in batch if isinstance(piece, UsagePiece)]
        count = await count_at_server(http, client.endpoint, messages, tools)
    assert count.exact
    assert [count.tokens] == usage
