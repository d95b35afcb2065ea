"""Compacted runs with plans and agents that get tasks, as the command line and the chat show them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qianda.cli.main import main
from qianda.models.config import user_config_path
from qianda.models.events import Compacted, PlanChanged, from_json
from qianda.testing import Call, ScriptedServer, Turn, serving


def model(body: dict[str, Any]) -> Turn:
    """Plans, gives a task, reads files until there is no room, and answers."""
    messages = body["messages"]
    first = next(one for one in messages if one["role"] == "user")["content"]
    results = [one for one in messages if one["role"] == "tool"]
    if first.startswith("task"):
        return Turn("it is there") if results else Turn(calls=[Call("list_files", {"path": "."})])
    steps = [
        Call("plan", {"steps": ["look", "say"]}),
        Call("task", {"agent": "assistant", "task": "task: look"}),
        *(Call("read_file", {"path": f"{number}.txt"}) for number in range(4)),
        Call("plan", {"state": "done"}),
    ]
    return Turn(calls=[steps[len(results)]]) if len(results) < len(steps) else Turn("All is read.")


@pytest.fixture
def server() -> Any:
    for number in range(4):
        Path(f"{number}.txt").write_text(f"{number} says little.\n" * 400)
    path = user_config_path().with_name("agents") / "lead.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('agents = ["assistant"]\ntools = ["files", "plan"]\n')
    with serving(ScriptedServer(default=model, window=8192)) as server:
        yield server


def test_json_has_every_event_of_a_run_and_those_of_its_agents(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--agent", "lead", "--server", server.url, "--json", "Read all"]) == 0
    events = [from_json(line) for line in capsys.readouterr().out.splitlines()]
    runs: dict[str, list[int]] = {}
    for event in events:
        runs.setdefault(event.run_id, []).append(event.seq)
    assert len(runs) == 2
    assert all(seq == list(range(len(seq))) for seq in runs.values())
    assert {Compacted, PlanChanged} <= {type(event) for event in events}


def test_people_see_the_plan_what_was_compacted_and_what_agents_do(
    server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--agent", "lead", "--server", server.url, "--verbose", "Read all"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "All is read.\n"
    for text in ("1. look", "2. say", "Context compacted: ", "list_files"):
        assert text in shown.err, shown.err
