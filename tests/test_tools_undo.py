"""What a run changed is taken back, wholly or by step; what others changed since stays."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from qianda import Agent, tool
from qianda.agents.run import Run
from qianda.models.config import data_dir
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools import Context, edit_file, run_command, undo_store, write_file
from qianda.tools.undo import undo
from qianda.tools.undo_steps import Steps
from qianda.tools.undo_store import UndoError, UndoStore


def write(path: str, content: str) -> Call:
    return Call("write_file", {"path": path, "content": content})


def command(line: str) -> Call:
    return Call("run_command", {"command": line})


async def run(workspace: Path, *calls: Call) -> Run:
    """A run that makes these calls one after the other."""
    turns = [Turn(calls=[call]) for call in calls]
    async with ScriptedServer(*turns, "done") as server:
        agent = Agent(
            server=server.url,
            tools=[write_file, edit_file, run_command],
            permissions="auto",
            workspace=workspace,
            sandbox="off",
        )
        async with agent.stream("go") as going:
            await going.wait()
    return going


def tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


async def test_a_run_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "script").chmod(0o755)
    (tmp_path / "gone").write_bytes(b"\0binary")
    (tmp_path / "link").symlink_to("a.txt")
    done = await run(
        tmp_path,
        write("a.txt", "two\n"),
        write("new/deep/b.txt", "new\n"),
        Call("edit_file", {"path": "a.txt", "old_text": "two", "new_text": "three"}),
        command("echo x > script; chmod 600 script; rm gone link; mkdir made; echo y > made/c"),
    )
    assert {(change.path, change.kind) for change in done.changes} == {
        ("a.txt", "changed"),
        ("new/deep/b.txt", "created"),
        ("script", "changed"),
        ("gone", "deleted"),
        ("link", "deleted"),
        ("made/c", "created"),
    }
    (changed,) = (change for change in done.changes if change.path == "a.txt")
    assert changed.diff == "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+three"

    undone = done.undo()

    assert undone.conflicts == ()
    assert tree(tmp_path) == {"a.txt": "one\n", "script": "#!/bin/sh\n", "gone": "\0binary", "link": "one\n"}
    assert stat.S_IMODE((tmp_path / "script").stat().st_mode) == 0o755
    assert (tmp_path / "link").is_symlink()
    assert not (tmp_path / "new").exists()
    assert done.changes == []
    with pytest.raises(UndoError, match="changed nothing that is left to undo"):
        done.undo()


async def test_one_step_is_taken_back_and_the_others_stay(tmp_path: Path) -> None:
    lines = [f"line {number}\n" for number in range(20)]
    (tmp_path / "a").write_text("".join(lines))
    first, second = ("line 2\n", "LINE 2\n"), ("line 15\n", "LINE 15\n")
    done = await run(
        tmp_path,
        *(Call("edit_file", {"path": "a", "old_text": old, "new_text": new}) for old, new in (first, second)),
        write("b", "b"),
    )
    assert [change.path for change in done.undo(1).restored] == ["a"]
    assert (tmp_path / "a").read_text() == "".join(lines).replace(*second)
    assert done.undo(2).conflicts == ()
    assert (tmp_path / "a").read_text() == "".join(lines)
    assert (tmp_path / "b").exists()


async def test_what_others_changed_since_stays(tmp_path: Path) -> None:
    before = "".join(f"{number}\n" for number in range(20))
    for name in ("same", "elsewhere", "deleted"):
        (tmp_path / name).write_text(before)
    done = await run(tmp_path, *(write(name, before.replace("\n3\n", "\n333\n")) for name in tree(tmp_path)))
    by_hand = (tmp_path / "same").read_text().replace("333", "444")
    (tmp_path / "same").write_text(by_hand)
    (tmp_path / "elsewhere").write_text((tmp_path / "elsewhere").read_text().replace("\n15\n", "\n1515\n"))
    (tmp_path / "deleted").unlink()

    assert undo(done.id, dry=True).restored[0].path == "elsewhere"
    assert "333" in (tmp_path / "elsewhere").read_text()
    undone = done.undo()

    assert [change.path for change in undone.restored] == ["elsewhere"]
    assert (tmp_path / "elsewhere").read_text() == before.replace("\n15\n", "\n1515\n")
    reasons = {conflict.path: conflict.reason for conflict in undone.conflicts}
    assert reasons == {"same": "the same lines were changed since", "deleted": "it was deleted since"}
    assert "-333\n+444" in next(conflict.diff for conflict in undone.conflicts if conflict.path == "same")
    assert (tmp_path / "same").read_text() == by_hand
    assert len(done.changes) == 2


async def test_without_git_a_changed_file_is_a_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("1\n2\n3\n4\n")
    done = await run(tmp_path, write("a", "0\n2\n3\n4\n"))
    (tmp_path / "a").write_text("0\n2\n3\n5\n")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert [conflict.path for conflict in done.undo().conflicts] == ["a"]


async def test_a_link_put_there_since_leads_nowhere(tmp_path: Path) -> None:
    outside, workspace = tmp_path / "outside", tmp_path / "workspace"
    for folder in (outside, workspace / "sub"):
        folder.mkdir(parents=True)
    (outside / "a").write_text("theirs")
    (workspace / "sub/a").write_text("old")
    done = await run(workspace, write("sub/a", "theirs"))
    shutil.rmtree(workspace / "sub")
    (workspace / "sub").symlink_to(outside)
    assert [conflict.reason for conflict in done.undo().conflicts] == ["its folder now leads out of the workspace"]
    assert (outside / "a").read_text() == "theirs"


async def test_tools_of_ones_own_take_part(tmp_path: Path) -> None:
    @tool
    def shout(context: Context) -> None:
        """Shout."""
        context.changing(context.workspace / "a")
        (context.workspace / "a").write_text("LOUD")

    (tmp_path / "a").write_text("quiet")
    async with (
        ScriptedServer(Turn(calls=[Call("shout")]), "done") as server,
        Agent(server=server.url, tools=[shout], workspace=tmp_path).stream("go") as going,
    ):
        await going.wait()
    going.undo()
    assert tree(tmp_path) == {"a": "quiet"}


def test_a_process_that_died_in_a_step_leaves_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    steps = Steps("run", tmp_path, pytest.fail)
    steps.begin("write_file", scanned=False).changing(tmp_path / "a")
    (tmp_path / "a").write_text("after")  # and here it was killed
    (conflict,) = undo("run", store=UndoStore()).conflicts
    assert conflict.reason.startswith("the step was interrupted")
    assert "-before\n" in conflict.diff
    (tmp_path / "a").write_text("before")
    assert undo("run").conflicts == ()


def test_what_is_not_covered_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qianda.tools import undo_steps

    monkeypatch.setattr(undo_steps, "MOST_FILES", 5)
    monkeypatch.setattr(undo_steps, "LARGEST_FILE", 100)
    for name in ("a", "b", "c", "d", "e", "f", "g"):
        (tmp_path / name).write_text(name)
    (tmp_path / "big").write_bytes(bytes(200))
    said: list[str] = []
    steps = Steps("run", tmp_path, said.append)
    step = steps.begin("run_command", scanned=True)
    for name in ("a", "b", "g"):
        (tmp_path / name).write_text("changed")
    (tmp_path / "big").write_bytes(bytes(300))
    (tmp_path / "0").touch()
    step.end()
    assert said[0].startswith("This folder holds too much to undo all that commands change: only its first 5 files")
    assert "big is too large to be undone" in said
    assert {change.path for change in undo("run", dry=True).restored} == {"a", "b"}


def test_what_programs_make_again_is_left_out(tmp_path: Path) -> None:
    steps = Steps("run", tmp_path, pytest.fail)
    step = steps.begin("run_command", scanned=True)
    for name in ("node_modules/x", ".git/index", ".venv/bin/python", "__pycache__/a.pyc", "src/a.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe")
    step.end()
    assert [change.path for change in undo("run", dry=True).restored] == ["src/a.py"]


def test_the_oldest_runs_go_when_there_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undo_store, "LARGEST", 25_000)
    for number in range(5):
        steps = Steps(f"run{number}", tmp_path, pytest.fail)
        step = steps.begin("write_file", scanned=False)
        step.changing(tmp_path / "a")
        (tmp_path / "a").write_bytes(os.urandom(10_000))
        step.end()
    store = UndoStore()
    assert [run_id for run_id, _ in store.runs(tmp_path)] == ["run4", "run3"]
    assert store.path.parent == data_dir()
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    undone = undo("run4")
    assert [change.path for change in undone.restored] == ["a"]
    with pytest.raises(UndoError, match="Nothing is kept of a run run0"):
        undo("run0")


async def test_a_file_that_cannot_be_kept_is_not_changed(tmp_path: Path) -> None:
    data_dir().parent.mkdir(parents=True, exist_ok=True)
    data_dir().write_text("a file in the place of the folder")
    (tmp_path / "a").write_text("before")
    steps = Steps("run", tmp_path, lambda text: None)
    context = Context(workspace=tmp_path, changing=steps.begin("write_file", scanned=False).changing)
    result = await write_file.call({"path": "a", "content": "after"}, context)
    assert result.failed
    assert "could not be undone" in str(result.content)
    assert (tmp_path / "a").read_text() == "before"


async def test_a_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"a\xff.txt")).write_text("one")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    (tmp_path / "b.txt").write_text("one")
    done = await run(tmp_path, command("for f in *.txt; do echo two > $f; done"))
    assert [change.path for change in done.undo().restored] == ["b.txt"]


async def test_our_own_data_in_the_workspace_is_left_out() -> None:
    workspace = data_dir().parent
    workspace.mkdir(parents=True, exist_ok=True)
    done = await run(workspace, command("echo one > a; mkdir -p qianda; echo x > qianda/x"))
    assert [change.path for change in done.changes] == ["a"]
    assert done.undo().conflicts == ()
