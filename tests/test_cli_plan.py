"""The command line's --plan and --max-…: what is shown, asked and said."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from qianda.cli.main import main
from qianda.cli.render import RunView
from qianda.cli.terminal import Terminal
from qianda.models.config import user_config_path
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
    numbers = count()

    def another(_body: object) -> Turn:
        return Turn(calls=[Call("calculator", {"expression": f"{next(numbers)}+1"})])

    with serving(ScriptedServer(default=another)) as server:
        done = run(server, "--agent", "coder", "--tools", "calculator", "Loop", flag, value)
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


LOOP = Turn(calls=[Call("current_time", {"timezone": "UTC"})])


def test_a_run_that_a_limit_stopped_goes_on_under_another(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ScriptedServer(LOOP, LOOP, "It is noon.")) as server:
        assert run(server, "When?", "--max-turns", "1").code == 4
        assert main(["resume", "last", "--server", server.url, "--max-turns", "1"]) == 4
        assert "limit of 1 turns. Raise it with --max-turns" in capsys.readouterr().err
        assert main(["resume", "last", "--server", server.url, "--max-tool-calls", "1"]) == 4
        assert "1 tool calls" in capsys.readouterr().err
        assert main(["resume", "last", "--server", server.url]) == 0
    assert capsys.readouterr().out == "It is noon.\n"


def test_a_run_goes_on_in_plan_mode(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    write = Turn(calls=[Call("write_file", {"path": "early.txt", "content": "x"})])
    with serving(ScriptedServer(LOOP, write, planning(steps=["Write early.txt"]))) as server:
        assert run(server, "Go", "--max-turns", "1", "--yes").code == 4
        assert main(["resume", "last", "--server", server.url, "--yes", "--plan"]) == 0
    out, err = capsys.readouterr()
    assert out == "1. [ ] Write early.txt\n"
    assert "nobody was there to accept it" in err
    assert not Path("early.txt").exists()


def test_limits_of_the_settings_hold_and_options_win_over_them(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    user_config_path().parent.mkdir(parents=True, exist_ok=True)
    user_config_path().write_text("[limits]\nturns = 2\n")
    own = user_config_path().with_name("agents") / "short.toml"
    own.parent.mkdir()
    own.write_text("[limits]\nturns = 1\n")
    with serving(ScriptedServer(default=LOOP)) as server:
        assert "limit of 2 turns" in run(server, "Go").err
        assert "limit of 3 turns" in run(server, "Go", "--max-turns", "3").err
        assert "limit of 1 turns" in run(server, "Go", "--agent", "short").err
        user_config_path().write_text("[limits]\ntokens = 9\n")
        assert "limit of 1 turns" in run(server, "Go", "--agent", "short").err
    assert main(["agents", "show", "short", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["limits"]
    assert (shown["turns"], shown["tokens"], shown["tool_calls"]) == (1, 9, 200)


def test_nothing_is_recorded_where_the_settings_say_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def recorded() -> list[str]:
        assert main(["sessions", "list", "--json"]) == 0
        return [session["title"] for session in json.loads(capsys.readouterr().out)]

    user_config_path().parent.mkdir(parents=True, exist_ok=True)
    user_config_path().write_text("record = false\n")
    with serving(ScriptedServer(default=Turn("Well."))) as server:
        assert run(server, "One").out == "Well.\n"
        assert recorded() == []
        assert run(server, "Two", "--record").code == 0
        assert run(server, "Three", "--session", "trip").code == 0
        assert run(server, "Four", "--continue").code == 0
        assert run(server, "Five", "--continue", "--no-record").code == 2
        user_config_path().unlink()
        assert run(server, "Six", "--no-record").code == 0
    assert recorded() == ["Three", "Two"]


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
