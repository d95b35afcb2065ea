"""Which processes are alive that record runs: each locks one byte, which the system takes back when it dies."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

_lock = threading.Lock()
# Never closed: closing any handle of a file would give back all locks that the process holds on it.
_handles: dict[tuple[int, str], tuple[int, int]] = {}


def own_number(path: Path) -> int:
    """The number under which this process is known beside a record; 0 where files cannot be locked."""
    key = os.getpid(), str(path)
    with _lock:
        if key not in _handles:
            _handles[key] = _claim(path)
        return _handles[key][1]


def is_alive(path: Path, number: int) -> bool:
    """Whether the process of a number is alive."""
    import fcntl

    mine = own_number(path)
    if number in (0, mine):
        return number == mine != 0
    handle = _handles[os.getpid(), str(path)][0]
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except OSError:
        return True
    fcntl.lockf(handle, fcntl.LOCK_UN, 1, number)
    return False


def _claim(path: Path) -> tuple[int, int]:
    import fcntl

    handle = os.open(path.with_name(f"{path.name}-alive"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    number = 1 + secrets.randbelow(1 << 40)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
    except OSError:
        return handle, 0
    return handle, number
