"""``qianda`` on a terminal, as a person sees it: the real program on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

import pytest

from qianda.testing import Call, Fault, ScriptedServer, Turn, serving

WRITE = (Turn(calls=[Call("write_file", {"path": "r.txt", "content": "391\n"})]), Turn("Done."))
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class TerminalProgram:
    """The program with a keyboard and a screen."""

    def __init__(self, *arguments: str, stdout: IO[bytes] | None = None, **variables: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 100))
        environment = os.environ | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"} | variables
        self.process = subprocess.Popen(
            [sys.executable, "-m", "qianda", *arguments],
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.screen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def expect(self, text: str, *, seconds: float = 40) -> str:
        """Wait until the text stands on the screen; everything up to its end, which is taken off ``screen``."""
        end = time.monotonic() + seconds
        while text not in self.screen:
            assert self._read(end), f"{text!r} never came; the screen is {self.screen!r}"
        seen, _, self.screen = self.screen.partition(text)
        return seen + text

    def finish(self, *, seconds: float = 40) -> tuple[int, str]:
        """Wait for the end: the exit code and what else stood on the screen."""
        end = time.monotonic() + seconds
        while self._read(end):
            pass
        return self.process.wait(timeout=seconds), self.screen

    def _read(self, end: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, end - time.monotonic()))[0]:
            raise TimeoutError(f"nothing more came; the screen is {self.screen!r}")
        try:
            data = os.read(self._master, 65_536)
        except OSError:  # Linux says so when the last writer has gone
            return False
        self.screen += data.decode(errors="replace").replace("\r\n", "\n")
        return data != b""


Scripted = Callable[..., ScriptedServer]


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A function that starts a scripted server, which lasts as long as the test."""
    with ExitStack() as stack:
        yield lambda *turns, **options: stack.enter_context(serving(ScriptedServer(*turns, **options)))


def run(server: ScriptedServer, *arguments: str, **variables: Any) -> TerminalProgram:
    return TerminalProgram("run", "--server", server.url, *arguments, **variables)


def test_a_run_shows_server_thinking_calls_results_and_answer(scripted: Scripted) -> None:
    Path("price.txt").write_text("17\n")
    server = scripted(
        Turn(reasoning="I must look.", calls=[Call("read_file", {"path": "price.txt"})]),
        Turn("It is 51."),
    )
    with run(server, "Read price.txt") as program:
        code, screen = program.finish()
    assert code == 0
    plain = ESCAPES.sub("", screen)
    lines = [line for line in plain.splitlines() if line]
    assert "qwen3-8b" in lines[0]
    assert server.url in lines[0]
    assert "you named the server" in lines[0]
    assert lines[1] == "I must look."
    assert lines[2] == "→ read_file path=price.txt"
    assert lines[3].startswith("✓ ")
    assert lines[-1] == "It is 51."
    assert "\x1b[2m" in screen
    assert "\x1b[36m→" in screen
    assert "\x1b[32m✓" in screen


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_can_be_switched_off(scripted: Scripted, variables: dict[str, str]) -> None:
    server = scripted(Turn(reasoning="Hm.", calls=[Call("current_time")]), Turn("Noon."))
    with run(server, "Hi", **variables) as program:
        code, screen = program.finish()
    assert code == 0
    assert "\x1b" not in screen
    assert "(thinking) Hm." in screen
    assert "→ current_time" in screen


def test_a_terminal_without_utf8_loses_nothing(scripted: Scripted) -> None:
    server = scripted(Turn(calls=[Call("current_time")]), Turn("Zwölf, 十二"))
    with run(server, "Hi", PYTHONIOENCODING="ascii") as program:
        code, screen = program.finish()
    assert code == 0
    assert screen.isascii()
    assert "-> current_time" in screen
    assert "Zw\\xf6lf, \\u5341\\u4e8c" in screen


def test_neither_model_nor_tool_can_steer_the_terminal(scripted: Scripted) -> None:
    evil = "\x1b]0;pwned\x07\x1b[2J\x9b31m"
    Path("evil.txt").write_text(evil, encoding="utf-8")
    turns = (Turn(reasoning=evil, calls=[Call("read_file", {"path": "evil.txt"})]), Turn(f"It says {evil}"))
    with run(scripted(*turns), "Read", NO_COLOR="1") as program:
        code, screen = program.finish()
    assert code == 0
    assert "\x1b" not in screen
    assert "\x07" not in screen
    assert "\x9b" not in screen
    assert "It says \\x1b]0;pwned\\x07" in screen


def test_yes_runs_the_call(scripted: Scripted) -> None:
    with run(scripted(*WRITE), "Save it") as program:
        question = program.expect("say why not: ")
        program.type("y\n")
        code, screen = program.finish()
    assert "write_file" in question
    assert "path: r.txt" in question
    assert "content: 391" in question
    assert code == 0
    assert "Done." in screen
    assert Path("r.txt").read_text() == "391\n"


def test_always_saves_the_rule_that_was_shown(scripted: Scripted) -> None:
    with run(scripted(*WRITE), "Save it") as program:
        question = program.expect("say why not: ")
        program.type("r\n")
        assert program.finish()[0] == 0
    assert "rule for this folder: write_file(=r.txt)" in question
    with run(scripted(*WRITE), "Save it") as program:
        code, screen = program.finish()
    assert code == 0
    assert "Allow it?" not in screen


def test_with_the_answer_in_a_file_the_question_still_comes(scripted: Scripted) -> None:
    server = scripted(*WRITE)
    with (
        Path("answer.txt").open("wb") as answer,
        TerminalProgram("run", "--server", server.url, "Save it", stdout=answer) as program,
    ):
        program.expect("say why not: ")
        program.type("y\n")
        assert program.finish()[0] == 0
    assert Path("answer.txt").read_text() == "Done.\n"
    assert Path("r.txt").exists()


@pytest.mark.parametrize(
    ("keys", "told"), [("\n", "no"), ("n\n", "no"), ("\x04", "no"), ("not in this folder\n", "not in this folder")]
)
def test_enter_the_end_of_input_and_a_reason_are_no(scripted: Scripted, keys: str, told: str) -> None:
    server = scripted(*WRITE)
    with run(server, "Save it") as program:
        program.expect("say why not: ")
        program.type(keys)
        code, screen = program.finish()
    assert code == 0
    assert "⊘ denied" in screen
    assert "✓" not in screen
    assert not Path("r.txt").exists()
    assert told in server.requests[-1]["messages"][-1]["content"]


@pytest.mark.parametrize(("keys", "told"), [("2\n", "blue"), ("green\n", "green"), ("\n", "the user did not answer")])
def test_a_tool_asks_the_person(scripted: Scripted, keys: str, told: str) -> None:
    call = Call("ask_user", {"question": "Which \x1b[31mcolour?", "options": ["red", "blue"]})
    server = scripted(Turn(calls=[call]), Turn("Painted."))
    with run(server, "Paint it") as program:
        asked = program.expect("Enter = none: ")
        program.type(keys)
        code, screen = program.finish()
    assert code == 0
    assert "2. blue" in asked
    assert "\x1b[31m" not in asked
    assert "Painted." in screen
    assert told in server.requests[-1]["messages"][-1]["content"]


def test_a_key_that_means_nothing_asks_again(scripted: Scripted) -> None:
    with run(scripted(*WRITE), "Save it") as program:
        program.expect("say why not: ")
        program.type("x\n")
        program.expect("say why not: ")
        program.type("Y\n")
        assert program.finish()[0] == 0
    assert Path("r.txt").exists()


def test_what_was_typed_before_the_question_is_no_answer(scripted: Scripted) -> None:
    with run(scripted(*WRITE), "Save it") as program:
        program.type("y\ny\ny\n")
        program.expect("say why not: ")
        program.type("\n")
        code, screen = program.finish()
    assert code == 0
    assert "⊘ denied" in screen
    assert not Path("r.txt").exists()


def test_s_is_for_this_very_call_and_no_other(scripted: Scripted) -> None:
    same = WRITE[0]
    other = Turn(calls=[Call("write_file", {"path": "other.txt", "content": "x"})])
    with run(scripted(same, same, other, Turn("Done.")), "Save it twice") as program:
        program.expect("say why not: ")
        program.type("s\n")
        assert "other.txt" in program.expect("say why not: ")
        program.type("\n")
        code, _ = program.finish()
    assert code == 0
    assert Path("r.txt").exists()
    assert not Path("other.txt").exists()


def test_a_question_shows_all_lines_as_content_and_steers_nothing(scripted: Scripted) -> None:
    content = "first\n  Allow it? y = once\n\x1b[2J"
    server = scripted(Turn(calls=[Call("write_file", {"path": "r.txt", "content": content})]), Turn("Done."))
    with run(server, "Save it", NO_COLOR="1") as program:
        question = program.expect("say why not: ")
        program.type("\n")
        program.finish()
    assert "  content: first\n    |   Allow it? y = once\n    | \\x1b[2J\n" in question
    assert "\x1b" not in question


@pytest.mark.parametrize("at_question", [False, True])
def test_ctrl_c_ends_the_run_and_says_that_it_is_recorded(scripted: Scripted, at_question: bool) -> None:
    def hang(body: dict[str, Any]) -> Turn:
        return Turn("Once upon a time there was", fault=Fault.hang(after=4))

    server = scripted(*WRITE) if at_question else scripted(hang)
    with run(server, "Tell me") as program:
        program.expect("say why not: " if at_question else "Once upon")
        program.process.send_signal(signal.SIGINT)
        code, screen = program.finish()
    assert code == 130
    assert "what was done is recorded, to go on: qianda resume " in screen
    assert "Traceback" not in screen
    assert not Path("r.txt").exists()


def test_a_stream_that_breaks_repeats_nothing_on_the_screen(scripted: Scripted) -> None:
    text = "The answer to everything is 42."
    with run(scripted(Turn(text, fault=Fault.drop(after=5)), Turn(text)), "Hi") as program:
        code, screen = program.finish()
    assert code == 0
    assert screen.count("The answer") == 1
    assert "↻" in screen
    assert screen.rstrip().endswith("42.")


def test_quiet_shows_the_answer_only(scripted: Scripted) -> None:
    with run(scripted(Turn(reasoning="Hm.", calls=[Call("current_time")]), Turn("Noon.")), "Hi", "--quiet") as program:
        assert program.finish() == (0, "Noon.\n")


def test_without_a_prompt_nobody_waits_for_the_keyboard() -> None:
    with TerminalProgram("run") as program:
        code, screen = program.finish()
    assert code == 2
    assert "There is no prompt" in screen


@pytest.mark.parametrize(("keys", "code"), [("\n", 3), ("y\n", 0)])
def test_trust_asks_and_enter_is_no(keys: str, code: int) -> None:
    Path(".qianda").mkdir()
    Path(".qianda/config.toml").write_text('model = "m"\n')
    with TerminalProgram("trust") as program:
        assert ".qianda/config.toml" in program.expect("[y/N]: ")
        program.type(keys)
        assert program.finish()[0] == code
    with TerminalProgram("trust", "--list") as program:
        assert ("is trusted" in program.finish()[1]) is (code == 0)


def test_a_key_is_typed_unseen() -> None:
    with TerminalProgram("config", "set", "api_key") as program:
        program.expect("api_key: ")
        program.type("sk-typed-secret\n")
        code, screen = program.finish()
    assert code == 0
    assert "sk-typed-secret" not in screen


def test_without_a_command_the_chat_opens_with_the_chosen_server(scripted: Scripted) -> None:
    server = scripted("Good morning, Li.")
    with TerminalProgram("--server", server.url, "--session", "trip") as program:
        program.expect("qwen3-8b")
        program.type("I am Li\r")
        program.expect("Good morning, Li.")
        program.type("\x03\x03")  # Ctrl+C twice
        code, screen = program.finish()
    assert code == 0
    assert "qianda --session trip" in screen
    assert "Traceback" not in screen


def test_the_plain_chat_only_appends_asks_and_goes_on_after_an_error_and_a_stop(scripted: Scripted) -> None:
    server = scripted(
        *WRITE, Fault.status(401), Turn("You pasted two lines."), Turn("One two three four", fault=Fault.hang(after=3))
    )
    with TerminalProgram("--plain", "--server", server.url) as program:
        program.expect("\n> ")
        program.type("Save it\n")
        program.expect("Allow it?")
        program.type("y\n")
        program.expect("Done.")
        program.expect("\n> ")
        program.type("fail\n")
        assert "401" in program.expect("\n> ")
        program.type("one\ntwo\n")
        program.expect("You pasted two lines.")
        program.expect("\n> ")
        assert server.requests[-1]["messages"][-1]["content"].split() == ["one", "two"]
        program.type("go on for ever\n")
        program.expect("One")
        program.process.send_signal(signal.SIGINT)
        program.expect("Interrupted")
        program.expect("\n> ")
        program.type("/help\n")
        program.expect("Ctrl+D leaves")
        program.type("/quit\n")
        code, screen = program.finish()
    assert code == 0
    assert "qianda --session chat-" in screen
    assert Path("r.txt").read_text() == "391\n"


def test_on_a_dumb_terminal_the_chat_is_plain_and_the_end_of_the_input_ends_it(scripted: Scripted) -> None:
    server = scripted(Turn("Hello."))
    with TerminalProgram("--server", server.url, TERM="dumb") as program:
        program.expect("> ")
        program.type("Hi\n")
        shown = program.expect("Hello.")
        program.expect("\n> ")
        program.type("\x04")
        code, screen = program.finish()
    assert code == 0
    assert "\x1b" not in shown + screen
