"""The file tools on real files: list, read, write, edit, and that nothing outside the workspace is reached."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianda.models.errors import ToolError
from qianda.tools import Context, Tool, ToolResult, edit_file, grep, list_files, read_file, write_file
from qianda.tools.workspace import is_inside, resolve


async def call(tool: Tool, workspace: Path, **arguments: Any) -> ToolResult:
    """A call as the model makes it."""
    return await tool.call(tool.read_arguments(json.dumps(arguments)), Context(workspace=workspace))


async def done(tool: Tool, workspace: Path, **arguments: Any) -> str:
    result = await call(tool, workspace, **arguments)
    assert not result.failed, result
    assert isinstance(result.content, str)
    return result.content


async def refused(tool: Tool, workspace: Path, **arguments: Any) -> str:
    result = await call(tool, workspace, **arguments)
    assert result.failed, result
    assert isinstance(result.content, str)
    assert "\n" not in result.content
    assert "Traceback" not in result.content
    return result.content


# Outside the workspace


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A workspace whose neighbour holds a secret, with links that lead there."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "workspace-2").mkdir()
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "link.txt").symlink_to(tmp_path / "secret.txt")
    (workspace / "up").symlink_to(tmp_path)
    (workspace / "new.txt").symlink_to(tmp_path / "not-yet.txt")
    (workspace / "loop").symlink_to(workspace / "loop")
    return workspace


ESCAPES = ["../secret.txt", "a/../../secret.txt", "link.txt", "up/secret.txt", "up", "/etc/passwd", "..", "~/x", "/",
           "../workspace-2/x", "new.txt"]  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES)
async def test_nothing_outside_is_reached(outside: Path, path: str) -> None:
    assert "outside the workspace" in await refused(read_file, outside, path=path)
    assert "outside the workspace" in await refused(list_files, outside, path=path)
    assert "outside the workspace" in await refused(write_file, outside, path=path, content="x")
    assert "outside the workspace" in await refused(edit_file, outside, path=path, old_text="secret", new_text="x")
    assert "outside the workspace" in await refused(grep, outside, pattern="secret", path=path)
    assert (outside.parent / "secret.txt").read_text() == "secret"
    assert not (outside.parent / "not-yet.txt").exists()


async def test_absolute_paths_and_links_inside_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b.txt").symlink_to("a.txt")
    assert await done(read_file, tmp_path, path=str(tmp_path / "a.txt")) == "a"
    assert await done(read_file, tmp_path, path="x/../a.txt") == "a"
    await done(write_file, tmp_path, path="b.txt", content="new")
    assert (tmp_path / "b.txt").is_symlink()
    assert (tmp_path / "a.txt").read_text() == "new"


async def test_a_workspace_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert await done(write_file, tmp_path / "link", path="a.txt", content="a") == "Wrote 1 byte to a.txt (created)"
    assert await done(read_file, tmp_path / "link", path=str(tmp_path / "link/a.txt")) == "a"


async def test_link_loops_are_told(outside: Path) -> None:
    assert "loop" in await refused(read_file, outside, path="loop")


async def test_a_null_character(tmp_path: Path) -> None:
    assert "null character" in await refused(read_file, tmp_path, path="a\0b")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    parts=st.lists(st.sampled_from(["..", ".", "a", "up", "link.txt", "", "/", "~", "中 文", "new.txt"]), max_size=7)
)
def test_no_path_leads_out(outside: Path, parts: list[str]) -> None:
    try:
        path = resolve(outside, "/".join(parts))
    except ToolError:
        return
    assert is_inside(outside, path)
    assert os.path.realpath(path).startswith(os.path.realpath(outside))


# list_files


async def test_listing(tmp_path: Path) -> None:
    for name in ("b.txt", "A.txt", "中文.txt", ".hidden", ".git"):
        (tmp_path / name).write_text("abc")
    (tmp_path / "z").mkdir()
    (tmp_path / "big.bin").write_bytes(b"x" * 123_456)
    (tmp_path / "broken").symlink_to("nowhere")
    expected = ["z/", "A.txt", "b.txt", "big.bin", "broken (broken link)", "中文.txt",
                "(2 hidden not shown)"]  # fmt: skip
    assert (await done(list_files, tmp_path, path=".")).splitlines() == expected


async def test_listing_of_links_outside(outside: Path) -> None:
    lines = (await done(list_files, outside, path=".")).splitlines()
    assert "link.txt (link out of the workspace)" in lines
    assert "up (link out of the workspace)" in lines


async def test_empty_long_missing_and_wrong_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert await done(list_files, tmp_path, path="empty") == 'The folder "empty" is empty'
    (tmp_path / "many").mkdir()
    for number in range(250):
        (tmp_path / f"many/{number:03}").touch()
    lines = (await done(list_files, tmp_path, path="many/")).splitlines()
    assert (len(lines), lines[-1]) == (201, "(50 more not shown)")
    assert await refused(list_files, tmp_path, path="mony") == '"mony" does not exist; did you mean "many"?'
    (tmp_path / "f.txt").touch()
    assert "use read_file" in await refused(list_files, tmp_path, path="f.txt")


@pytest.fixture
def no_root() -> Iterator[Path]:
    """A workspace, and for a while the rights of a person who is not root, who may read and write everything."""
    folder = Path(tempfile.mkdtemp())
    root = os.geteuid() == 0
    if root:
        os.chown(folder, 65534, 65534)
        os.seteuid(65534)
    yield folder
    (folder / "closed").chmod(0o700)
    if root:
        os.seteuid(0)
    shutil.rmtree(folder)


async def test_what_may_not_be_read_or_written(no_root: Path) -> None:
    (no_root / "closed").mkdir(mode=0)
    assert await refused(list_files, no_root, path="closed") == 'no permission to list "closed"'
    assert await refused(read_file, no_root, path="closed/a") == 'no permission to read "closed/a"'
    assert await refused(write_file, no_root, path="closed/a", content="") == 'no permission to write "closed/a"'
    (no_root / "a.txt").touch(mode=0)
    assert await refused(read_file, no_root, path="a.txt") == 'no permission to read "a.txt"'
    (no_root / "b.txt").write_text("old")
    (no_root / "b.txt").chmod(0o444)
    assert await refused(write_file, no_root, path="b.txt", content="new") == 'no permission to write "b.txt"'
    assert (no_root / "b.txt").read_text() == "old"


# read_file


async def test_reading(tmp_path: Path) -> None:
    (tmp_path / "价格 表.txt").write_text("一\n二\n")
    assert await done(read_file, tmp_path, path="价格 表.txt") == "一\n二"
    (tmp_path / "empty").touch()
    assert await done(read_file, tmp_path, path="empty") == "(the file is empty)"
    (tmp_path / "blank").write_text("\n")
    assert await done(read_file, tmp_path, path="blank") == "(the file holds only white space)"
    (tmp_path / "dos.txt").write_bytes(b"a\r\nb\r\n")
    assert await done(read_file, tmp_path, path="dos.txt") == "a\r\nb"


@pytest.mark.parametrize(
    ("encoding", "text", "named"),
    [
        ("utf-8-sig", "héllo", ""),
        ("utf-16", "héllo 中文", "utf-16"),
        ("gb18030", "价格是十四元，请乘以三。The price.", "gb18030"),
        ("latin-1", "Ein Müller aus Köln trinkt Café.\n", "cp1252"),
    ],
)
async def test_other_encodings(tmp_path: Path, encoding: str, text: str, named: str) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    note = f"(read as {named}, it is not UTF-8)\n" if named else ""
    assert await done(read_file, tmp_path, path="a.txt") == note + text.removesuffix("\n")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\0\0", b"\x7fELF\x01\0", bytes(range(1, 256)) * 9])
async def test_binary_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    assert "is a binary file" in await refused(read_file, tmp_path, path="a.bin")


async def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "price.txt").write_text("14")
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/deep/report.md").touch()
    assert await refused(read_file, tmp_path, path="Prices.txt") == (
        '"Prices.txt" does not exist; did you mean "price.txt"?'
    )
    assert await refused(read_file, tmp_path, path="report.md") == (
        '"report.md" does not exist; did you mean "data/deep/report.md"?'
    )
    assert await refused(read_file, tmp_path, path="data/x/y.txt") == (
        '"data/x/y.txt" does not exist; list_files "data" shows what is there'
    )
    assert "is a folder; use list_files" in await refused(read_file, tmp_path, path="data")
    assert "Not a directory" in await refused(read_file, tmp_path, path="price.txt/x")
    assert "too long" in await refused(read_file, tmp_path, path="x" * 300)
    os.mkfifo(tmp_path / "pipe")
    assert "pipe" in await refused(read_file, tmp_path, path="pipe")


async def test_large_files(tmp_path: Path) -> None:
    lines = [f"line {number} " + "x" * 40 for number in range(1, 2001)]
    (tmp_path / "long.txt").write_text("\n".join(lines) + "\n")
    text = await done(read_file, tmp_path, path="long.txt")
    assert len(text) < 20_500
    shown = text.splitlines()
    gap = next(number for number, line in enumerate(shown) if line.startswith("[…"))
    assert shown[:gap] == lines[:gap]
    assert shown[gap + 1 :] == lines[gap + 1 - len(shown) :]
    first, last = gap + 1, 2000 - (len(shown) - gap - 1)
    assert f"lines {first} to {last} left out" in shown[gap]
    assert "use grep" in shown[gap]
    assert f'lines="{first}-{last}"' in shown[gap]
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(11_000_000)
    assert "too much to read whole; use grep" in await refused(read_file, tmp_path, path="huge.txt")


async def test_some_lines_come_with_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\x0c\r\n\r\nfour\r\n")
    assert await done(read_file, tmp_path, path="a.txt", lines="2-3") == "(lines 2 to 3 of 4)\n2\ttwo\x0c\n3\t"
    assert await done(read_file, tmp_path, path="a.txt", lines="4") == "(lines 4 to 4 of 4)\n4\tfour"
    assert (await done(read_file, tmp_path, path="a.txt", lines="3-99")).endswith("\n4\tfour")
    assert await refused(read_file, tmp_path, path="a.txt", lines="5-") == "there is no line 5: the file has 4"
    assert 'lines is a number or a range such as "3"' in await refused(read_file, tmp_path, path="a.txt", lines="end")
    (tmp_path / "long.txt").write_text("x" * 90 + "\n" + ("y" * 90 + "\n") * 999 + "z" * 5_000 + "\n")
    lines = (await done(read_file, tmp_path, path="long.txt", lines="1-900")).splitlines()
    assert lines[0] == f'(lines 1 to {len(lines) - 1} of 1001; more: lines="{len(lines)}-900")'
    assert 200 < len(lines) < 230
    (last,) = (await done(read_file, tmp_path, path="long.txt", lines="1001")).splitlines()[1:]
    assert last == f"1001\t{'z' * 2_000} [… 3,000 more characters]"


# write_file


async def test_writing(tmp_path: Path) -> None:
    assert (
        await done(write_file, tmp_path, path="新/文件.txt", content="一\n二")
        == "Wrote 7 bytes to 新/文件.txt (created)"
    )
    assert (tmp_path / "新/文件.txt").read_bytes() == "一\n二".encode()
    assert (
        await done(write_file, tmp_path, path="新/文件.txt", content="a\r\n")
        == "Wrote 3 bytes to 新/文件.txt (replaced)"
    )
    assert (tmp_path / "新/文件.txt").read_bytes() == b"a\r\n"
    assert [path.name for path in (tmp_path / "新").iterdir()] == ["文件.txt"]


async def test_the_mode_of_a_file_stays_and_new_ones_follow_the_umask(tmp_path: Path) -> None:
    (tmp_path / "run.sh").write_text("old")
    (tmp_path / "run.sh").chmod(0o750)
    await done(write_file, tmp_path, path="run.sh", content="new")
    assert stat.S_IMODE((tmp_path / "run.sh").stat().st_mode) == 0o750
    (tmp_path / "reference").touch()
    await done(write_file, tmp_path, path="new.txt", content="new")
    assert (tmp_path / "new.txt").stat().st_mode == (tmp_path / "reference").stat().st_mode


async def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert await refused(write_file, tmp_path, path="a.txt", content="new") == (
        'cannot write "a.txt": No space left on device'
    )
    assert await done(list_files, tmp_path, path=".") == "a.txt"  # a file left behind would be told as hidden
    assert (tmp_path / "a.txt").read_text() == "old"


async def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert "is a folder" in await refused(write_file, tmp_path, path="folder", content="")
    assert '"file" is a file, not a folder' in await refused(write_file, tmp_path, path="file/x/y", content="")
    assert "too long" in await refused(write_file, tmp_path, path="x" * 300, content="")
    arguments = {"path": "a", "content": "\ud800"}
    result = await write_file.call(arguments, Context(workspace=tmp_path))
    assert result.failed
    assert "does not exist in utf-8" in str(result.content)
    assert not (tmp_path / "a").exists()


# edit_file


async def test_editing(tmp_path: Path) -> None:
    (tmp_path / "代码.py").write_text("def f():\n    return 1\n\n\ndef g():\n    return 2\n")
    text = await done(edit_file, tmp_path, path="代码.py", old_text="return 1", new_text="return 3")
    assert text.splitlines() == [
        "edited 代码.py, 1 replacement:", "@@ -1,3 +1,3 @@", " def f():", "-    return 1", "+    return 3", " ",
    ]  # fmt: skip
    assert (tmp_path / "代码.py").read_text() == "def f():\n    return 3\n\n\ndef g():\n    return 2\n"


async def test_several_occurrences(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x = 1\ny = 1\nx = 1\n")
    error = await refused(edit_file, tmp_path, path="a.txt", old_text="x = 1", new_text="x = 2")
    assert "occurs 2 times in a.txt (at lines 1, 3)" in error
    assert "replace_all" in error
    assert (tmp_path / "a.txt").read_text() == "x = 1\ny = 1\nx = 1\n"
    await done(edit_file, tmp_path, path="a.txt", old_text="x = 1", new_text="x = 2", replace_all=True)
    assert (tmp_path / "a.txt").read_text() == "x = 2\ny = 1\nx = 2\n"


async def test_what_is_not_found_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def price(x):\n    total = x * 3\n    return total\n")
    close = await refused(edit_file, tmp_path, path="a.py", old_text="    total = x*3", new_text="")
    assert 'the closest is line 2: "    total = x * 3"' in close
    after = await refused(edit_file, tmp_path, path="a.py", old_text="def price(x):\n    pass", new_text="")
    assert 'line 1 is "def price(x):", but the lines after it differ' in after
    assert "nor anything like it" in await refused(edit_file, tmp_path, path="a.py", old_text="中文", new_text="")


async def test_edits_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    assert "old_text is empty" in await refused(edit_file, tmp_path, path="a.txt", old_text="", new_text="b")
    assert "the same" in await refused(edit_file, tmp_path, path="a.txt", old_text="a", new_text="a")
    assert "does not exist" in await refused(edit_file, tmp_path, path="b.txt", old_text="a", new_text="b")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\r\nb\r\nc\r\n", b"a\r\nX\r\nY\r\n"),
        ("é\nb\nc\n".encode("latin-1"), "é\nX\nY\n".encode("latin-1")),
        ("价格表单位元\nb\nc\n".encode("gb18030"), "价格表单位元\nX\nY\n".encode("gb18030")),
        ("\ufeffa\nb\nc\n".encode(), "\ufeffa\nX\nY\n".encode()),
    ],
)
async def test_line_ends_and_encoding_stay(tmp_path: Path, before: bytes, after: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(before)
    await done(edit_file, tmp_path, path="a.txt", old_text="b\nc\n", new_text="X\nY\n")
    assert (tmp_path / "a.txt").read_bytes() == after


async def test_large_edits_are_quick_to_show(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc\n" * 200_000)
    text = await done(edit_file, tmp_path, path="a.txt", old_text="abc", new_text="abd", replace_all=True)
    assert text == "edited a.txt, 200000 replacements"
    (tmp_path / "b.txt").write_text("abc\n" * 50)
    shown = await done(edit_file, tmp_path, path="b.txt", old_text="abc", new_text="abd", replace_all=True)
    assert "more lines of the difference" in shown
