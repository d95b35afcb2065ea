"""Child processes of tools: started apart from our terminal and secrets, and ended with all that they started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from qianda.tools.sandbox import Sandbox
from qianda.tools.secrets import clean_environment

_MARK = "QIANDA_COMMAND"
_MOST_SWEEPS = 5
_LAST_WORDS = 1.0  # seconds in which the output of an ended process has to arrive


@dataclass(frozen=True, slots=True)
class Child:
    """A running process.

    Args:
        process: its standard input is closed; it leads a session and process group of its own.
        output: standard output and standard error together.
        mark: stands in the environment of all that it starts, where no sandbox holds them together; else "".
    """

    process: asyncio.subprocess.Process
    output: asyncio.StreamReader
    mark: str = ""

    def kill(self, number: signal.Signals = signal.SIGKILL) -> bool:
        """Signal the process, its group, its descendants, and those that broke away; whether there was anything."""
        group = self.process.pid
        try:
            os.killpg(group, 0)
            there = True
        except (ProcessLookupError, PermissionError):
            there = False
        found = False
        if there:
            processes = list(_processes())
            found = any(process.group == group and process.alive for process in processes) or not processes
            children = _descendants(group, processes)
            _signal(os.killpg, group, number)
            for pid in children:
                _signal(os.kill, pid, number)
        for _ in range(_MOST_SWEEPS):  # they may be starting others just now
            broken_away = _marked(self.mark)
            for pid in broken_away:
                _signal(os.kill, pid, number)
            found = found or bool(broken_away)
            if not broken_away or number != signal.SIGKILL:
                break
        return found

    async def stop(self, grace: float) -> None:
        """Ask everything to end, and end it after ``grace`` seconds."""
        children = _descendants(self.process.pid, list(_processes()))
        self.kill(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.process.wait()
        self.kill()
        for pid in children:  # their parent may have gone first, and with it the way to find them
            _signal(os.kill, pid, signal.SIGKILL)
        await self.process.wait()


@contextlib.asynccontextmanager
async def run_child(
    arguments: Sequence[str], *, folder: Path, sandbox: Sandbox | None = None, pipes: Sequence[int] = ()
) -> AsyncGenerator[Child]:
    """Start a process; when the block is left, also by cancellation, it and its descendants are dead.

    The pipe is our own: asyncio's processes count as running for as long as anyone holds their pipes open.

    Args:
        arguments: the program and its arguments.
        folder: where it runs.
        sandbox: what it runs in, or None for no sandbox.
        pipes: files that it may use beside its output, by their numbers.

    Raises:
        OSError: it cannot be started.
        ConfigurationError: there is no sandbox here, and one is required.
    """
    line = arguments if sandbox is None else await asyncio.to_thread(sandbox.wrap, arguments, folder)
    mark = f"{_MARK}={secrets.token_hex(8)}" if list(line) == list(arguments) else ""
    environment = clean_environment()
    if mark:
        environment[_MARK] = mark.partition("=")[2]
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *line,
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            start_new_session=True,
            pass_fds=pipes,
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    output = asyncio.StreamReader()
    pipe = os.fdopen(read_end, "rb", buffering=0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(output), pipe)
    child = Child(process, output, mark)
    try:
        yield child
    finally:
        child.kill()
        transport.close()
        await process.wait()


async def finish_reading(reading: asyncio.Task[None]) -> None:
    """Wait for what an ended process has written; not for what an escaped one may still write."""
    await asyncio.wait({reading}, timeout=_LAST_WORDS)
    reading.cancel()


def ended(code: int) -> str:
    """How a process ended, in a few words, by its return code."""
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code} ({signal.Signals(-code).name})"


class _Process(NamedTuple):
    pid: int
    parent: int
    group: int
    alive: bool


def _processes() -> Iterator[_Process]:
    """Every process of the machine; none where there is no /proc."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, group = entry.read_text(errors="replace").rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        yield _Process(int(entry.parent.name), int(parent), int(group), alive=state not in "ZX")


def _marked(mark: str) -> set[int]:
    """The processes in whose environment the mark stands; none where there is no /proc."""
    found: set[int] = set()
    for entry in Path("/proc").glob("[0-9]*/environ") if mark else ():
        with contextlib.suppress(OSError):  # another user's, or gone
            if mark.encode() in entry.read_bytes():
                found.add(int(entry.parent.name))
    return found


def _descendants(pid: int, processes: list[_Process]) -> list[int]:
    """All descendants of a process, those in other sessions too."""
    found = [pid]
    for ancestor in found:  # grows meanwhile
        found += [process.pid for process in processes if process.parent == ancestor]
    return found[1:]


def _signal(send: Callable[[int, int], None], target: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(target, number)
