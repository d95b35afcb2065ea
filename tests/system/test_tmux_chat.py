"""The real program in a real terminal: launch, a prompt, an approval, a denial, a stop, a retry, resuming."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from qianda.testing import Call, Fault, ScriptedServer, Turn, serving

pytestmark = pytest.mark.tmux

PATIENCE = 30.0


class Terminal:
    """A tmux of its own with one program in it; what the program writes wakes whoever waits for the screen."""

    def __init__(self, folder: Path, size: tuple[int, int] = (80, 24)) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux.sock"), "-f", "/dev/null"]
        self._size = size
        self._pipe = folder / "output"
        os.mkfifo(self._pipe)
        # Held open for writing too, so that the pipe does not end when a program does.
        self._output = os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK)

    def start(self, *arguments: str, **environment: str) -> None:
        """Run qianda; its terminal stays after its end."""
        columns, rows = map(str, self._size)
        settings = [item for name, value in environment.items() for item in ("-e", f"{name}={value}")]
        command = [sys.executable, "-m", "qianda", *arguments]
        self._do("new-session", "-d", "-x", columns, "-y", rows, *settings, "-s", "chat", "sh")
        self._do("pipe-pane", "-t", "chat", "-O", f"cat > '{self._pipe}'")
        self.type(" ".join(f"'{word}'" for word in command), "Enter")

    def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys."""
        if text:
            self._do("send-keys", "-t", "chat", "-l", text)
        if keys:
            self._do("send-keys", "-t", "chat", *keys)

    def screen(self) -> str:
        """What is on the screen."""
        return self._do("capture-pane", "-t", "chat", "-p")

    def sees(self, text: str, *, gone: bool = False) -> str:
        """Wait until a text is there, or is not; gives the screen."""
        end = time.monotonic() + PATIENCE
        while (text in (screen := self.screen())) == gone:
            left = end - time.monotonic()
            if left <= 0:
                pytest.fail(f"{text!r} is {'still' if gone else 'not'} on the screen:\n{screen}")
            if select.select([self._output], [], [], min(left, 1.0))[0]:
                os.read(self._output, 1 << 20)
        return screen

    def resize(self, columns: int, rows: int) -> None:
        """Another size."""
        self._do("resize-window", "-t", "chat", "-x", str(columns), "-y", str(rows))

    @contextmanager
    def mouse(self) -> Generator[Callable[..., None]]:
        """Somebody who looks at tmux in a terminal of their own, with tmux's mouse and clipboard on.

        Gives what their terminal says: a button (0 left, 32 left and moving, 64 wheel up), column and row from 1 on,
        and whether the button goes up.
        """
        self._do("set", "-g", "mouse", "on")
        self._do("set", "-g", "status", "off")
        self._do("set", "-s", "set-clipboard", "on")
        columns, rows = self._size
        terminal, theirs = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        attach = [*self._tmux, "attach", "-t", "chat"]
        looking = subprocess.Popen(
            attach, stdin=theirs, stdout=theirs, env=os.environ | {"TERM": "xterm-256color"}, start_new_session=True
        )
        os.close(theirs)
        os.read(terminal, 1 << 16)

        def event(button: int, column: int, row: int, *, up: bool = False) -> None:
            while select.select([terminal], [], [], 0)[0]:
                os.read(terminal, 1 << 16)
            os.write(terminal, f"\x1b[<{button};{column};{row}{'m' if up else 'M'}".encode())

        try:
            yield event
        finally:
            self._do("detach-client", "-s", "chat")
            looking.wait()
            os.close(terminal)

    def clipboard(self, text: str) -> None:
        """Wait until the clipboard holds a text."""
        end = time.monotonic() + PATIENCE
        while (held := self._do("list-buffers", "-F", "#{buffer_sample}")) != text + "\n":
            if time.monotonic() > end:
                pytest.fail(f"The clipboard holds {held!r}")
            select.select([self._output], [], [], 0.1)

    def end(self) -> None:
        """End the program, whatever it is doing."""
        self._do("kill-session", "-t", "chat")

    def close(self) -> None:
        """End tmux."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)
        os.close(self._output)

    def _do(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, encoding="utf-8").stdout


@pytest.fixture
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Generator[Terminal]:
    with closing(Terminal(tmp_path_factory.mktemp("tmux"))) as terminal:
        yield terminal


def test_a_first_session(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "price.txt").write_text("14\n", encoding="utf-8")
    write = {"path": "result.txt", "content": "42"}
    script = ScriptedServer(
        Turn(reasoning="I have to look first.", calls=[Call("read_file", {"path": "price.txt"})]),
        Turn(calls=[Call("write_file", write)]),
        Turn("It is **42**, and `result.txt` holds it."),
        Turn(calls=[Call("write_file", {"path": "second.txt", "content": "no"})]),
        Turn("Then I leave it."),
    )
    with serving(script) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Multiply the price by 3", "Enter")
        asked = terminal.sees("Run write_file?")
        assert re.search(r"\+ 42$", asked, re.MULTILINE)
        assert not (tmp_path / "result.txt").exists()
        terminal.type("", "Down", "Down", "Enter")
        screen = terminal.sees("It is 42, and result.txt holds it.")
        assert "▸ Thought for" in screen
        assert re.search(r"✓ done +read_file price.txt", screen)
        assert re.search(r"✓ done +write_file result.txt", screen)
        assert (tmp_path / "result.txt").read_text(encoding="utf-8") == "42"

        terminal.type("Write another", "Enter")
        terminal.sees("Run write_file?")
        terminal.type("", "Enter")
        screen = terminal.sees("Then I leave it.")
        assert re.search(r"⊘ denied +write_file second.txt.* by you", screen)
        assert not (tmp_path / "second.txt").exists()

        terminal.type("", "C-c")
        terminal.sees("Ctrl+C again quits")
        terminal.type("", "C-c")
        screen = terminal.sees("To go on with this conversation: qianda --session")
        name = re.search(r"--session (\S+)", screen)
        assert name
        terminal.end()

        terminal.start("--session", name[1], QIANDA_SERVER=server.url)
        screen = terminal.sees("Then I leave it.")
        assert "› Write another" in screen
        assert re.search(r"⊘ denied +write_file second.txt", screen)
        assert not re.search(r"✓ done +write_file second.txt", screen)


def test_esc_stops_a_silent_server_and_the_prompt_comes_back(terminal: Terminal) -> None:
    with serving(ScriptedServer(Turn("Half an answer", fault=Fault.hang(after=3)), Turn("Whole."))) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Speak", "Enter")
        terminal.sees("Half")
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
        assert "attempt 2" in screen
        assert screen.count("One two") == 1


def test_without_a_server_it_says_what_to_do_and_tries_again(terminal: Terminal) -> None:
    terminal.start(QIANDA_SERVER="http://127.0.0.1:9/v1")
    screen = terminal.sees("Ctrl+R tries again")
    assert "Traceback" not in screen
    assert "127.0.0.1:9" in screen
    terminal.type("", "C-d")
    terminal.sees("Ask anything", gone=True)


def test_resizing_keeps_the_end_in_sight(terminal: Terminal) -> None:
    lines = "\n".join(f"- item {number} of a list that is long enough to be wrapped" for number in range(60))
    with serving(ScriptedServer(Turn(f"{lines}\n\nThe last words."))) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("List", "Enter")
        terminal.sees("The last words.")
        terminal.resize(50, 15)
        terminal.sees("The last words.")
        terminal.resize(100, 30)
        terminal.sees("The last words.")
        terminal.type("", "PPage")
        terminal.sees("The last words.", gone=True)


def test_the_mouse_scrolls_selects_and_copies_while_an_answer_streams(terminal: Terminal) -> None:
    before = "".join(f"- item {number}\n" for number in range(40))
    words = "Words that are wrapped because the line is longer than the terminal is wide, and are copied as one line."
    answer = f"{before}\n{words}\n\n```py\ndef f():\n    return 1\n```\n\n"
    with serving(ScriptedServer(Turn(answer, fault=Fault.hang(after=400)), Turn("More."))) as server:
        terminal.start(QIANDA_SERVER=server.url)
        terminal.sees("qwen3-8b")
        terminal.type("Go", "Enter")
        screen = terminal.sees("return 1").split("\n")
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
