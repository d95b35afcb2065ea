"""move_file: moves, renames, and a trash that undo brings things back from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from qianda.models.config import data_dir
from qianda.tools import Context, Permissions, Rules, move_file
from qianda.tools.builtin import trash
from qianda.tools.undo import undo
from qianda.tools.undo_steps import Steps


def tree(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    (tmp_path / "src/deep").mkdir(parents=True)
    (tmp_path / "src/a.txt").write_text("a")
    (tmp_path / "src/deep/b.txt").write_text("b")
    (tmp_path / "c.txt").write_text("c")
    (tmp_path / "link").symlink_to("c.txt")
    return Steps("run", tmp_path, lambda _: None)


async def move(steps: Steps, **arguments: Any) -> str:
    step = steps.begin("move_file", scanned=False)
    context = Context(workspace=steps.workspace, changing=step.changing)
    result = await move_file.call(move_file.read_arguments(json.dumps(arguments)), context)
    step.end()
    return f"{'failed: ' if result.failed else ''}{result.content}"


async def test_what_is_moved_and_thrown_away_comes_back(steps: Steps, tmp_path: Path) -> None:
    before = tree(tmp_path)
    assert await move(steps, path="src/a.txt", to="new/x.txt") == "Moved src/a.txt to new/x.txt"
    assert await move(steps, path="c.txt", to="src") == "Moved c.txt to src/c.txt"
    assert await move(steps, path="src", to="lib") == "Moved src to lib"
    assert tree(tmp_path) == {"new/x.txt": "a", "lib/deep/b.txt": "b", "lib/c.txt": "c"}
    assert await move(steps, path="lib") == "Moved lib to the trash (undo brings it back)"
    assert not (tmp_path / "lib").exists()
    assert [path.read_text() for path in (data_dir() / "trash").rglob("b.txt")] == ["b"]
    assert undo("run").conflicts == ()
    assert tree(tmp_path) == before


async def test_a_link_is_moved_and_not_what_it_leads_to(steps: Steps, tmp_path: Path) -> None:
    assert "to the trash" in await move(steps, path="link")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "c.txt").read_text() == "c"
    undo("run")
    assert (tmp_path / "link").is_symlink()


async def test_what_cannot_be_moved(steps: Steps, tmp_path: Path) -> None:
    before = tree(tmp_path)
    (tmp_path / "out").symlink_to("/tmp")
    assert "exists already" in await move(steps, path="c.txt", to="src/a.txt")
    assert "exists already" in await move(steps, path="c.txt", to=".")
    assert "is inside of what is to be moved" in await move(steps, path="src", to="src/deep/src")
    assert '"d.txt" does not exist; did you mean' in await move(steps, path="d.txt")
    for path in (".", "", str(tmp_path)):
        assert "the workspace itself" in await move(steps, path=path)
    for path, to in (("../x", ""), ("c.txt", "../x"), ("c.txt", "/tmp/x"), ("c.txt", "out"), ("out/x", ""), ("..", "")):
        assert "outside the workspace" in await move(steps, path=path, to=to)
    assert tree(tmp_path) == before


async def test_too_many_files_and_too_large_ones(steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trash, "_MOST_FILES", 1)
    assert "more than 1 files" in await move(steps, path="src")
    assert (tmp_path / "src").exists()
    monkeypatch.setattr(trash, "_LARGEST_KEPT", 0)
    said = await move(steps, path="c.txt")
    (place,) = (data_dir() / "trash").rglob("c.txt")
    assert said == f"Moved c.txt to the trash (too large for undo: it is {place})"
    assert place.read_text() == "c"


async def test_the_trash_forgets_what_is_old(steps: Steps) -> None:
    await move(steps, path="c.txt")
    (old,) = (data_dir() / "trash").iterdir()
    os.utime(old, (1, 1))
    await move(steps, path="src/a.txt")
    (new,) = (data_dir() / "trash").iterdir()
    assert (new / "a.txt").exists()


@pytest.mark.parametrize("denied", ["write_file(src/a.txt)", "read_file(src/a.txt)", "write_file(new/a.txt)"])
async def test_a_rule_for_a_file_holds_for_what_moves_it(steps: Steps, denied: str) -> None:
    permissions = Permissions(Rules("auto", deny=[denied]), workspace=steps.workspace)
    (steps.workspace / "new").mkdir()
    assert permissions.judge(move_file, {"path": "src/a.txt", "to": "new"}).action == "deny"
    assert permissions.judge(move_file, {"path": "c.txt", "to": "new/b.txt"}).action == "allow"
    if "src" in denied:
        assert permissions.judge(move_file, {"path": "src", "to": "lib"}).action == "deny"
        assert permissions.judge(move_file, {"path": "src"}).action == "deny"


async def test_a_folder_with_keys_is_not_moved_unasked(steps: Steps) -> None:
    permissions = Permissions("edits", workspace=steps.workspace)
    assert permissions.judge(move_file, {"path": "src", "to": "lib"}).action == "allow"
    (steps.workspace / "src/.env").touch()
    assert permissions.judge(move_file, {"path": "src", "to": "lib"}).action == "ask"
