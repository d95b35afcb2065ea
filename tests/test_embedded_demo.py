"""The runner of ``make demo`` around a stand-in for the run itself: its folder, its checks, its exit codes."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from qianda.cli import demo
from qianda.models.messages import AssistantMessage, Message, ToolCall, ToolMessage


def conversation(answer: str, *tools: str) -> list[Message]:
    messages: list[Message] = []
    for index, name in enumerate(tools):
        messages.append(AssistantMessage(tool_calls=(ToolCall(f"c{index}", name, "{}"),)))
        messages.append(ToolMessage(f"c{index}", name, "done"))
    return [*messages, AssistantMessage(content=answer)]


GOOD = (
    conversation("The answer is 58.5.", "read_file", "calculator"),
    conversation("391 is in result.txt. There are data/, price.txt.", "calculator", "write_file", "list_files"),
)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A function that replaces the program by a script, and the record by given conversations."""

    def install(*said: list[Message], code: int = 0, result: str | None = "391") -> list[str]:
        script = tmp_path / "program"
        write = f"(folder / 'result.txt').write_text({result!r})" if result is not None else "pass"
        script.write_text(
            f"#!/bin/sh\n'''exec' '{sys.executable}' \"$0\" \"$@\"\n' '''\n"  # its path may have spaces
            "import os, pathlib, sys\n"
            "folder = pathlib.Path(sys.argv[sys.argv.index('--cwd') + 1])\n"
            "print(*sys.argv[1:], 'chosen' if 'QIANDA_MODEL' in os.environ else '', flush=True)\n"
            f"if 'Compute' in sys.argv[-1]: {write}\n"
            f"sys.exit({code})\n"
        )
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        waiting = iter(said)
        asked: list[str] = []

        def messages(session: str) -> tuple[Message, ...]:
            asked.append(session)
            return tuple(next(waiting))

        monkeypatch.setattr(demo, "_messages", messages)
        return asked

    return install


def test_right_results(
    runs: Callable[..., list[str]], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = runs(*GOOD)
    monkeypatch.setenv("QIANDA_MODEL", "qwen3-8b")
    assert demo.main([]) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert "not a Qwen" in lines[0]
    assert sum("right:" in line for line in lines) == 2
    calls = [line for line in lines if line.startswith("-m qianda run")]
    assert [session in call for session, call in zip(sessions, calls, strict=True)] == [True, True]
    assert all("--server embedded --yes" in call and "chosen" not in call for call in calls)
    for word, line in zip(("vLLM", "Ollama", "Model Studio", "--cwd demo"), lines[-4:], strict=True):
        assert word in line
        assert "qianda" in line
    assert err == ""


@pytest.mark.parametrize(
    ("said", "result", "problem"),
    [
        ((conversation("It is 60.", "read_file", "calculator"),), "391", "does not say 58.5"),
        ((conversation("58.5"),), "391", "it called no tool"),
        ((conversation("58.5", "calculator", "read_file"),), "391", "not read_file, calculator"),
        (GOOD, "23*17", "holds '23*17', not 391"),
        (GOOD, None, "there is no result.txt"),
        (
            (GOOD[0], conversation("result.txt, data", "calculator", "write_file", "list_files")),
            "391",
            "does not name price.txt",
        ),
    ],
)
def test_wrong_results_are_said_and_counted(
    runs: Callable[..., list[str]],
    capfd: pytest.CaptureFixture[str],
    said: tuple[list[Message], ...],
    result: str | None,
    problem: str,
) -> None:
    runs(*said, result=result)
    assert demo.main([]) == 1
    assert problem in capfd.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize("code", [2, 5, 130])
def test_the_run_s_exit_code_is_ours(runs: Callable[..., list[str]], code: int) -> None:
    runs(*GOOD, code=code)
    assert demo.main([]) == code


def test_the_folder_is_made_anew_each_time(runs: Callable[..., list[str]], tmp_path: Path) -> None:
    runs(*GOOD, *GOOD)
    assert demo.main(["--folder", "here"]) == 0
    (tmp_path / "here/price.txt").write_text("changed")
    assert demo.main(["--folder", "here"]) == 0
    assert (tmp_path / "here/price.txt").read_text() == "19.5\n"
    assert (tmp_path / "here/data/notes.txt").exists()


def test_a_person_s_files_are_not_touched(
    runs: Callable[..., list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs(*GOOD)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/thesis.txt").write_text("ten years of work")
    assert demo.main([]) == 2
    assert "thesis.txt" in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "demo").iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made(
    runs: Callable[..., list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs(*GOOD)
    (tmp_path / "file").write_text("in the way")
    assert demo.main(["--folder", "file/demo"]) == 2
    assert "cannot be made" in capfd.readouterr().err
