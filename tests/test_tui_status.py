"""The status line: what it says, and what goes first where there is no room."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from textual.app import App, ComposeResult

from qianda.models.messages import Usage
from qianda.tui.place import place_of
from qianda.tui.status import StatusLine
from qianda.tui.transcript.rows import width_of


def full() -> StatusLine:
    status = StatusLine()
    status.say(model="qwen3-8b · vLLM", window=32_768, mode="ask", thinking="no thinking", place="项目 (main)")
    status.count(Usage(1_000, 100), 2.0)
    return status


def test_everything_is_said_where_there_is_room() -> None:
    line = full().line(160)
    for part in (
        "qwen3-8b · vLLM",
        "1,100/32,768 tokens",
        "ask",
        "no thinking",
        "项目 (main)",
        "50 tokens/s",
        "F1 help",
    ):
        assert part in line


@pytest.mark.parametrize("width", range(10, 140, 7))
def test_it_is_never_wider_than_the_screen_and_the_model_stays(width: int) -> None:
    line = full().line(width)
    assert width_of(line) <= width
    assert line.lstrip().startswith("qwen3"[: width - 3])


def test_a_hint_and_the_keys_of_a_pane_come_before_what_stands_there_all_the_time() -> None:
    status = full()
    status.say(keys=("Up/Down, Enter · Esc stops the run", "Esc stops"))
    assert status.line(80).rstrip().endswith("Esc stops the run")
    assert status.line(34).rstrip().endswith("Esc stops")
    status.say(hint="Copied 12 characters")
    assert status.line(80).rstrip().endswith("Copied 12 characters")


async def test_a_reply_that_stops_coming_is_said_and_the_key_that_stops_it_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Empty(App[None]):
        def compose(self) -> ComposeResult:
            yield StatusLine()

    async with Empty().run_test() as pilot:
        now = 100.0
        status = pilot.app.query_one(StatusLine)
        status.say(model="qwen3-8b · vLLM", waiting=1, queued=2)
        monkeypatch.setattr("qianda.tui.status.time.monotonic", lambda: now)
        status.busy("answering")
        now = 104.0
        status.heard()
        now = 108.0
        assert "silent" not in status.line(120)
        now = 110.0
        assert "answering 10 s, silent for 6.0 s · 1 waiting to be read" in status.line(120)
        assert status.line(60).endswith("… Esc stops")
        status.busy("running make")
        now = 150.0
        assert "silent" not in status.line(120)
        assert "1 waiting to be read · 2 queued · qwen" in status.line(80)


def test_costs_are_added_up_where_there_is_a_price() -> None:
    status = full()
    assert "$" not in status.line(160)
    status.say(prices="qwen-plus")
    status.count(Usage(1_000_000, 1_000), 2.0)
    once = status.spent
    status.count(Usage(1_000_000, 1_000), 2.0)
    assert status.spent == pytest.approx(2 * once)
    assert f"${status.spent:.4f}" in status.line(160)


def test_the_branch_is_read_also_in_a_worktree_and_on_a_commit(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    assert place_of(tmp_path) == tmp_path.name
    git("init", "-q", "-b", "feature/x")
    git("commit", "-q", "--allow-empty", "-m", "one")
    (tmp_path / "deep").mkdir()
    assert place_of(tmp_path / "deep") == "deep (feature/x)"
    git("worktree", "add", "-q", "-b", "other", "tree")
    assert place_of(tmp_path / "tree") == "tree (other)"
    git("checkout", "-q", "--detach")
    assert place_of(tmp_path) == f"{tmp_path.name} ({git('rev-parse', 'HEAD')[:8]})"
