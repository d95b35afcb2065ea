"""The real program in a tmux of its own, and somebody who types into it, looks at it and takes it away."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

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
        self._begin("new-session", "-d", "-x", columns, "-y", rows, *settings, "-s", "chat", "sh")
        self._do("pipe-pane", "-t", "chat", "-O", f"cat > '{self._pipe}'")
        self.type(" ".join(f"'{word}'" for word in command), "Enter")

    def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys."""
        if text:
            self._do("send-keys", "-t", "chat", "-l", text)
        if keys:
            self._do("send-keys", "-t", "chat", *keys)

    def screen(self, *, styles: bool = False) -> str:
        """What is on the screen; with the sequences that style it."""
        return self._do("capture-pane", "-t", "chat", "-p", *["-e"] * styles)

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

    def title(self) -> str:
        """What the program calls its window."""
        return self._do("display-message", "-t", "chat", "-p", "#{pane_title}").strip()

    def paste(self, text: str) -> None:
        """Paste a text, as terminals do for programs that ask to be told."""
        load = [*self._tmux, "load-buffer", "-b", "pasted", "-"]
        subprocess.run(load, input=text, check=True, encoding="utf-8")
        self._do("paste-buffer", "-p", "-d", "-b", "pasted", "-t", "chat")

    def end(self) -> None:
        """End the program, whatever it is doing."""
        self._do("kill-session", "-t", "chat")

    def vanish(self) -> None:
        """The terminal goes away, as when a connection breaks; waits until the program has noticed."""
        shell = self._do("display-message", "-t", "chat", "-p", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text(encoding="ascii").split()
        programs = [os.pidfd_open(int(child)) for child in children]
        self._do("kill-server")
        for program in programs:
            if not select.select([program], [], [], PATIENCE)[0]:
                pytest.fail("The program outlives its terminal")
            os.close(program)

    def close(self) -> None:
        """End tmux."""
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)
        os.close(self._output)

    def _begin(self, *arguments: str) -> None:
        """Begin a session, also where the tmux whose last one has just ended still says goodbye."""
        end = time.monotonic() + PATIENCE
        while True:
            done = subprocess.run([*self._tmux, *arguments], check=False, capture_output=True, encoding="utf-8")
            if done.returncode == 0:
                return
            if time.monotonic() > end:
                pytest.fail(f"tmux begins no session: {done.stderr}")

    def _do(self, *arguments: str) -> str:
        return subprocess.run([*self._tmux, *arguments], check=True, capture_output=True, encoding="utf-8").stdout
