"""``qianda undo``: lists, takes back, and shows what it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from qianda.cli.main import main
from qianda.tools.undo_steps import Steps


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A folder in which a run changed a file in its first step and made one in its second."""
    (tmp_path / "a").write_text("old\n")
    steps = Steps("run-1", tmp_path, pytest.fail)
    for name, content in (("a", "new\n"), ("b", "made\n")):
        step = steps.begin("write_file", scanned=False)
        step.changing(tmp_path / name)
        (tmp_path / name).write_text(content)
        step.end()
    return tmp_path


def test_the_last_run_here_is_taken_back(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["undo"]) == 0
    assert capsys.readouterr().out == "restored a\nremoved b\n"
    assert [path.name for path in changed.iterdir()] == ["a"]
    assert (changed / "a").read_text() == "old\n"
    for arguments, code in ((["undo"], 2), (["undo", "--list"], 0)):
        assert main(arguments) == code
        assert "is left to undo" in capsys.readouterr().err


def test_runs_and_steps_are_listed(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["undo", "--list"]) == 0
    assert capsys.readouterr().out.split("  ")[::2] == ["run-1", "a, b\n"]
    assert main(["undo", "run-1", "--list"]) == 0
    assert capsys.readouterr().out == "  1  write_file  a\n  2  write_file  b\n"
    assert main(["undo", "run-2"]) == 1
    assert "Nothing is kept of a run run-2" in capsys.readouterr().err


def test_a_dry_run_shows_and_does_nothing(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["undo", "--step", "1", "--dry-run"]) == 0
    assert capsys.readouterr().out == "would be restored a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-new\n+old\n"
    assert (changed / "a").read_text() == "new\n"


def test_a_conflict_is_shown_and_left(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (changed / "a").write_text("by hand\n")
    assert main(["undo"]) == 1
    shown = capsys.readouterr()
    assert shown.err == "qianda: a is left as it is: the same lines were changed since\n"
    assert shown.out == "removed b\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-new\n+by hand\n"
    assert (changed / "a").read_text() == "by hand\n"
