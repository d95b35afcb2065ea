"""Servers that outlived the process that started them: each leaves a trace on disk, by which the next start ends them.

A number of a process says little, as numbers come again. So the trace holds when the process began, and on Linux the
servers and all that they start carry a mark in their environment, also where they left the process group.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import orjson

from qianda.models.config import data_dir

MARK = "QIANDA_MCP_SERVER"
_PROC = Path("/proc")


class Trace:
    """What is noted of one running server.

    Args:
        name: the server's, for people who look into the folder.
    """

    def __init__(self, name: str) -> None:
        self._mark = secrets.token_hex(8)
        self._name = name
        self._path = _folder() / f"{self._mark}.json"

    @property
    def environment(self) -> dict[str, str]:
        """What the server gets into its environment."""
        return {MARK: self._mark}

    def begin(self, pid: int) -> None:
        """Note a process that was started, the leader of a group of its own."""
        noted = {"name": self._name, "pid": pid, "began": _began(pid), "owner": os.getpid(), "of": _own(os.getpid())}
        with contextlib.suppress(OSError):  # a disk that is full stops no server
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(orjson.dumps(noted))

    def end(self) -> None:
        """The server is gone: end what fled from its group, and forget it."""
        _kill_marked({self._mark})
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def sweep() -> int:
    """End the servers whose owner was killed.

    Returns:
        How many traces there were of such servers.
    """
    left = {path: noted for path in _folder().glob("*.json") if (noted := _read(path)) and not _owned(noted)}
    for noted in left.values():
        if noted["began"] and _began(noted["pid"]) == noted["began"]:  # else the number is somebody else's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(noted["pid"], signal.SIGKILL)
    _kill_marked({path.stem for path in left})
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _folder() -> Path:
    return data_dir() / "mcp" / "running"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value: object = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    noted = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return noted if {"pid", "began", "owner", "of"} <= noted.keys() else None


def _owned(noted: dict[str, Any]) -> bool:
    """Whether the process that started it still runs."""
    return bool(noted["of"]) and _began(noted["owner"]) == noted["of"]


@cache
def _own(pid: int) -> str:
    """When this process began, asked once; by its number, as a fork is another process."""
    return _began(pid)


def _began(pid: int) -> str:
    """When a process began, in the words of the system; "" when there is none of this number."""
    if sys.platform == "linux":
        try:
            return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[19]
        except (OSError, IndexError):
            return ""
    command = ["/bin/ps", "-o", "lstart=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a number, no shell
    return done.stdout.strip()


def _kill_marked(marks: set[str]) -> None:
    """End the processes that carry one of these marks; Linux only, as others do not show an environment."""
    for pid in _marked(marks) if marks else ():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _marked(marks: set[str]) -> Iterator[int]:
    wanted = {f"{MARK}={mark}".encode() for mark in marks}
    for path in _PROC.glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if not wanted.isdisjoint(path.read_bytes().split(b"\0")):
                yield int(path.parent.name)
