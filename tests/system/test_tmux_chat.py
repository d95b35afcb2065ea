"""The real program in a real terminal: a first session with its approvals, steering, resizing, the mouse, and lines."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
from tmux_terminal import Terminal

from qianda.models.config import saved_rules_path
from qianda.testing import Call, Fault, ScriptedServer, Turn, serving

pytestmark = pytest.mark.tmux


@pytest.fixture
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Generator[Terminal]:
    with closing(Terminal(tmp_path_factory.mktemp("tmux"))) as terminal:
        yield terminal


def test_a_first_session(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "price.txt").write_text("14\n", encoding="utf-8")
    write = {"path": "result.txt", "content": "42"}
    third = Call("write_file", {"path": "third.txt", "content": "3"})
    script = ScriptedServer(
        Turn(reasoning="I have to look first.", calls=[Call("read_file", {"path": "price.txt"})]),
        Turn(calls=[Call("write_file", write)]),
        Turn("It is **42**, and `result.txt` holds it."),
        Turn(calls=[Call("write_file", {"path": "second.txt", "content": "no"})]),
        Turn("Then I leave it."),
        Turn(calls=[third]),
        Turn(calls=[third]),
        Turn("Written twice."),
    )
    with serving(script) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Multiply the price by 3", "Enter")
        asked = terminal.sees("Run write_file?")
        assert re.search(r"\+ 42$", asked, re.MULTILINE)
        assert "▸ No\n" in asked
        assert not (tmp_path / "result.txt").exists()
        terminal.type("", "Down", "Down", "Enter")
        screen = terminal.sees("It is 42, and result.txt holds it.")
        assert "▸ Thought for" in screen
        assert re.search(r"✓ done +read_file price.txt", screen)
        assert re.search(r"✓ done +write_file result.txt", screen)
        assert (tmp_path / "result.txt").read_text(encoding="utf-8") == "42"

        terminal.type("Write another", "Enter")
        terminal.sees("Run write_file?")
        terminal.type("", "Down", "Enter")
        terminal.sees("Why not?")
        terminal.type("one file is enough", "Enter")
        screen = terminal.sees("Then I leave it.")
        assert re.search(r"⊘ denied +write_file second.txt.* by you", screen)
        assert "one file is enough" in server.requests[-1]["messages"][-1]["content"]
        assert not (tmp_path / "second.txt").exists()

        terminal.type("Write a third", "Enter")
        terminal.sees("Run write_file?")
        terminal.type("", "Down", "Down", "Down", "Down", "Enter")
        screen = terminal.sees("Save this rule?")
        assert "write_file(=third.txt)" in screen
        assert "▸ Back, and save nothing" in screen
        terminal.type("", "Down", "Enter")
        terminal.sees("Written twice.")
        assert "write_file(=third.txt)" in saved_rules_path().read_text(encoding="utf-8")

        terminal.type("", "C-c")
        terminal.sees("Ctrl+C again quits")
        terminal.type("", "C-c")
        screen = terminal.sees("To go on with this conversation: qianda --session")
        name = re.search(r"--session (\S+)", screen)
        assert name
        terminal.end()

        terminal.start("--session", name[1], QIANDA_SERVER=server.url)
        screen = terminal.sees("Written twice.")
        assert "› Write another" in screen
        assert re.search(r"⊘ denied +write_file second.txt", screen)
        assert not re.search(r"✓ done +write_file second.txt", screen)


def test_what_is_said_meanwhile_steers_or_waits_its_turn(terminal: Terminal, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = ScriptedServer(Turn(calls=[Call("run_command", {"command": "cat gate"})]), "Went on.", "Then that.")
    with serving(script) as server:
        terminal.start("--permissions", "auto", QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Work", "Enter")
        terminal.sees("◐ running  run_command $ cat gate")
        terminal.type("and mind the rest", "Enter")
        terminal.sees("1 waiting to be read")
        terminal.type("then another thing", "C-q")
        terminal.sees("queued: then another thing")
        gate.write_text("through\n", encoding="utf-8")
        screen = terminal.sees("Then that.")
        assert [line for line in screen.splitlines() if line.startswith(("› ", "» "))] == [
            "› Work",
            "» and mind the rest",
            "› then another thing",
        ]
        assert "through" in screen
        assert [request["messages"][-1]["content"] for request in server.requests[1:]] == [
            "and mind the rest",
            "then another thing",
        ]


def test_resizing_while_it_streams_keeps_the_end_in_sight(terminal: Terminal) -> None:
    lines = "\n".join(f"- item {number} of a list that is long enough to be wrapped" for number in range(99))
    with serving(ScriptedServer(Turn(f"{lines}\n\nThe last words.", chunk=8, delay=0.01))) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("List", "Enter")
        terminal.sees("item 5 ")
        terminal.resize(40, 10)
        terminal.sees("item 20 ")
        terminal.resize(120, 40)
        terminal.sees("item 60 ")
        terminal.resize(20, 5)
        terminal.resize(100, 30)
        screen = terminal.sees("The last words.")
        numbers = [int(number) for number in re.findall(r"item (\d+) of", screen)]
        assert numbers == list(range(numbers[0], 99))
        terminal.type("", "PPage")
        terminal.sees("The last words.", gone=True)


def test_the_mouse_scrolls_selects_and_copies_while_an_answer_streams(terminal: Terminal) -> None:
    before = "".join(f"- item {number}\n" for number in range(40))
    words = "Words that are wrapped because the line is longer than the terminal is wide, and are copied as one line."
    answer = f"{before}\n{words}\n\n```py\ndef f():\n    return 1\n```\n\nSo it ends.\n\n"
    with serving(ScriptedServer(Turn(answer, fault=Fault.hang(after=400)), Turn("More."))) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Go", "Enter")
        screen = terminal.sees("So it ends.").split("\n")  # from here on nothing moves
        with terminal.mouse() as mouse:
            first = next(at for at, line in enumerate(screen, 1) if "Words that" in line)
            last = next(at for at, line in enumerate(screen, 1) if "return 1" in line)
            mouse(0, 3, first)
            mouse(32, 10, first + 1)
            mouse(32, 60, last)
            mouse(0, 60, last, up=True)
            terminal.type("", "C-c")
            terminal.clipboard(f"{words}\\n\\ndef f():\\n    return 1")
            for _ in range(20):
                mouse(64, 10, 5)
            terminal.sees("item 0")
            terminal.sees("return 1", gone=True)


def test_chinese_without_colours(terminal: Terminal) -> None:
    with serving(ScriptedServer("你好！")) as server:
        terminal.start(QIANDA_SERVER=server.url, LC_MESSAGES="zh_CN.UTF-8", NO_COLOR="1")
        terminal.sees("有问题尽管问")
        terminal.type("你好", "Enter")
        terminal.sees("你好！")
        codes = re.findall(r"\x1b\[([0-9;]*)m", terminal.screen(styles=True))
        attributes = {"", "0", "1", "2", "3", "4", "7", "9", "39", "49"}
        assert [code for code in codes if not set(code.split(";")) <= attributes] == []
        terminal.type("", "F1")
        terminal.sees("按键与命令")


def test_back_to_the_shell_and_the_title_of_the_window(terminal: Terminal, tmp_path: Path) -> None:
    with serving(ScriptedServer("Still here.")) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        assert terminal.title() == f"qianda – {tmp_path.name}"
        terminal.type("Are you there", "C-z")
        terminal.sees("qwen3-8b", gone=True)
        terminal.type("fg", "Enter")
        terminal.sees("qwen3-8b")
        terminal.type("?", "Enter")
        terminal.sees("Still here.")
        terminal.type("", "C-d")  # not Ctrl+C twice, which has to come within two seconds, also on a busy machine
        terminal.sees("To go on with this conversation")
        assert terminal.title() != f"qianda – {tmp_path.name}"


def test_lines_that_are_only_appended(terminal: Terminal, tmp_path: Path) -> None:
    script = ScriptedServer(Turn(calls=[Call("write_file", {"path": "a.txt", "content": "a"})]), "Written.")
    with serving(script) as server:
        terminal.start("--plain", QIANDA_SERVER=server.url, NO_COLOR="1")
        terminal.sees("qwen3-8b at vLLM")
        terminal.type("Write a", "Enter")
        terminal.sees("Allow it?")
        terminal.type("y", "Enter")
        screen = terminal.sees("Written.")
        assert "> Write a" in screen
        assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "a"
        terminal.type("", "C-d")
        terminal.sees("To go on with this conversation")
