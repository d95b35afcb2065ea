"""The command line's --plan and --max-…: what is shown, asked and said."""

from __future__ import annotations

import dataclasses
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qianda.cli.main import main
from qianda.cli.render import RunView
from qianda.cli.terminal import Terminal
from qianda.models.events import Event, PlanChanged
from qianda.models.plan import Plan
from qianda.testing import Call, ScriptedServer, Turn, serving


@dataclasses.dataclass
class Done:
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``qianda run`` in a pipe, with nobody to ask."""

    def run(server: ScriptedServer, *arguments: str) -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        code = main(["run", "--server", server.url, *arguments])
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


def planning(**arguments: object) -> Turn:
    return Turn(calls=[Call("plan", arguments)])


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--max-turns", "2", "2 turns"),
        ("--max-tool-calls", "2", "2 tool calls"),
        ("--max-tokens", "3", "3 tokens"),
        ("--max-seconds", "0.01", "0.01 seconds"),
    ],
)
def test_each_limit_ends_with_code_4_and_the_option_that_raises_it(flag: str, value: str, said: str, run: Run) -> None:
    with serving(ScriptedServer(default=Turn(calls=[Call("current_time")]))) as server:
        done = run(server, "--agent", "coder", "--tools", "time", "Loop", flag, value)
    assert (done.code, done.out) == (4, "")
    assert done.err == f"qianda: The run stopped at its limit of {said}. Raise it with {flag}\n"


def test_a_cost_that_nobody_knows_is_not_limited(run: Run) -> None:
    with serving(ScriptedServer("x", model="own-model")) as server:
        done = run(server, "Go", "--max-cost", "1")
    assert done.code == 2
    assert "--max-tokens" in done.err


def test_in_a_pipe_the_plan_is_the_answer_and_nothing_is_changed(run: Run) -> None:
    turns = [
        Turn(calls=[Call("write_file", {"path": "early.txt", "content": "x"})]),
        planning(steps=["Look", "Write late.txt"]),
    ]
    with serving(ScriptedServer(*turns)) as server:
        done = run(server, "--plan", "--yes", "Go")
    assert (done.code, done.out) == (0, "1. [ ] Look\n2. [ ] Write late.txt\n")
    assert "nobody was there to accept it" in done.err
    assert not Path("early.txt").exists()


def shown(*plans: Plan) -> str:
    out = io.StringIO()
    view = RunView(dataclasses.replace(Terminal.current(), out=out, colour=False, unicode=False))
    events: list[Event] = [PlanChanged(run_id="r", seq=0, time=0.0, plan=plan) for plan in plans]
    for event in events:
        view.show(event)
    return out.getvalue()


def test_a_plan_is_shown_whole_when_it_is_new_and_then_what_changes() -> None:
    first = Plan().revised(["look", "write\x1b[2J"]).begun()
    assert shown(first) == "- Plan\n> 1. look\no 2. write\\x1b[2J\n"
    second = first.moved(1, "done", "3 files")
    assert shown(first, second).removeprefix(shown(first)) == "+ 1. look: 3 files\n> 2. write\\x1b[2J\n"
    third = second.moved(2, "failed").revised(["say why"]).begun()
    assert shown(second, third).removeprefix(shown(second)) == (
        "- Plan\n+ 1. look: 3 files\nx 2. write\\x1b[2J\n> 3. say why\n"
    )
