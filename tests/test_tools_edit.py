"""edit_file where the model wrote the old text down slightly wrong, and where somebody else changed the file."""

from __future__ import annotations

import json
import textwrap
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.tools import Context, Tool, edit_file, read_file, write_file
from qianda.tools.builtin.core import read_file as core_read_file
from qianda.tools.builtin.matching import find_alike

CLASS = "class A:\n\tdef f(self):\n\t\treturn 1\n\n\tdef g(self):\n\t\treturn 2\n"
ALIKE = [
    pytest.param("say “hi” – there\n", 'say "hi" - there', 'say "hi" - you', "say “hi” – you\n", id="quotes"),
    pytest.param("a b\n", "a\u00a0b", "c", "c\n", id="no-break space"),
    pytest.param("a  \nb\t\nc\n", "a\nb\n", "a\nB\n", "a  \nB\nc\n", id="spaces at the ends"),
    pytest.param("x = [1,  2]\ny\n", "x = [1, 2]", "x = [3]", "x = [3]\ny\n", id="spaces between"),
    pytest.param("a\r\nb\r\nc\nd\n", "b\nc\n", "B\nc\n", "a\r\nB\r\nc\nd\n", id="mixed line ends"),
    pytest.param("a\nb \nc\n", "b\n", "", "a\nc\n", id="a line goes"),
    pytest.param("one\n    two\n", "1\tone\n2\t    two", "1\tone\n2\t    2", "one\n    2\n", id="line numbers"),
    pytest.param(
        CLASS,
        "    def f(self):\n        return 1\n",
        "    def f(self):\n        if self:\n            return 3\n        return 1\n",
        CLASS.replace("\t\treturn 1", "\t\tif self:\n\t\t\treturn 3\n\t\treturn 1"),
        id="spaces for tabs",
    ),
    pytest.param(
        "if x:\n    if a:\n        b()\n",
        "if a:\n    b()",
        "if a:\n    b()\nelse:\n    c()",
        "if x:\n    if a:\n        b()\n    else:\n        c()\n",
        id="indentation left out",
    ),
    pytest.param("    a\n        b\n", "\n\n  b\n", "\n\n  c\n", "    a\n        c\n", id="empty line too many"),
]


async def call(tool: Tool, workspace: Path, closing: AsyncExitStack | None = None, **arguments: Any) -> str:
    context = Context(workspace=workspace, closing=closing)
    result = await tool.call(tool.read_arguments(json.dumps(arguments)), context)
    return f"{'failed: ' if result.failed else ''}{result.content}"


@pytest.mark.parametrize(("text", "old", "new", "expected"), ALIKE)
async def test_what_is_alike_is_replaced(tmp_path: Path, text: str, old: str, new: str, expected: str) -> None:
    (tmp_path / "a").write_bytes(text.encode())
    said = await call(edit_file, tmp_path, path="a", old_text=old, new_text=new)
    assert (tmp_path / "a").read_bytes().decode() == expected
    assert said.startswith("edited a, 1 replacement; old_text was not quite what stands there:\n@@")


async def test_what_is_alike_in_two_places_is_not_replaced(tmp_path: Path) -> None:
    text = "if a:\n    go()\nif b:\n        go()\n"
    (tmp_path / "a").write_text(text)
    said = await call(edit_file, tmp_path, path="a", old_text="\tgo()", new_text="\tstop()")
    assert "but with other blanks or quotes 2 times (at lines 2, 4)" in said
    assert (tmp_path / "a").read_text() == text
    said = await call(edit_file, tmp_path, path="a", old_text="if b:\n\tgo()", new_text="if b:\n\tstop()")
    assert (tmp_path / "a").read_text() == text.replace("        go", "        stop")
    assert "holds new_text already" in await call(edit_file, tmp_path, path="a", old_text=" if a:", new_text="if a:")


def test_blanks_alone_are_like_nothing() -> None:
    assert find_alike("a\n\n\nb\n", "\n \n", "x") == []
    assert find_alike("", "a", "b") == []


@given(st.lists(st.text('ab (“"\t', max_size=6), min_size=1, max_size=8), st.integers(0, 8), st.integers(1, 3))
def test_an_indented_piece_is_found_and_the_rest_stays(lines: list[str], start: int, size: int) -> None:
    piece = lines[start : start + size]
    if not piece or not piece[0].strip() or not piece[-1].strip():
        return
    text = "".join(f"{line}\n" for line in lines)
    for match in find_alike(text, textwrap.indent("\n".join(piece), "  "), "NEW"):
        assert 0 <= match.start <= match.end <= len(text)
        assert text[: match.start].count("\n") + len(piece) + text[match.end :].count("\n") == len(lines) + 1


# What somebody else changed meanwhile


@pytest.mark.parametrize("reading", [read_file, core_read_file])
async def test_a_file_that_changed_since_it_was_read_is_to_be_read_again(tmp_path: Path, reading: Tool) -> None:
    (tmp_path / "a").write_text("one\ntwo\n")
    async with AsyncExitStack() as closing:
        await call(reading, tmp_path, closing, path="a")
        (tmp_path / "a").write_text("one\ntwo\nthree\n")
        refused = 'failed: "a" was changed by somebody else since you read it; read it again, then change it'
        assert await call(edit_file, tmp_path, closing, path="a", old_text="two", new_text="2") == refused
        assert await call(write_file, tmp_path, closing, path="a", content="x") == refused
        assert (tmp_path / "a").read_text() == "one\ntwo\nthree\n"
        await call(reading, tmp_path, closing, path="a")
        assert "edited a" in await call(edit_file, tmp_path, closing, path="a", old_text="two", new_text="2")
        # What the model wrote itself it knows.
        assert "edited a" in await call(edit_file, tmp_path, closing, path="a", old_text="2", new_text="two")
        assert "replaced" in await call(write_file, tmp_path, closing, path="a", content="new\r\n")
        assert "edited a" in await call(edit_file, tmp_path, closing, path="a", old_text="new", new_text="old")
        (tmp_path / "a").unlink()
        assert "created" in await call(write_file, tmp_path, closing, path="a", content="x")


async def test_a_file_that_was_never_read_may_be_changed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\n")
    async with AsyncExitStack() as closing, AsyncExitStack() as other:
        await call(read_file, tmp_path, other, path="a")
        (tmp_path / "a").write_text("two\n")
        assert "edited a" in await call(edit_file, tmp_path, closing, path="a", old_text="two", new_text="2")
        assert "failed" in await call(edit_file, tmp_path, other, path="a", old_text="2", new_text="3")
