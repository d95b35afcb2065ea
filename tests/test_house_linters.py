"""The linters see every folder: an error seeded into each is reported; without it ruff is content.

Whether pyright is, takes a minute, and `make types` says it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# An unused import for ruff, a wrong type for pyright; formatted, so that only these can be what is found.
SEED = '"""Holds two mistakes that must be found."""\n\nimport os\n\nCOUNT: int = "one"\n'


def folders_with_python(files: list[str]) -> set[str]:
    return {str(Path(name).parent) for name in files if name.endswith(".py")}


def ruff(top: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ruff over the folders that the Makefile gives it."""
    (line,) = [line for line in (top / "Makefile").read_text().splitlines() if line.startswith("FOLDERS :=")]
    command = [sys.executable, "-m", "ruff", *arguments, *line.partition(":=")[2].split()]
    return subprocess.run(command, cwd=top, capture_output=True, text=True, check=False)


def pyright(top: Path) -> dict[str, list[str]]:
    """What pyright reports, by file, links resolved."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=top, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout[done.stdout.index("{") :])
    assert report["summary"]["filesAnalyzed"] > 0
    found: dict[str, list[str]] = {}
    for entry in report["generalDiagnostics"]:
        name = str(Path(entry["file"]).resolve().relative_to(top.resolve()))
        found.setdefault(name, []).append(entry["message"])
    return found


@pytest.fixture
def copy(tmp_path: Path, copy_house: Callable[[Path], Path]) -> Path:
    return copy_house(tmp_path / "copy")


@pytest.mark.timeout(180)
def test_every_folder_is_seen(copy: Path, house_files: list[str]) -> None:
    clean = ruff(copy, "check", "--output-format=concise")
    assert clean.returncode == 0, clean.stdout
    formatted = ruff(copy, "format", "--check")
    assert formatted.returncode == 0, formatted.stdout

    folders = folders_with_python(house_files)
    assert {"agents", "cli", "mcp_servers", "models", "testing", "tools", "tui", "src/qianda", "tests"} <= folders
    seeds = {f"{folder}/seeded_mistake.py" for folder in folders}
    for seed in seeds:
        (copy / seed).write_text(SEED)

    entries = json.loads(ruff(copy, "check", "--output-format=json").stdout)
    by_ruff = {str(Path(entry["filename"]).resolve().relative_to(copy.resolve())) for entry in entries}
    assert by_ruff == seeds
    for name in house_files:
        if name.endswith(".py"):
            (copy / name).unlink()
    by_pyright = pyright(copy)
    assert set(by_pyright) == seeds
    assert {name for name, messages in by_pyright.items() if any('"int"' in text for text in messages)} == seeds
