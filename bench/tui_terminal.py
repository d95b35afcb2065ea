"""The chat in a tmux of its own, watched through tmux's control mode: every byte it writes, with its time."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

PATIENCE = 120.0
_OCTAL = re.compile(rb"\\([0-7]{3})")
_TICKS = os.sysconf("SC_CLK_TCK")


class Terminal:
    """One program in tmux.

    Args:
        size: columns and rows.
        environment: the whole environment of the program.
        folder: where it runs.
    """

    def __init__(self, environment: dict[str, str], folder: str, size: tuple[int, int] = (120, 40)) -> None:
        self._sockets = tempfile.TemporaryDirectory()
        self._tmux = ["tmux", "-S", f"{self._sockets.name}/tmux.sock", "-f", "/dev/null"]
        self._folder = folder
        columns, rows = map(str, size)
        waiting = [*self._tmux, "new-session", "-d", "-x", columns, "-y", rows, "cat"]
        subprocess.run(waiting, env=environment, cwd=folder, check=True)
        self._control = subprocess.Popen(
            [*self._tmux, "-C", "attach"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._written = bytearray()
        self._times: list[tuple[int, float]] = []  # how much was written when
        self._more = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()
        self.pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)
        self._control.communicate()
        self._sockets.cleanup()

    def start(self, *arguments: str) -> float:
        """Launch the program; when that was."""
        # The terminal's own echo would show a key before the program does.
        command = shlex.join([sys.executable, "-m", "qianda", *arguments])
        started = time.monotonic()
        self._say("respawn-pane", "-k", "-c", self._folder, f"stty -echo -icanon; exec {command}")
        while not self._runs():
            self.pid = int(self._ask("display-message", "-p", "#{pane_pid}"))
        return started

    def _runs(self) -> bool:
        """Whether the program has taken the place of what waited for it."""
        try:
            return Path(f"/proc/{self.pid}/comm").read_text(encoding="utf-8").startswith("python")
        except OSError:
            return False

    def type(self, text: str, *keys: str) -> float:
        """Type a text, then press keys; when that was."""
        pressed = time.monotonic()
        if text:
            self._say("send-keys", "-l", text)
        if keys:
            self._say("send-keys", *keys)
        return pressed

    def resize(self, columns: int, rows: int) -> float:
        """Another size; when that was."""
        changed = time.monotonic()
        self._say("resize-window", "-x", str(columns), "-y", str(rows))
        return changed

    @property
    def written(self) -> int:
        """Bytes that the program wrote so far: a place from which to wait."""
        with self._more:
            return len(self._written)

    def wait(self, text: str, since: int = 0, patience: float = PATIENCE) -> float:
        """When a text came, at this place of the output or after it.

        Raises:
            TimeoutError: it did not come.
        """
        wanted = text.encode()
        deadline = time.monotonic() + patience
        with self._more:
            while (found := self._written.find(wanted, since)) < 0:
                since = max(since, len(self._written) - len(wanted))
                if self._ended or (not self._more.wait(deadline - time.monotonic()) and time.monotonic() >= deadline):
                    last = bytes(self._written[-2000:]).decode(errors="replace")
                    raise TimeoutError(f"{text!r} never came; what came last:\n{last}")
            return next(when for size, when in self._times if size >= found + len(wanted))

    def screen(self) -> str:
        """What tmux shows."""
        return self._ask("capture-pane", "-p")

    @property
    def cpu(self) -> float:
        """CPU seconds of the program so far, and of the programs that it ran."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS

    @property
    def busy_seconds(self) -> float:
        """CPU seconds of its threads, exactly; those of ended threads are not in it."""
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text(encoding="utf-8").split()[0]) for thread in threads) / 1e9

    def memory(self, field: str = "VmRSS") -> float:
        """Resident memory in MB; ``VmHWM`` is the most that there ever was."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(field))

    def _say(self, *command: str) -> None:
        assert self._control.stdin is not None
        self._control.stdin.write(f"{shlex.join(command)}\n".encode())
        self._control.stdin.flush()

    def _ask(self, *command: str) -> str:
        return subprocess.run([*self._tmux, *command], check=True, capture_output=True, encoding="utf-8").stdout

    def _read(self) -> None:
        assert self._control.stdout is not None
        for line in self._control.stdout:
            if line.startswith(b"%output "):
                data = _OCTAL.sub(lambda code: bytes([int(code[1], 8)]), line.split(b" ", 2)[2].removesuffix(b"\n"))
                with self._more:
                    self._written += data
                    self._times.append((len(self._written), time.monotonic()))
                    self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()
