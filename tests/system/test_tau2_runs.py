"""The action lists of tau2-bench as long runs that are interrupted; ``tests/system/setup_tau2.sh`` fetches them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent, Limits
from qianda.agents.conversation import from_records
from qianda.agents.journal import open_journal
from qianda.models.events import CallFinished
from qianda.models.messages import ToolMessage, ToolSchema
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools.context import Context
from qianda.tools.results import ToolResult
from qianda.tools.tool import Tool

# Read before the tests get a home of their own.
PARTS = Path(os.environ.get("QIANDA_PARTS") or Path.home() / ".cache/qianda-parts") / "tau2"
DOMAINS = PARTS / "tau2/data/tau2/domains"
LONGEST = 150

Action = dict[str, Any]

pytestmark = [pytest.mark.pypi, pytest.mark.timeout(180)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Acted(Tool):
    """A tool of the bench: takes anything, and notes each time that it took effect."""

    consent: bool = True
    done: list[str] = field(default_factory=list[str])

    @property
    def schema(self) -> ToolSchema:
        """Any object."""
        return ToolSchema(self.name, f"{self.name} of the bench", {"type": "object"})

    def read_arguments(self, text: str) -> dict[str, Any]:
        """As they are."""
        return json.loads(text)

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Note it."""
        self.done.append(context.idempotency_key)
        return ToolResult(f"{self.name} {len(self.done)}: {json.dumps(arguments, ensure_ascii=False)}")


def actions(domain: str) -> list[Action]:
    """What the assistant is to do in the tasks of a domain, one after the other."""
    tasks = json.loads((DOMAINS / domain / "tasks.json").read_text(encoding="utf-8"))
    lists = ((task.get("evaluation_criteria") or {}).get("actions") or [] for task in tasks)
    return [action for listed in lists for action in listed if action.get("requestor") != "user"]


@pytest.mark.parametrize("domain", ["airline", "retail", "telecom"])
async def test_a_long_run_that_is_interrupted_again_and_again(tmp_path: Path, domain: str) -> None:
    if not DOMAINS.is_dir():
        pytest.skip("the tasks of tau2-bench are not here: tests/system/setup_tau2.sh")
    wanted = actions(domain)[:LONGEST]
    assert len(wanted) == min(LONGEST, len(actions(domain))) > 100
    done: list[str] = []
    tools = [Acted(name=name, done=done) for name in sorted({action["name"] for action in wanted})]
    journal = tmp_path / "journal.db"

    def reply(body: dict[str, Any]) -> Turn:
        at = sum(message["role"] == "tool" for message in body["messages"])
        if at == len(wanted):
            return Turn("All is done.")
        return Turn(calls=[Call(wanted[at]["name"], wanted[at]["arguments"])])

    limits = Limits(turns=2 * LONGEST, tool_calls=2 * LONGEST)
    run_id = ""
    async with ScriptedServer(*[reply] * (LONGEST + 20), model="qwen3-8b") as server:
        for interrupted_after in (1, 20, 2, 40, None):
            agent = Agent(server=server.url, model="qwen3-8b", tools=tools, journal=journal, limits=limits)
            async with agent, agent.resume(run_id) if run_id else agent.stream("Do all of it.") as run:
                run_id = run.id
                fresh = 0
                async for event in run:
                    fresh += isinstance(event, CallFinished) and not event.replayed
                    if fresh == interrupted_after:
                        run.cancel()
        assert run.result.output == "All is done."
    assert len(done) == len(set(done)) == len(wanted)
    messages = from_records(open_journal(journal).records(run_id))
    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert [(message.name, message.outcome) for message in results] == [(a["name"], "done") for a in wanted]
    assert tuple(messages) == run.result.messages
