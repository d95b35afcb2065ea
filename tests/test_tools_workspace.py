"""File tools stay in the workspace: against links, hard links, and what is put in the way while they work."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from qianda.models.errors import ToolError
from qianda.tools import Context, edit_file, read_file, write_file
from qianda.tools.builtin import text_files
from qianda.tools.builtin.text_files import read_text, write_text
from qianda.tools.workspace import held_folder, open_file, resolve


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the workspace ``in``, with a secret."""
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/file").write_text("secret")
    return tmp_path / "out"


@pytest.fixture
def workspace(outside: Path) -> Path:
    return outside.parent / "in"


WAYS_OUT = [
    "../out/file",
    "sub/../../out/file",
    "{outside}/file",
    "link/file",
    "sub/link/file",
    "file-link",
    "chain",
    "link/../out/file",
    "./sub/./../../out/file",
    "{workspace}/../out/file",
    "/proc/self/root{outside}/file",
    "/proc/self/cwd/../out/file",
    "~/../../../../../../../..{outside}/file",
    "link/new",
    "dangling",
]  # fmt: skip


@pytest.mark.parametrize("path", WAYS_OUT)
async def test_no_path_leads_out(workspace: Path, outside: Path, path: str) -> None:
    (workspace / "link").symlink_to(outside)
    (workspace / "sub/link").symlink_to("../../out")
    (workspace / "file-link").symlink_to(outside / "file")
    (workspace / "chain").symlink_to("file-link")
    (workspace / "dangling").symlink_to(outside / "made")
    path = path.format(workspace=workspace, outside=outside)
    context = Context(workspace=workspace)
    for tool, arguments in (
        (read_file, {"path": path}),
        (write_file, {"path": path, "content": "x"}),
        (edit_file, {"path": path, "old_text": "secret", "new_text": "x"}),
    ):
        result = await tool.call(arguments, context)
        assert result.failed
        assert "secret" not in str(result.content)
    assert (outside / "file").read_text() == "secret"
    assert os.listdir(outside) == ["file"]  # noqa: PTH208 - blocking either way


@pytest.mark.parametrize("swapped", ["sub", "sub/file"])
def test_a_link_put_there_after_the_check_leads_nowhere(workspace: Path, outside: Path, swapped: str) -> None:
    (workspace / "sub/file").write_text("ours")
    path = resolve(workspace, "sub/file")  # all is well, and now:
    (workspace / swapped).rename(workspace / "away")
    (workspace / swapped).symlink_to(outside if swapped == "sub" else outside / "file")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        open_file(workspace, path)
    if swapped == "sub":
        with pytest.raises(OSError, match="Not a directory"), held_folder(workspace, path.parent, make=True):
            pass
    with pytest.raises(ToolError):
        read_text(workspace, path)
    with pytest.raises(ToolError):
        write_text(workspace, path, "x")
    assert [entry.read_text() for entry in outside.iterdir()] == ["secret"]


def test_a_folder_swapped_while_writing_gets_nothing_out(
    workspace: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = text_files._replace

    def swap_then_replace(folder: int, name: str, content: bytes, mode: int | None) -> None:
        (workspace / "sub").rename(workspace / "away")
        (workspace / "sub").symlink_to(outside)
        original(folder, name, content, mode)

    monkeypatch.setattr(text_files, "_replace", swap_then_replace)
    write_text(workspace, resolve(workspace, "sub/file"), "ours")
    assert (outside / "file").read_text() == "secret"
    assert (workspace / "away/file").read_text() == "ours"


def test_links_that_flip_all_the_time(workspace: Path, outside: Path) -> None:
    (workspace / "sub/file").write_text("ours")
    over = threading.Event()

    def flip() -> None:
        while not over.is_set():
            (workspace / "sub").rename(workspace / "away")
            with suppress(FileExistsError):  # the writer made it anew meanwhile
                (workspace / "sub").symlink_to(outside)
                (workspace / "sub").unlink()
            shutil.rmtree(workspace / "sub", ignore_errors=True)
            (workspace / "sub").mkdir(exist_ok=True)
            shutil.rmtree(workspace / "away")

    thread = threading.Thread(target=flip)
    thread.start()
    read: set[str] = set()
    try:
        for number in range(300):
            try:
                path = resolve(workspace, "sub/file")
                write_text(workspace, path, f"ours {number}")
                read.add(read_text(workspace, path).text[:4])
            except ToolError:
                continue
    finally:
        over.set()
        thread.join()
    assert read <= {"ours"}
    assert (outside / "file").read_text() == "secret"
    assert [entry.name for entry in outside.iterdir()] == ["file"]


async def test_a_hard_link_is_cut_off_and_not_written_through(workspace: Path, outside: Path) -> None:
    (workspace / "hard").hardlink_to(outside / "file")
    context = Context(workspace=workspace)
    edited = await edit_file.call({"path": "hard", "old_text": "secret", "new_text": "changed"}, context)
    assert not edited.failed
    assert (workspace / "hard").read_text() == "changed"
    assert (outside / "file").read_text() == "secret"


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(workspace: Path) -> None:
    path = resolve(workspace, "pipe")
    os.mkfifo(path)
    os.close(open_file(workspace, path))
    with pytest.raises(ToolError, match="not a regular file"):
        read_text(workspace, path)
    with pytest.raises(ToolError, match="not a regular file"):
        write_text(workspace, path, "x")
