"""The real program in a real terminal when things go wrong: servers, terminals, and far too much of everything."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from tmux_terminal import Terminal

from qianda.testing import Call, Fault, ScriptedServer, Turn, serving

pytestmark = pytest.mark.tmux


@pytest.fixture
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Generator[Terminal]:
    with closing(Terminal(tmp_path_factory.mktemp("tmux"))) as terminal:
        yield terminal


def test_esc_stops_a_silent_server_and_the_prompt_comes_back(terminal: Terminal) -> None:
    with serving(ScriptedServer(Turn("Half an answer", fault=Fault.hang(after=3)), Turn("Whole."))) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Speak", "Enter")
        terminal.sees("Half")
        terminal.sees("silent for 5.0 s")
        terminal.type("", "Escape")
        terminal.sees("! Stopped")
        terminal.type(" again", "Enter")
        screen = terminal.sees("Whole.")
        assert "› Speak again" in screen


def test_a_broken_stream_is_asked_again_without_repeating(terminal: Terminal) -> None:
    with serving(
        ScriptedServer(Turn("One two three four", fault=Fault.drop(after=4)), Turn("One two done."))
    ) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Count", "Enter")
        screen = terminal.sees("One two done.")
        assert re.search(r"attempt\s+2 in", screen)
        assert screen.count("One two") == 1


def test_a_server_that_dies_and_is_started_again(terminal: Terminal) -> None:
    with serving(ScriptedServer(Turn("One two", fault=Fault.hang(after=3)))) as server:
        port = int(server.origin.rpartition(":")[2])
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Count", "Enter")
        terminal.sees("One two")
    terminal.sees("Start it again, then send again")
    with serving(ScriptedServer("One two three.", port=port)):
        terminal.type("", "Up")
        terminal.type(" again", "Enter")
        assert "› Count again" in terminal.sees("One two three.")


def test_without_a_server_it_says_what_to_do_and_tries_again(terminal: Terminal) -> None:
    terminal.start(QIANDA_SERVER="http://127.0.0.1:9/v1")
    screen = terminal.sees("Ctrl+R tries again")
    assert "Traceback" not in screen
    assert "127.0.0.1:9" in screen
    terminal.type("", "C-d")
    terminal.sees("Ask anything", gone=True)


def test_what_a_killed_terminal_left_is_gone_on_with(terminal: Terminal, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "gate")
    script = ScriptedServer(
        Turn(calls=[Call("write_file", {"path": "a.txt", "content": "once"})]),
        Turn(calls=[Call("run_command", {"command": "cat gate"})]),
        "It was interrupted.",
    )
    with serving(script) as server:
        terminal.start("--permissions", "auto", QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Work", "Enter")
        terminal.sees("◐ running  run_command $ cat gate")
        terminal.vanish()
        (tmp_path / "a.txt").write_text("changed since", encoding="utf-8")

        terminal.start("--continue", QIANDA_SERVER=server.url)
        screen = terminal.sees("/resume goes on with it")
        assert "✓ done     write_file a.txt" in screen
        terminal.type("/resume", "Enter")
        terminal.sees("It was interrupted.")
        assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "changed since"


def test_two_hundred_thousand_characters_of_output(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("".join(f"{number:07}\n" for number in range(25_000)), encoding="utf-8")
    with serving(
        ScriptedServer(Turn(calls=[Call("run_command", {"command": "cat long.txt"})]), "A lot of it.")
    ) as server:
        terminal.start("--permissions", "auto", QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Read it", "Enter")
        screen = terminal.sees("A lot of it.")
        assert "└ 0000000 (+" in screen
        assert "0000001" not in screen
        terminal.type("", "F8")
        terminal.sees("0000002")
        terminal.type("", "F8")
        terminal.sees("A lot of it.")


def test_ten_megabytes_pasted(terminal: Terminal, tmp_path: Path) -> None:
    text = "".join(
        f"line {number:06} of a paste that no model's window takes, of 80 characters{'.' * 9}\n"
        for number in range(125_000)
    )
    with serving(ScriptedServer("I have seen it.")) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Look: ")
        terminal.paste(text)
        screen = terminal.sees("Save as a file and mention it")
        assert "Look: [pasted 125,000 lines]" in screen
        terminal.type("", "Enter")
        terminal.sees(".qianda/pasted/")
        (file,) = (tmp_path / ".qianda/pasted").glob("*.txt")
        assert file.read_text(encoding="utf-8") == text
        terminal.type("", "Enter")
        terminal.sees("I have seen it.")
        assert str(file.relative_to(tmp_path)) in server.requests[-1]["messages"][-1]["content"]
