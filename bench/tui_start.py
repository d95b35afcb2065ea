"""How long ``qianda`` takes from launch to the first key that shows, in a terminal of its own: one line of JSON.

The key is pressed twenty times a second until it shows: what is typed before the screen is up goes nowhere. CPU
seconds are those of the whole process up to the moment in which the key shows.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from fcntl import ioctl
from pathlib import Path

KEY = "§"
PATIENCE = 20.0
BETWEEN_KEYS = 0.05


def silence(terminal: int) -> None:
    """Stop the terminal itself from echoing what is typed, so that only the program can show it."""
    attributes = termios.tcgetattr(terminal)
    attributes[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))


def wait_for_key(screen: int, started: float) -> float:
    """Seconds until the key shows.

    Raises:
        RuntimeError: it does not, or the program ended.
    """
    shown = b""
    pressed = 0.0
    while (now := time.monotonic()) < started + PATIENCE:
        if now >= pressed + BETWEEN_KEYS:
            os.write(screen, KEY.encode())
            pressed = now
        if not select.select([screen], [], [], BETWEEN_KEYS)[0]:
            continue
        try:
            shown += os.read(screen, 65536)
        except OSError:
            break
        if KEY.encode() in shown:
            return time.monotonic() - started
    raise RuntimeError(f"The key did not show within {PATIENCE:g} s; the screen had: {shown[-500:]!r}")


def launch(command: list[str], environment: dict[str, str], folder: str) -> dict[str, float]:
    """Start the program, press a key, wait until it shows, and end the program there."""
    screen, terminal = pty.openpty()
    silence(terminal)
    started = time.monotonic()
    program = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, cwd=folder, start_new_session=True
    )
    os.close(terminal)
    try:
        seconds = wait_for_key(screen, started)
    finally:
        program.send_signal(signal.SIGKILL)
        _, _, used = os.wait4(program.pid, 0)
        program.returncode = -signal.SIGKILL
        os.close(screen)
    return {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime}


def main() -> None:
    """Measure once, with a model server that answers and a home of its own."""
    here = Path(__file__).parent
    qianda = Path(sys.executable).with_name("qianda")
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(
            [sys.executable, here / "server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL")}
        environment = kept | {"HOME": home, "TERM": "xterm-256color", "QIANDA_SERVER": f"{address}/turns/1/v1"}
        print(json.dumps(launch([str(qianda)], {"LANG": "C.UTF-8"} | environment, home)))
        server.stdin.close()


if __name__ == "__main__":
    main()
