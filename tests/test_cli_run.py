"""``qianda run`` without a terminal, as scripts use it: the real program against a real server on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from qianda.cli.main import main
from qianda.models.config import data_dir
from qianda.models.events import CallFinished, RunFinished, RunStarted, from_json
from qianda.testing import Call, Fault, ScriptedServer, Turn, serving

PROGRAM = [sys.executable, "-m", "qianda"]


Done = subprocess.CompletedProcess[str]


def program(*arguments: str, stdin: str = "", **variables: str) -> Done:
    """Run the real program to its end, with nothing but pipes."""
    environment = os.environ | variables
    options: dict[str, Any] = {"capture_output": True, "encoding": "utf-8", "timeout": 50}
    return subprocess.run([*PROGRAM, *arguments], input=stdin, env=environment, check=False, **options)


def qianda(*arguments: str, stdin: str | bytes = "", **variables: str) -> Done:
    """Run the program inside this process, which is much cheaper, with files in place of pipes."""
    folder = Path(tempfile.mkdtemp())
    (folder / "stdin").write_bytes(stdin.encode() if isinstance(stdin, str) else stdin)
    with (
        mock.patch.dict(os.environ, variables),
        (folder / "stdin").open(encoding="utf-8") as given,
        (folder / "stdout").open("w", encoding="utf-8") as out,
        (folder / "stderr").open("w", encoding="utf-8") as err,
        mock.patch.multiple(sys, stdin=given, stdout=out, stderr=err),
    ):
        code = main(arguments)
    texts = [(folder / name).read_text(encoding="utf-8") for name in ("stdout", "stderr")]
    shutil.rmtree(folder)
    return subprocess.CompletedProcess([], code, *texts)


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedServer]]:
    """A function that starts a scripted server, which lasts as long as the test."""
    with ExitStack() as stack:
        yield lambda *turns, **options: stack.enter_context(serving(ScriptedServer(*turns, **options)))


def run(server: ScriptedServer, *arguments: str, **options: Any) -> Done:
    return qianda("run", "--server", server.url, *arguments, **options)


def messages(server: ScriptedServer, request: int = -1) -> list[dict[str, Any]]:
    return [message for message in server.requests[request]["messages"] if message["role"] != "system"]


def refused(done: Done, code: int, *fragments: str) -> None:
    """The program said what is wrong in one line, and nothing else."""
    assert done.stdout == ""
    assert done.stderr.startswith("qianda: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for fragment in fragments:
        assert fragment in done.stderr
    assert done.returncode == code


Scripted = Callable[..., ScriptedServer]


def test_a_pipe_gets_the_answer_alone(scripted: Scripted) -> None:
    Path("price.txt").write_text("17\n")
    turns = (
        Turn("Let me look.", calls=[Call("read_file", {"path": "price.txt"})]),
        Turn("It is 51.", reasoning="3*17"),
    )
    server = scripted(*turns)
    done = program("run", "--server", server.url, "Read price.txt. It holds a number; multiply it by 3.")
    assert (done.returncode, done.stdout, done.stderr) == (0, "It is 51.\n", "")
    assert "17" in messages(server)[-1]["content"]


def test_a_rule_for_a_tool_that_there_is_not_is_named(scripted: Scripted) -> None:
    allow = ["--allow", "Bash(ls *)", "--allow", "run_command(ls *)", "--allow", "web_*", "--allow", "mcp__x__y"]
    done = run(scripted("ok"), "Hi", *allow)
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert done.stderr.count("fits nothing") == 1
    assert "--allow 'Bash(ls *)' fits nothing: there is no tool Bash. There are list_files, " in done.stderr


def test_a_wrong_choice_is_said_with_those_that_there_are(scripted: Scripted) -> None:
    done = run(scripted(), "Hi", "--permissions", "all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Invalid value for '--permissions': 'all' is not one of 'read-only', 'ask'" in done.stderr


def test_the_prompt_is_argument_file_and_stdin_one_after_the_other(scripted: Scripted) -> None:
    Path("more.txt").write_text("from the file\n", encoding="utf-8")
    server = scripted("ok")
    assert run(server, "参数", "--prompt-file", "more.txt", stdin="from stdin\n").returncode == 0
    assert messages(server)[0]["content"] == "参数\n\nfrom the file\n\nfrom stdin"


def test_stdin_alone_is_the_prompt_and_a_device_is_none(scripted: Scripted) -> None:
    server = scripted("ok", "ok")
    assert run(server, stdin="Hello").returncode == 0
    assert messages(server)[0]["content"] == "Hello"
    command = [*PROGRAM, "run", "--server", server.url, "Hi"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=50)
    assert messages(server)[0]["content"] == "Hi"


def test_files_are_attached_with_their_names_and_images_as_images(scripted: Scripted) -> None:
    Path("价格 1.txt").write_text("\ufeff17\n", encoding="utf-8")
    Path("dot.png").write_bytes(b"\x89PNG\r\n")
    server = scripted("ok")
    assert run(server, "Look", "--file", "价格 1.txt", "--image", "dot.png").returncode == 0
    text, image = messages(server)[0]["content"]
    assert text["text"] == 'Look\n\n<file name="价格 1.txt">\n17\n</file>'
    assert image["image_url"]["url"].startswith("data:image/png;base64,")


def test_json_is_every_event_as_a_line(scripted: Scripted) -> None:
    server = scripted(Turn(calls=[Call("calculator", {"expression": "23*17"})]), Turn("391"))
    done = program("run", "--server", server.url, "Compute", "--json")
    events = [from_json(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (0, "")
    assert isinstance(events[0], RunStarted)
    assert events[0].model == "qwen3-8b"
    assert isinstance(events[-1], RunFinished)
    assert events[-1].output == "391"
    assert [event.seq for event in events] == list(range(len(events)))
    assert any(isinstance(event, CallFinished) for event in events)


def test_a_call_that_needs_consent_is_denied_without_a_terminal_and_yes_allows_it(scripted: Scripted) -> None:
    turns = (Turn(calls=[Call("write_file", {"path": "r.txt", "content": "391"})]), Turn("I could not."))
    server = scripted(*turns, *turns)
    done = program("run", "--server", server.url, "Save it")
    assert (done.returncode, done.stdout) == (3, "I could not.\n")
    assert done.stderr.count("\n") == 1
    assert "write_file" in done.stderr
    assert "--yes" in done.stderr
    assert "--allow 'write_file(=" in done.stderr
    assert not Path("r.txt").exists()
    done = program("run", "--server", server.url, "Save it", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert Path("r.txt").read_text().strip() == "391"


def test_read_only_denies_by_rule(scripted: Scripted) -> None:
    server = scripted(Turn(calls=[Call("write_file", {"path": "r.txt", "content": "x"})]), Turn("No."))
    done = run(server, "Save it", "--permissions", "read-only")
    assert (done.returncode, done.stdout) == (3, "No.\n")
    assert done.stderr.count("\n") == 1
    assert not Path("r.txt").exists()


def test_a_session_goes_on_in_the_next_process(scripted: Scripted) -> None:
    server = scripted("Nice to meet you, Li.", "You are Li.")
    assert program("run", "--server", server.url, "I am Li", "--session", "trip").returncode == 0
    assert program("run", "--server", server.url, "Who am I?", "--session", "trip").stdout == "You are Li.\n"
    assert [message["content"] for message in messages(server)] == ["I am Li", "Nice to meet you, Li.", "Who am I?"]


def test_a_limit_is_exit_code_4_and_names_the_option(scripted: Scripted) -> None:
    server = scripted(default=Turn(calls=[Call("current_time")]))
    refused(run(server, "Loop", "--max-turns", "2"), 4, "2 turns", "--max-turns")
    assert len(server.requests) == 2


def test_cwd_is_where_tools_work_and_attachments_come_from_here(scripted: Scripted) -> None:
    Path("work").mkdir()
    Path("work/inside.txt").write_text("x")
    Path("here.txt").write_text("attached")
    server = scripted(Turn(calls=[Call("list_files", {"path": "."})]), Turn("ok"))
    assert run(server, "List", "--cwd", "work", "--file", "here.txt").returncode == 0
    assert "inside.txt" in messages(server)[-1]["content"]
    assert "attached" in messages(server)[0]["content"]


@pytest.mark.parametrize("flag", ["--thinking", "--no-thinking"])
def test_thinking_is_sent_as_the_server_wants_it(scripted: Scripted, flag: str) -> None:
    server = scripted("ok")
    assert run(server, "Hi", flag).returncode == 0
    assert server.requests[0]["chat_template_kwargs"]["enable_thinking"] is (flag == "--thinking")


def test_verbose_tells_on_stderr_what_happens(scripted: Scripted) -> None:
    server = scripted(Turn(calls=[Call("calculator", {"expression": "23*17"})]), Turn("391"))
    done = run(server, "Compute", "--verbose")
    assert done.stdout == "391\n"
    assert "calculator expression=23*17" in done.stderr
    assert "\x1b" not in done.stderr


def test_settings_and_environment_choose_the_server(scripted: Scripted) -> None:
    server = scripted("one", "two", api_key="secret-key")
    qianda("config", "set", "server", server.url)
    qianda("config", "set", "api_key", stdin="secret-key\n")
    assert qianda("run", "Hi").stdout == "one\n"
    qianda("config", "unset", "api_key")
    assert qianda("run", "Hi", "--api-key-env", "MY_KEY", MY_KEY="secret-key").stdout == "two\n"


def test_a_run_is_recorded_and_a_record_that_cannot_be_opened_is_one_warning(scripted: Scripted) -> None:
    server = scripted("ok", "ok")
    assert run(server, "Hi").returncode == 0
    assert (data_dir() / "journal.db").stat().st_size > 0
    Path("file").write_text("")
    done = run(server, "Hi", QIANDA_DATA_DIR=str(Path("file/data").absolute()))
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert done.stderr.startswith("qianda: This run is not recorded")
    assert done.stderr.count("\n") == 1


def test_an_mcp_server_gives_its_tools(scripted: Scripted) -> None:
    Path("greet.py").write_text(
        "from qianda import tool\n\n@tool\ndef greet(name: str) -> str:\n"
        '    """Greet someone.\n\n    Args:\n        name: whom.\n    """\n    return f"Hello, {name}!"\n'
    )

    def call_it(body: dict[str, Any]) -> Turn:
        name = next(tool["function"]["name"] for tool in body["tools"] if "greet" in tool["function"]["name"])
        return Turn(calls=[Call(name, {"name": "Li"})])

    server = scripted(call_it, Turn("Done."))
    done = run(server, "Greet", "--yes", "--mcp", f"'{sys.executable}' -m qianda serve greet.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Done.\n", "")
    assert "Hello, Li!" in messages(server)[-1]["content"]


@pytest.mark.parametrize("command", ["no-such-program-anywhere --x", f"'{sys.executable}' -c 'raise SystemExit(7)'"])
def test_an_mcp_server_that_is_not_there_or_dies_is_one_line(scripted: Scripted, command: str) -> None:
    done = run(scripted("ok"), "Hi", "--mcp", command)
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("qianda: ")
    assert "MCP server" in done.stderr


def test_what_a_folder_brings_is_used_after_trust_only(scripted: Scripted) -> None:
    marker = Path("started").absolute()
    program = f"from pathlib import Path; Path({str(marker)!r}).touch()"
    Path(".mcp.json").write_text(
        json.dumps({"mcpServers": {"x": {"command": sys.executable, "args": ["-c", program]}}})
    )
    server = scripted("ok", "ok")
    done = run(server, "Hi")
    assert (done.returncode, done.stdout) == (0, "ok\n")
    assert "qianda mcp approve x" in done.stderr
    assert not marker.exists()
    unasked = qianda("trust")
    assert (unasked.returncode, unasked.stderr.count("\n")) == (2, 1)
    assert "qianda trust --yes" in unasked.stderr
    trusted = qianda("trust", "--yes")
    assert trusted.returncode == 0
    assert "MCP server x: " in trusted.stdout
    run(server, "Hi")
    assert marker.exists()


# Bad input: one line, the right exit code, no traceback.


def test_no_server_at_that_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    refused(qianda("run", "--server", f"http://127.0.0.1:{port}/v1", "Hi"), 5, str(port), "qianda doctor")


@contextmanager
def web_server(status: int, body: bytes) -> Generator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 -- the name is the base class's

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name is the base class's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [200, 404])
def test_something_else_that_answers_there(status: int) -> None:
    with web_server(status, b"<html>It works!</html>") as url:
        refused(qianda("run", "--server", url, "Hi"), 5, url, "not a model server")


def test_something_that_does_not_speak_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(100)
                    connection.sendall(b"220 mail.example ESMTP\r\n")

        threading.Thread(target=answer, daemon=True).start()
        port = listener.getsockname()[1]
        refused(qianda("run", "--server", f"http://127.0.0.1:{port}/v1", "Hi"), 5, str(port))
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("server", ["no-such-server-name", "ftp://host/v1", "http://", "http://[::1"])
def test_an_address_that_is_none(server: str) -> None:
    refused(qianda("run", "--server", server, "Hi"), 2, "neither a server's name nor its address")


def test_a_wrong_key_is_named_and_never_shown(scripted: Scripted) -> None:
    server = scripted("ok", api_key="right-key")
    done = run(server, "Hi", QIANDA_API_KEY="wrong-secret-key")
    refused(done, 5, "QIANDA_API_KEY")
    assert "wrong-secret-key" not in done.stderr
    refused(run(server, "Hi", "--api-key-env", "NOT_SET"), 2, "NOT_SET is not set")


def test_a_model_that_the_server_does_not_have(scripted: Scripted) -> None:
    refused(run(scripted("ok"), "Hi", "--model", "qwen9"), 5, "qwen9", "qianda doctor")


def test_a_prompt_of_1_mb_arrives_whole(scripted: Scripted) -> None:
    server = scripted("ok")
    prompt = "数" * 350_000
    assert run(server, stdin=prompt).stdout == "ok\n"
    assert messages(server)[0]["content"] == prompt


def test_a_prompt_that_is_too_long_for_the_model(scripted: Scripted) -> None:
    refused(run(scripted("ok", window=4096), stdin="x" * 1_000_000), 5, "Shorten the prompt")


def test_half_an_answer_is_no_answer(scripted: Scripted) -> None:
    server = scripted(default=Turn("The answer is forty-two", fault=Fault.drop(after=3)))
    refused(run(server, "Hi"), 5, server.url)


def test_an_answer_that_comes_at_the_second_attempt_is_printed_once(scripted: Scripted) -> None:
    server = scripted(Turn("The answer is 42", fault=Fault.drop(after=3)), Turn("The answer is 42"))
    done = run(server, "Hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, "The answer is 42\n", "")


def test_an_empty_answer_twice_is_exit_code_1(scripted: Scripted) -> None:
    refused(run(scripted(default=Turn("")), "Hi"), 1, "empty")


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--file", "missing.txt"], "missing.txt does not exist"),
        (["--file", "binary.bin"], "binary.bin is a binary file"),
        (["--file", "latin.txt"], "not UTF-8"),
        (["--file", "."], "is a folder"),
        (["--file", "/dev/zero"], "larger than"),
        (["--prompt-file", "missing.txt"], "missing.txt does not exist"),
        (["--image", "missing.png"], "missing.png does not exist"),
        (["--image", "latin.txt"], "not an image"),
        (["--image", "sound.wav"], "not an image"),
        (["--cwd", "missing"], "does not exist"),
        (["--cwd", "latin.txt"], "Not a directory"),
        (["--yes", "--permissions", "read-only"], "contradict"),
        (["--permissions", "yolo"], "read-only"),
        (["--max-turns", "0"], "--max-turns"),
        (["--no-such-option"], "qianda run --help"),
        (["--mcp", 'unclosed "quote'], "quote"),
        (["--mcp", ""], "MCP"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], fragment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("binary.bin").write_bytes(b"\x7fELF\0\0")
    Path("latin.txt").write_bytes(b"caf\xe9")
    Path("sound.wav").write_bytes(b"RIFF")
    code = main(["run", "Hi", *arguments])
    refused(subprocess.CompletedProcess([], code, *capsys.readouterr()), 2, fragment)


def test_no_prompt_or_one_that_is_not_text() -> None:
    refused(qianda("run"), 2, "no prompt")
    refused(qianda("run", "  \n"), 2, "no prompt")
    refused(qianda("run", stdin=b"\x89PNG\0"), 2, "binary")


def test_a_wrong_configuration_is_exit_code_2() -> None:
    Path(".qianda").mkdir()
    Path(".qianda/config.toml").write_text("permissions = 1\n")
    refused(qianda("run", "Hi"), 2, ".qianda/config.toml", "permissions")


# Signals and pipes.


def start(server: ScriptedServer, *arguments: str) -> subprocess.Popen[str]:
    command = [*PROGRAM, "run", "--server", server.url, *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_cleanly_and_is_recorded(scripted: Scripted, number: signal.Signals) -> None:
    asked = threading.Event()

    def hang(body: dict[str, Any]) -> Turn:
        asked.set()
        return Turn("Once upon a time", fault=Fault.hang(after=2))

    server = scripted(hang)
    with start(server, "Hi") as process:
        assert asked.wait(40)
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err.count("\n") == 1
    assert "qianda resume 2" in err


def test_a_reader_who_leaves_is_no_error_message(scripted: Scripted) -> None:
    server = scripted("A long answer that nobody reads.")
    with start(server, "Hi") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1
