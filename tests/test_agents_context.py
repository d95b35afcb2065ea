"""Conversations that outgrow the model's window: put away, summarised, recovered, resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from qianda import Agent, Limits, tool
from qianda.agents.compaction import SUMMARY_PROMPT
from qianda.models.events import Compacted, Event
from qianda.testing import Call, ScriptedServer, Turn

FACTS = "Facts to remember: the vault's code is 7391, Mia's birthday is 4 May. Look at every page, then say the code."
NO_LIMITS = Limits(turns=None, tool_calls=None)
ASKED = SUMMARY_PROMPT[:40]


@tool(read_only=True)
async def look(page: int) -> str:
    """Look at a page."""
    return f"Page {page}: " + f"line {page} of the report says little; " * 35


def text_of(body: dict[str, Any]) -> str:
    return json.dumps(body["messages"], ensure_ascii=False)


def is_summary(body: dict[str, Any]) -> bool:
    return ASKED in str(body["messages"][-1]["content"])


class Worker:
    """A model that calls ``look`` so many times and then answers by what it still sees."""

    def __init__(self, turns: int, *, reasoning: str = "", arguments: Callable[[int], Any] | None = None) -> None:
        self.turns = turns
        self.done = 0
        self.summaries = 0
        self._reasoning = reasoning
        self._arguments = arguments or (lambda page: {"page": page})

    def __call__(self, body: dict[str, Any]) -> Turn:
        if is_summary(body):
            self.summaries += 1
            return Turn(f"Pages up to {self.done} were looked at; they say little.")
        if self.done < self.turns:
            self.done += 1
            return Turn(reasoning=self._reasoning, calls=[Call("look", self._arguments(self.done))])
        seen = text_of(body)
        return Turn(f"7391: {'7391' in seen}, birthday: {'4 May' in seen}")


def refused(server: ScriptedServer) -> int:
    """Requests that did not fit the server's window."""
    return sum(len(json.dumps([body["messages"], body.get("tools")])) // 4 >= 8192 for body in server.requests)


async def watched(agent: Agent[Any], prompt: str) -> tuple[Any, list[Event]]:
    async with agent.stream(prompt) as run:
        events = [event async for event in run]
    return run.result, events


async def test_200_turns_in_a_window_of_8k_keep_the_facts() -> None:
    worker = Worker(200)
    async with ScriptedServer(default=worker, window=8192) as server:
        agent = Agent(server=server.url, tools=[look], limits=NO_LIMITS)
        result, events = await watched(agent, FACTS)
        compacted = [event for event in events if isinstance(event, Compacted)]
        assert result.output == "7391: True, birthday: True"
        assert worker.done == 200
        assert refused(server) == 0
        assert compacted
        assert all(event.after < event.before <= 8192 for event in compacted)
        assert len(compacted) < 40  # in big steps


def shared(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The share of the second prompt that begins as the first one did."""
    same = 0
    for first, second in zip(one["messages"], other["messages"], strict=False):
        if first != second:
            break
        same += len(json.dumps(second))
    return same / len(json.dumps(other["messages"]))
