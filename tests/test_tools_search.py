"""grep: by ripgrep and by Python, the same lines."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qianda.tools import Context, ToolResult, grep, list_files
from qianda.tools.builtin import search, search_worker


@pytest.fixture(params=["python", "ripgrep"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of searching; ripgrep where it is installed."""
    if request.param == "python":
        monkeypatch.setattr(search.shutil, "which", lambda _: None)
    elif shutil.which("rg") is None:
        pytest.skip("ripgrep is not installed")
    return str(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with what a search meets."""
    texts = {
        "main.py": "import os\n\ndef main(x):\n    return 价格\n",
        "src/a.py": "from main import main\n",
        "src/deep/b.txt": "the main thing\n",
        ".hidden/c.py": "main\n",
        ".git/config": "main\n",
        "build/out.py": "main\n",
        "src/skip.log": "main\n",
        "src/keep.log": "main kept\n",
        "src/generated/d.py": "main\n",
        ".gitignore": "# a comment\nbuild/\n*.log\n!keep.log\n",
        "src/.gitignore": "/generated\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "image.png").write_bytes(b"\x89PNG\0main\n")
    (tmp_path / "link.py").symlink_to("main.py")
    return tmp_path


async def call(workspace: Path, **arguments: Any) -> ToolResult:
    return await grep.call(grep.read_arguments(json.dumps(arguments)), Context(workspace=workspace))


async def lines(workspace: Path, **arguments: Any) -> list[str]:
    result = await call(workspace, **arguments)
    assert not result.failed, result
    return str(result.content).splitlines()


async def test_what_is_searched_and_what_not(tree: Path, engine: str) -> None:
    assert await lines(tree, pattern="main") == [
        "main.py:3: def main(x):",
        "src/a.py:1: from main import main",
        "src/deep/b.txt:1: the main thing",
        "src/keep.log:1: main kept",
    ]


async def test_path_glob_and_expression(tree: Path, engine: str) -> None:
    assert await lines(tree, pattern="^from.*main$", path="src", glob="*.py") == ["src/a.py:1: from main import main"]
    assert await lines(tree, pattern="价.", path="main.py") == ["main.py:4:     return 价格"]
    assert await lines(tree, pattern="main", glob="*.{txt,log}") == [
        "src/deep/b.txt:1: the main thing",
        "src/keep.log:1: main kept",
    ]
    assert await lines(tree, pattern="(?i)MAIN", path="src/deep") == ["src/deep/b.txt:1: the main thing"]


async def test_a_workspace_in_an_ignored_folder(tree: Path, engine: str) -> None:
    (tree / ".gitignore").write_text("*\n")
    assert await lines(tree / "src", pattern="main", glob="*.py") == ["a.py:1: from main import main"]


async def test_rules_of_the_workspace_hold_in_its_folders(tree: Path, engine: str) -> None:
    assert await lines(tree, pattern="^main", path="src") == ["src/keep.log:1: main kept"]


@pytest.mark.parametrize(
    "pattern", ["(?<!\\s)beta", "beta(?!\\s)", r"\Abeta", r"beta\Z", "^beta$", "beta[^x]*", r"\bbeta\b"]
)
async def test_every_line_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    monkeypatch.setattr(search.shutil, "which", lambda _: None)
    (tmp_path / "a.txt").write_bytes(b"alpha\r\nbeta\r\ngamma\r\n")
    assert await lines(tmp_path, pattern=pattern) == ["a.txt:2: beta"]


async def test_no_match(tree: Path, engine: str) -> None:
    assert await lines(tree, pattern="zebra") == ['no match for "zebra" in .']
    assert await lines(tree, pattern="main", glob="*.rs") == ['no match for "main" in . (*.rs)']


async def test_code_that_is_no_expression_is_found_as_text(tree: Path, engine: str) -> None:
    found = await lines(tree, pattern="main(", glob="*.py")
    assert found[0].startswith("(searched as plain text")
    assert found[1:] == ["main.py:3: def main(x):"]


async def test_expressions_that_ripgrep_does_not_know(tree: Path, engine: str) -> None:
    assert await lines(tree, pattern=r"(?<=def )main", glob="*.py") == ["main.py:3: def main(x):"]


async def test_many_matches_and_long_lines_are_capped(tmp_path: Path, engine: str) -> None:
    (tmp_path / "a.txt").write_text("hit\n" * 5_000)
    found = await lines(tmp_path, pattern="hit")
    assert len(found) == 101
    assert found[-1].startswith("(only 100 matches shown")
    (tmp_path / "a.txt").write_text("x" * 1_000_000 + "needle" + "x" * 1_000_000)
    found = await lines(tmp_path, pattern="needle")
    assert len(found) == 1
    assert len(found[0]) < 320


async def test_odd_names(tmp_path: Path, engine: str) -> None:
    for name in ("-e.txt", "a:1:b.txt", "中 文.txt"):
        (tmp_path / name).write_text("hit\n")
    assert await lines(tmp_path, pattern="hit") == ["-e.txt:1: hit", "a:1:b.txt:1: hit", "中 文.txt:1: hit"]
    assert await lines(tmp_path, pattern="hit", path="-e.txt") == ["-e.txt:1: hit"]
    (tmp_path / "a:1:b.txt").write_text("-v\n")
    assert await lines(tmp_path, pattern="-v") == ["a:1:b.txt:1: -v"]


async def test_an_expression_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search.shutil, "which", lambda _: None)
    (tmp_path / "a.txt").write_text("a" * 60 + "b\n")
    from dataclasses import replace

    result = await replace(grep, timeout=0.5).call({"pattern": "(a+)+$"}, Context(workspace=tmp_path))
    assert result.failed
    assert "did not finish within 0.5 s" in str(result.content)


async def test_bad_calls(tmp_path: Path) -> None:
    assert "the pattern is empty" in str((await call(tmp_path, pattern="")).content)
    assert '"nope" does not exist' in str((await call(tmp_path, pattern="a", path="nope")).content)


async def found(workspace: Path, **arguments: Any) -> list[str]:
    result = await list_files.call(list_files.read_arguments(json.dumps(arguments)), Context(workspace=workspace))
    assert not result.failed, result
    return str(result.content).splitlines()


async def test_files_by_glob(tree: Path, engine: str) -> None:
    assert await found(tree, path=".", glob="*.py") == ["main.py", "src/a.py"]
    assert await found(tree, path="src", glob="*.{txt,log}") == ["src/deep/b.txt", "src/keep.log"]
    assert await found(tree, path="src", glob="*/b*") == ["src/deep/b.txt"]
    assert await found(tree, path=".", glob="src/**") == ["src/a.py", "src/deep/b.txt", "src/keep.log"]
    assert await found(tree, path=".", glob="*.rs") == ['no file matches "*.rs" in .']


async def test_many_and_odd_files_by_glob(tmp_path: Path, engine: str) -> None:
    for name in (*(f"{number:03}.txt" for number in range(250)), "-e.md", "a\nb.md", "中 文.md"):
        (tmp_path / name).touch()
    (tmp_path / "loop").symlink_to(".")
    lines = await found(tmp_path, path=".", glob="*.txt")
    assert (len(lines), lines[-1]) == (201, "(50 more not shown; narrow the glob or the path)")
    assert await found(tmp_path, path=".", glob="*.md") == ["-e.md", "a", "b.md", "中 文.md"]


GLOBS = [
    "*.py",
    "a?.py",
    "/top.py",
    "src/*.py",
    "**/deep/x.py",
    "src/**",
    "[ab]*.py",
    "[!a]*.py",
    "doc*",
    "deep",
    "src/deep/",
]
PATHS = ["a.py", "ab.py", "top.py", "src/top.py", "src/a.py", "src/deep/x.py", "deep/x.py", "doc", "docs/a.py", "b.txt"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@pytest.mark.parametrize("glob", GLOBS)
def test_gitignore_as_git_reads_it(tmp_path: Path, glob: str) -> None:
    for path in PATHS:
        if not (tmp_path / path).is_dir():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
    (tmp_path / ".gitignore").write_text(f"{glob}\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    expected = sorted(set(listed.stdout.split()) - {".gitignore"})
    here = Path.cwd()
    assert here == tmp_path  # every test works in its own folder, and the worker in the current one
    assert sorted(search_worker.files(".")) == expected
