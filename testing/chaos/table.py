"""An agent against every row of the fault table, and the table as text."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from qianda.agents.agent import Agent
from qianda.models.errors import QiandaError
from qianda.models.events import Discarded, Retrying, TextDelta
from qianda.testing.chaos.server import REPORT, ChaosServer, Row, Shape

_AT_ONCE = 24
_LONGEST = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row.

    Args:
        row: the row.
        shape: how the answers came.
        found: "recovers", the name of an error's class, or what is wrong.
        detail: the error, and how often the request was made again.
        requests: made of the server.
    """

    row: Row
    shape: Shape
    found: str
    detail: str
    requests: int

    @property
    def ok(self) -> bool:
        """It is what was expected."""
        return self.found == self.row.expected


async def try_row(row: Row, shape: Shape) -> Outcome:
    """Run an agent against a row: its call, its answer, and what a watcher sees of it must be right."""
    cities: list[str] = []
    shown: list[str] = []
    retries = 0

    async def weather(city: str = "here") -> str:
        """The weather of a city."""
        cities.append(city)
        return REPORT

    async with ChaosServer(row) as server:
        agent = Agent(
            server=server.url,
            model="qwen3-8b",
            tools=[weather],
            streaming=shape == "sse",
            request_timeout=row.patience,
        )
        try:
            async with asyncio.timeout(60), agent, agent.stream("How is the weather?") as run:
                async for event in run:
                    retries += isinstance(event, Retrying)
                    if isinstance(event, Discarded) or (isinstance(event, Retrying) and event.discard):
                        shown.clear()
                    elif isinstance(event, TextDelta):
                        shown.append(event.text)
                result = run.result
        except (QiandaError, TimeoutError) as error:
            return Outcome(row, shape, type(error).__name__, str(error), len(server.requests))
    found = "recovers"
    if result.output != row.said:
        found = f"answers {_short(result.output)}"
    elif cities != list(row.cities):
        found = f"calls {_short(', '.join(cities))}"
    elif not "".join(shown).endswith(result.output) or "".join(shown).count(result.output) > 1:
        found = f"shows {_short(''.join(shown))}"
    return Outcome(row, shape, found, f"{retries} retried" if retries else "", len(server.requests))


async def try_rows(rows: Iterable[Row]) -> list[Outcome]:
    """Run every row in each of its shapes, some at once."""
    free = asyncio.Semaphore(_AT_ONCE)

    async def one(row: Row, shape: Shape) -> Outcome:
        async with free:
            return await try_row(row, shape)

    return await asyncio.gather(*(one(row, shape) for row in rows for shape in row.shapes))


def table(outcomes: Iterable[Outcome]) -> str:
    """The outcomes, a line each."""
    lines = [f"{'fault':<22} {'the server':<52} {'wire':<5}{'requests':<9}{'outcome':<18} "]
    for outcome in outcomes:
        row, mark = outcome.row, "ok" if outcome.ok else f"FAIL, expected: {outcome.row.expected}"
        head = f"{row.name:<22} {row.does:<52} {outcome.shape:<5}{outcome.requests:<9}{outcome.found:<18} {mark}"
        lines.append(head if outcome.ok else f"{head}; {outcome.detail}")
    return "\n".join(lines)


def _short(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)")
