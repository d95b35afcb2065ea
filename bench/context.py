"""What a full context window costs: planning a compaction, long runs with compactions, how much of a prompt stays.

``python bench/context.py`` prints a line of JSON: ``plan`` (CPU seconds for a history of a million tokens), ``early``
and ``late`` (CPU seconds per turn in turns 100 to 200 and 400 to 500 of one run in a window of 32k), ``prefix`` (share
of the bytes of a prompt that are the beginning of the prompt before, in that run).
"""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from os.path import commonprefix

import httpx2

from qianda import Agent, Limits, tool
from qianda.agents.compaction import SUMMARY_PROMPT, Measure, plan
from qianda.models.family import find_family
from qianda.models.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage

TURNS, WINDOW = 500, 32_768
TEXT = "The quick brown fox jumps over the lazy dog, 12 times; 敏捷的棕色狐狸跳过了懒狗。 " * 25
clock: list[float] = []
prompts: list[bytes] = []


@tool(read_only=True)
async def look(page: int) -> str:
    """Look at a page."""
    clock.append(time.process_time())
    return f"Page {page}: {TEXT}"


def answer(request: httpx2.Request) -> httpx2.Response:
    """A model that looks at page after page."""
    if request.method == "GET":
        models = [{"id": "qwen3-8b", "object": "model", "owned_by": "vllm", "max_model_len": WINDOW}]
        return httpx2.Response(200, json={"version": "0.32.0", "object": "list", "data": models})
    message: dict[str, object] = {"role": "assistant", "content": "It says little."}
    summary = SUMMARY_PROMPT[:40].encode() in request.content
    if not summary:
        prompts.append(request.content)
        if len(clock) < TURNS:
            call = {"name": "look", "arguments": json.dumps({"page": len(clock)})}
            message["tool_calls"] = [{"id": f"c{len(clock)}", "type": "function", "function": call}]
    usage = {"prompt_tokens": len(request.content) // 4, "completion_tokens": 20}
    return httpx2.Response(200, json={"choices": [{"index": 0, "message": message}], "usage": usage})


async def long_run() -> dict[str, float]:
    """The figures of a run of 500 turns."""
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        agent = Agent(
            server="http://127.0.0.1:9/v1",
            tools=[look],
            limits=Limits(turns=None, tool_calls=None),
            http_client=http,
            streaming=False,
        )
        await agent.run("Look at every page.")
    spent = [later - earlier for earlier, later in pairwise(clock)]
    early, late = spent[100:200], spent[400:500]
    shares = [len(commonprefix(pair)) / len(pair[1]) for pair in pairwise(prompts)]  # noqa: RUF071 -- bytes
    means = {"early": early, "late": late, "prefix": shares}
    return {name: sum(figures) / len(figures) for name, figures in means.items()}


def planning() -> float:
    """CPU seconds to plan what goes of a million tokens; the best of five."""
    measure = Measure(0.25, find_family("qwen3-8b"), resent=True)
    history: list[Message] = [UserMessage("Look at every page.")]
    pair = [AssistantMessage("", "Hm. " * 50, (ToolCall("c", "look", "{}"),)), ToolMessage("c", "look", TEXT)]
    history += pair * (1_000_000 // measure.total(pair) + 1)

    def once() -> float:
        start = time.process_time()
        assert plan(history, measure, before=1_000_000, limit=24_000)
        return time.process_time() - start

    return min(once() for _ in range(5))


if __name__ == "__main__":
    print(json.dumps({"plan": planning(), **asyncio.run(long_run())}))
