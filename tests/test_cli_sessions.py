"""``qianda sessions``, ``resume`` and ``--continue``: on a real git repository, as a person uses them."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qianda.agents.journal import Record, open_journal
from qianda.cli.main import main
from qianda.cli.sessions import ago
from qianda.models.config import data_dir
from qianda.testing import Call, ScriptedServer, Turn
from qianda.testing.threads import serving

Capture = pytest.CaptureFixture[str]


def edit(path: str, content: str) -> Turn:
    return Turn(calls=[Call("write_file", {"path": path, "content": content})])


SCRIPT = (
    *(edit("src/main.py", "print(1)\n"), edit("notes.md", "one\n"), "First is done."),
    *(Turn(calls=[Call("run_command", {"command": "echo 2 > two && rm README.md"})]), "Second is done."),
    *("Third is done.", "Fourth is done."),
)


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The working folder as a git repository with a commit."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (tmp_path / "src").mkdir()
    (tmp_path / "src/main.py").write_text("print(0)\n")
    (tmp_path / "README.md").write_text("A project.\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "begin")
    return tmp_path


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving(ScriptedServer(*SCRIPT, model="qwen3-8b")) as server:
        yield server


@pytest.fixture
def options(server: ScriptedServer) -> list[str]:
    return ["--server", server.url, "--yes"]


def names(capture: Capture) -> list[str]:
    """The sessions, the newest first."""
    capture.readouterr()
    assert main(["sessions", "list", "--json"]) == 0
    return [session["name"] for session in json.loads(capture.readouterr().out)]


def test_rewind_and_fork_on_a_real_repository(repository: Path, options: list[str], capsys: Capture) -> None:
    assert main(["run", "Begin the project 项目", "--session", "job", *options]) == 0
    first = git("status", "--short"), (repository / "src/main.py").read_text()
    # In a process of its own, which runs a command.
    subprocess.run([sys.executable, "-m", "qianda", "run", "Go on", "--continue", *options], check=True, timeout=50)
    assert git("status", "--short") != first[0]
    assert not (repository / "README.md").exists()

    capsys.readouterr()
    assert main(["sessions", "show", "job"]) == 0
    shown = capsys.readouterr().out
    for line in ("    1 > Begin the project 项目", "  1.3 First is done.", "    2 > Go on", "  2.2 Second is done."):
        assert line in shown.splitlines()
    assert main(["sessions", "export", "job", "--format", "openai"]) == 0
    before = json.loads(capsys.readouterr().out)["messages"]

    assert main(["sessions", "fork", "job", "--at", "1", "--as", "other"]) == 0
    assert main(["sessions", "rewind", "job", "--to", "1", "--files"]) == 0
    assert "it is kept as job~1" in capsys.readouterr().out
    assert (git("status", "--short"), (repository / "src/main.py").read_text()) == first
    assert (repository / "README.md").read_text() == "A project.\n"
    for name in ("job", "other"):
        main(["sessions", "export", name, "--format", "openai"])
        assert json.loads(capsys.readouterr().out)["messages"] == before[:7]

    assert main(["sessions", "rewind", "job", "--to", "1.0", "--files"]) == 0
    assert git("status", "--short") == ""
    capsys.readouterr()
    assert main(["resume", "job", *options]) == 0  # the model is asked anew
    assert capsys.readouterr().out == "Third is done.\n"
    assert main(["resume", "job~1", "And then?", *options]) == 0
    assert capsys.readouterr().out == "Fourth is done.\n"
    assert sorted(names(capsys)) == ["job", "job~1", "job~2", "other"]


def test_what_there_is_to_see(repository: Path, options: list[str], capsys: Capture) -> None:
    assert main(["sessions"]) == 0
    assert "Nothing was recorded yet" in capsys.readouterr().err
    assert main(["run", "x", "--continue", *options]) == 2
    assert "Nothing was recorded here yet" in capsys.readouterr().err
    assert main(["run", "Begin the\nproject", *options]) == 0
    assert main(["run", "unseen", "--no-record", *options]) == 0
    capsys.readouterr()
    assert main(["sessions", "list", "--here"]) == 0
    shown = capsys.readouterr()
    cells = shown.out.splitlines()[1].split("\t")
    assert cells[1:] == ["just now", "done", "1", "qwen3-8b", str(repository), "Begin the project"]
    assert str(data_dir() / "journal.db") in shown.err
    assert main(["sessions", "search", "project", "Begin"]) == 0
    assert capsys.readouterr().out.split("\t")[2:] == ["prompt", "Begin the project\n"]
    assert main(["sessions", "search", "unseen"]) == 1
    assert main(["sessions", "export", "last", "--format", "html", "-o", "page.html"]) == 0
    assert "Begin the" in (repository / "page.html").read_text()
    assert main(["sessions", "export", "last", "-o", "none/page.md"]) == 2
    assert main(["sessions", "show", "nothing"]) == 2
    assert "There is no session nothing" in capsys.readouterr().err


def test_what_is_removed(options: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["run", "Begin", "--session", "old", *options]) == 0
    assert main(["run", "Begin", "--session", "new", *options]) == 0
    assert main(["sessions", "rm", "old"]) == 2
    assert "--yes removes without asking" in capsys.readouterr().err
    assert main(["sessions", "rm", "old", "--yes"]) == 0
    assert names(capsys) == ["new"]
    assert main(["sessions", "prune", "--older-than", "1d", "--yes"]) == 0
    assert names(capsys) == ["new"]
    assert main(["sessions", "prune", "--older-than", "soon"]) == 2
    assert main(["sessions", "prune", "--older-than", "0h", "--yes"]) == 0
    assert names(capsys) == []


def test_a_run_that_was_killed_goes_on(tmp_path: Path, options: list[str], capsys: Capture) -> None:
    assert main(["resume", "last", *options]) == 2
    journal = open_journal(data_dir() / "journal.db")
    journal.note("r", "start", {"session": "trip", "workspace": str(tmp_path), "forked_from": "dead"})
    journal.note("r", "input", "Begin")
    journal.append(Record("r", "turn/0", "model", "started", 0.0, b"null"))
    journal.close()
    assert main(["resume", "trip", *options]) == 0
    assert capsys.readouterr().out == "First is done.\n"
    assert (tmp_path / "notes.md").read_text() == "one\n"
    assert main(["resume", "trip", *options]) == 2
    assert "was not interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "said"), [(5, "just now"), (60, "1 minute ago"), (7300, "2 hours ago"), (90000, "1 day ago")]
)
def test_times_are_told_as_people_do(seconds: float, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    assert ago(1_000_000 - seconds) == said
