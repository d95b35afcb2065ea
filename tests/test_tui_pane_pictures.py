"""Pictures of what a person is asked: approvals, forms, plans, trust, and connecting a model."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_tui_app import FakeAgent, Person
from test_tui_approval import CALL, asked, changing
from test_tui_question import SCHEMA
from textual.pilot import Pilot

import qianda.models.resolve as resolving
from qianda.agents.plan import ASK, PLAN_ANSWERS
from qianda.models import embedded
from qianda.models.detection import FoundModel, FoundServer
from qianda.models.errors import NoServer
from qianda.models.servers import server_kinds
from qianda.tools.questions import Question
from qianda.tui.app import QiandaApp

OLD = "def triple(x):\n    return x * 3\n\n\ndef price(item):\n    return PRICES[item]\n"
NEW = OLD.replace("(x)", "(x: float) -> float").replace("    return P", "    # 苹果, pears\n    return P")


async def change(person: Person, *keys: str) -> None:
    request = replace(changing("prices.py", content=NEW), workspace=Path("project"))
    person.kept.append(asked(person, request))
    await person.sees("Run edit_file?")
    await person.pilot.press(*keys)


async def show_change(person: Person) -> None:
    await change(person)


async def show_whole_change(person: Person) -> None:
    await change(person, "ctrl+f")
    await person.sees("change 1 of 1")


async def show_rule(person: Person) -> None:
    person.kept.append(asked(person, CALL))
    await person.sees("Run run_command?")
    await person.pilot.press("down", "down", "down", "down")


async def show_form(person: Person) -> None:
    person.kept.append(person.is_asked(Question(question="Your flight", schema=SCHEMA)))
    await person.sees("Your flight")
    await person.pilot.press("4", "enter")


async def show_plan(person: Person) -> None:
    plan = "1. [ ] Look at the prices\n2. [ ] Add types\n3. [ ] Run the tests"
    person.kept.append(person.is_asked(Question(question=f"{plan}\n{ASK}", options=PLAN_ANSWERS)))
    await person.sees("Carry out this plan?")


async def show_trust(person: Person) -> None:
    await person.sees("None of it is used until you trust it")


async def show_connect(person: Person) -> None:
    await person.sees("Answers on this machine")


@pytest.mark.parametrize(
    "step", [show_change, show_whole_change, show_rule, show_form, show_plan, show_trust, show_connect]
)
def test_picture(
    step: Callable[[Person], Coroutine[Any, Any, None]], snap_compare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = step in (show_whole_change, show_connect)  # and light
    workspace = Path("project")
    workspace.mkdir()
    (workspace / "prices.py").write_text(OLD)

    async def probe() -> list[FoundServer]:
        return [FoundServer("http://127.0.0.1:8000/v1", server_kinds()["vllm"], (FoundModel("Qwen/Qwen3-8B", 40_960),))]

    monkeypatch.setattr(resolving, "probe_local", probe)
    monkeypatch.setattr(embedded, "available", lambda: False)
    agent = FakeAgent()
    if step is show_connect:
        agent.failures = [NoServer("No model server answers on this machine", cure="Start one")]
    if step is show_trust:
        (workspace / "AGENTS.md").write_text("Use tabs")
        (workspace / ".mcp.json").write_text('{"mcpServers": {"weather": {"command": "uvx", "args": ["weather"]}}}')
    app = QiandaApp(agent.open, workspace=workspace)

    async def play(pilot: Pilot[Any]) -> None:
        person = Person(app, pilot, agent)
        if wide:
            app.theme = "qianda-light"
        await person.until(lambda: agent.sessions or step is show_connect)
        await step(person)
        person.chat.status.idle()
        await pilot.pause()

    assert snap_compare(app, terminal_size=(120, 40) if wide else (80, 24), run_before=play)
