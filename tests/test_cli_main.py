"""The program around its commands: help, version, completion, faults, and what it loads."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import qianda
from qianda.cli.main import main
from qianda.cli.opening import open_workspace
from qianda.models.config import data_dir
from qianda.models.errors import (
    ConfigurationError,
    ContextTooLong,
    JournalError,
    LimitReached,
    ModelOutputError,
    PermissionDenied,
    QiandaError,
    QuotaExceeded,
    ServerUnreachable,
    ToolError,
)
from qianda.testing import ScriptedServer, serving

COMMANDS = ("run", "doctor", "config", "models", "serve", "trust")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"qianda {qianda.__version__}\n"


@pytest.mark.parametrize(
    "command", ["", *COMMANDS, "config set", "config get", "config unset", "config path", "models pull"]
)
def test_every_command_explains_itself_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example" in shown
    assert f"qianda {command}".strip() in shown.partition("Example")[2]
    if not command:
        assert all(re.search(rf"^  {name} ", shown, re.MULTILINE) for name in COMMANDS)


def test_examples_of_the_help_use_options_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        main([command, "--help"])
        usage, _, examples = capsys.readouterr().out.partition("Examples:")
        used = set(re.findall(r"(?<=\s)--[a-z-]+", examples.partition("Exit codes")[0]))
        known = set(re.findall(r"--[a-z-]+", usage))
        assert used <= known, command


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_the_shells(shell: str) -> None:
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    program = [sys.executable, "-c", "import sys; from qianda.cli.main import main; sys.exit(main())"]
    script = subprocess.run(
        [*program, "--show-completion", shell], env=environment, capture_output=True, encoding="utf-8", check=True
    ).stdout
    assert "_QIANDA_COMPLETE" in script
    ask = {
        "bash": {"COMP_WORDS": "qianda do", "COMP_CWORD": "1"},
        "zsh": {"_TYPER_COMPLETE_ARGS": "qianda do"},
        "fish": {"_TYPER_COMPLETE_ARGS": "qianda do", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    answer = subprocess.run(
        program,
        env=os.environ | {"_QIANDA_COMPLETE": f"complete_{shell}", **ask},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert "doctor" in answer.stdout
    assert "config" not in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["rum"], "No such command 'rum'"),
        (["--no-such"], "--no-such"),
        (["config", "frobnicate"], "frobnicate"),
        (["models", "pull", "qwen3"], "demo"),
        (["models", "pull"], "name"),
        (["serve"], "nothing to serve"),
        (["--model", "x", "run", "Hi"], "after the command"),
        (["doctor", "--cwd", "missing"], "missing"),
        ([], "needs a terminal"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], fragment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("qianda: ")
    assert captured.err.count("\n") == 1
    assert fragment.casefold() in captured.err.casefold()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ModelOutputError("x"), 1),
        (ToolError("x"), 1),
        (JournalError("x"), 1),
        (ConfigurationError("x", cure="Do y"), 2),
        (PermissionDenied("x"), 3),
        (LimitReached("turns", "x"), 4),
        (ServerUnreachable("x"), 5),
        (ContextTooLong("x"), 5),
        (QuotaExceeded("x"), 5),
        (ExceptionGroup("several", [ValueError("no"), ExceptionGroup("inner", [ServerUnreachable("x")])]), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code_and_one_line(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr("qianda.cli.doctor.doctor", fail)
    assert main(["doctor"]) == code
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    if isinstance(error, QiandaError):
        assert err == f"qianda: {error}\n"
    assert not (data_dir() / "logs").exists()


def test_a_message_of_many_lines_with_escapes_is_one_harmless_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise ServerUnreachable("said:\n\x1b[2Jgo\n" + "away " * 1000)

    monkeypatch.setattr("qianda.cli.doctor.doctor", fail)
    assert main(["doctor"]) == 5
    err = capsys.readouterr().err
    assert err.startswith("qianda: said: \\x1b[2Jgo away")
    assert len(err) < 1100
    assert err.count("\n") == 1


def test_something_unexpected_is_one_line_and_a_traceback_in_the_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr("qianda.cli.doctor.doctor", fail)
    assert main(["doctor"]) == 1
    err = capsys.readouterr().err
    (log,) = (data_dir() / "logs").iterdir()
    assert err.count("\n") == 1
    assert str(log) in err
    assert "Traceback" not in err
    assert "nobody thought of this" in log.read_text()
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_something_unexpected_without_a_place_for_the_log_is_still_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise RuntimeError("nobody thought of this")

    Path("file").write_text("")
    monkeypatch.setenv("QIANDA_DATA_DIR", str(Path("file/data").absolute()))
    monkeypatch.setattr("qianda.cli.doctor.doctor", fail)
    assert main(["doctor"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "could not be written" in err


def test_a_full_disk_is_no_traceback() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is a device of Linux")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qianda", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_traceback(closed: str) -> None:
    command = f'exec "{sys.executable}" -m qianda config {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_without_rights_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ConfigurationError, match=r"Permission denied.*--cwd"):
        open_workspace(str(tmp_path))


@pytest.fixture
def nothing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model server on this machine, whatever runs on it."""

    async def none(*_: object) -> list[object]:
        return []

    monkeypatch.setattr("qianda.models.resolve.probe_local", none)


@pytest.mark.usefixtures("nothing_there")
@pytest.mark.parametrize(
    ("installed", "cure"), [(False, "pip install 'qianda[local]'"), (True, "qianda models pull demo")]
)
def test_nothing_to_run_on_is_exit_code_5_with_the_command_that_helps(
    installed: bool, cure: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qianda.models.embedded.available", lambda: installed)
    monkeypatch.setattr("qianda.models.embedded.weights_present", lambda: False)
    assert main(["run", "Hi"]) == 5
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert cure in captured.err
    assert main(["doctor"]) == 5
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert ("not installed" in captured.out) is not installed


def test_doctor_says_what_would_be_used_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ScriptedServer(model="Qwen/Qwen3-8B", window=32_768, default="Hello")) as server:
        assert main(["doctor", server.url]) == 0
        shown = capsys.readouterr().out
        assert main(["doctor", server.url, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        url = server.url
    assert re.search(r"model +Qwen/Qwen3-8B$", shown, re.MULTILINE)
    assert "32,768 tokens" in shown
    assert "you named the server" in shown
    assert report["usable"] is True
    assert (report["url"], report["model"], report["window"]) == (url, "Qwen/Qwen3-8B", 32_768)
    assert report["models"] == ["Qwen/Qwen3-8B"]


def test_doctor_says_what_is_wrong_with_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ScriptedServer(api_key="right")) as server:
        assert main(["doctor", server.url]) == 5
    captured = capsys.readouterr()
    assert "QIANDA_API_KEY" in captured.err
    assert captured.err.count("\n") == 1
    assert "Embedded engine" in captured.out


def test_models_marks_the_one_that_would_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ScriptedServer(model="qwen3-8b")) as server:
        assert main(["models", "--server", server.url]) == 0
    assert "* qwen3-8b" in capsys.readouterr().out


def test_models_pull_demo_fetches_and_says_where(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        "qianda.models.embedded.ensure_weights", lambda notify: notify("fetching") or tmp_path / "w.gguf"
    )
    assert main(["models", "pull", "demo"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'w.gguf'}\n"
    assert captured.err == "qianda: fetching\n"


def test_trust_of_a_folder_that_brings_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trust"]) == 0
    assert "nothing to trust" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["--help", "--version", "run --help", "config"])
def test_what_needs_no_model_loads_nothing_heavy(command: str) -> None:
    heavy = {"textual", "mcp", "httpx", "httpx2", "rich", "xllamacpp", "numpy", "sqlite3", "qwen_agent"}
    if " " not in command and command != "config":
        heavy |= {"pydantic"}  # typer itself loads it to read the options of a command
    code = (
        "import sys; from qianda.cli.main import main; "
        f"main({command.split()!r}); print('\\n' + ' '.join(sorted(set(sys.modules) & {heavy!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_serve_speaks_mcp_on_stdio() -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
    }
    done = subprocess.run(
        [sys.executable, "-m", "qianda", "serve", "files", "--read-only"],
        input=json.dumps(hello) + "\n",
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=50,
    )
    assert json.loads(done.stdout.splitlines()[0])["result"]["serverInfo"]["name"] == "qianda"
    assert done.stderr == ""
    assert done.returncode == 0
