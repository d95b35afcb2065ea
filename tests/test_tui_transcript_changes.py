"""What calls change in files: told from their arguments, the file as it is, and what undo keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qianda import Agent
from qianda.models.events import CallFinished
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools import edit_file, run_command, write_file
from qianda.tui.transcript import changes
from qianda.tui.transcript.changes import argued, made, proposed
from qianda.tui.transcript.diff import Diff


def lines(diff: Diff | None) -> list[str]:
    assert diff is not None
    return [line.kind + line.text for hunk in diff.hunks for line in hunk]


@pytest.mark.parametrize(
    ("arguments", "drawn"),
    [
        ({"path": "a", "content": "x\n"}, ["-one", "-two", "+x"]),
        ({"path": "a", "old_text": "two", "new_text": "2"}, [" one", "-two", "+2"]),
        ({"file_path": "a", "old_string": "o", "new_string": "0"}, ["-one", "+0ne", " two"]),
        ({"path": "a", "old_text": "o", "new_text": "0", "replace_all": True}, ["-one", "-two", "+0ne", "+tw0"]),
        ({"path": "a", "old_text": "three", "new_text": "3"}, ["-three", "+3"]),
        ({"path": "new", "content": "x\ny"}, ["+x", "+y"]),
    ],
)
def test_what_a_call_would_change(arguments: dict[str, Any], drawn: list[str], tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\ntwo\n")
    assert lines(proposed(tmp_path, arguments)) == drawn


def test_windows_line_ends_are_read_as_the_tool_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    assert lines(proposed(tmp_path, {"path": "a", "old_text": "one\ntwo", "new_text": "1\ntwo"}))[:2] == ["-one", "+1"]


def test_other_calls_change_nothing_that_is_known(tmp_path: Path) -> None:
    assert proposed(tmp_path, {"path": "a"}) is None
    assert argued({"command": "rm a", "content": "x"}) is None


def test_a_piece_has_no_line_numbers() -> None:
    diff = argued({"path": "a", "old_text": "x", "new_text": "y"})
    assert diff is not None
    assert {(line.old, line.new) for hunk in diff.hunks for line in hunk} == {(0, 0)}


async def test_what_calls_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("one\ntwo\n")
    (tmp_path / "picture").write_bytes(b"\0\1")
    calls = [
        Call("write_file", {"path": "a", "content": "one\n2\n"}),
        Call("edit_file", {"path": "a", "old_text": "one", "new_text": "1"}),
        Call("run_command", {"command": "rm picture; echo x > b; echo y > c"}),
    ]
    async with ScriptedServer(*(Turn(calls=[call]) for call in calls), "done") as server:
        agent = Agent(
            server=server.url,
            tools=[write_file, edit_file, run_command],
            permissions="auto",
            workspace=tmp_path,
            sandbox="off",
        )
        async with agent.stream("go") as run:
            steps = [event.step async for event in run if isinstance(event, CallFinished)]
    assert steps == [1, 2, 3]
    written, edited = made(run.id, 1), made(run.id, 2)
    assert [lines(diff) for diff in (*written, *edited)] == [[" one", "-two", "+2"], ["-one", "+1", " 2"]]
    shown = {(diff.path, diff.kind, diff.count, diff.note) for diff in made(run.id, 3)}
    assert shown == {
        ("picture", "deleted", "+0 −0", "not text"),
        ("b", "created", "+1 −0", ""),
        ("c", "created", "+1 −0", ""),
    }
    monkeypatch.setattr(changes, "MOST_FILES", 1)
    assert [diff.note for diff in made(run.id, 3) if not diff.path] == ["and 2 more files"]
    assert made("nobody", 1) == ()
