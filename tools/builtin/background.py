"""The built-in tool ``jobs``, and the commands in the background that it looks after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from weakref import WeakKeyDictionary

from qianda.models.errors import ToolError
from qianda.tools.builtin.output import Output
from qianda.tools.builtin.processes import Child, ended, finish_reading, run_child
from qianda.tools.context import Context
from qianda.tools.function_tool import tool
from qianda.tools.sandbox import Sandbox

_LONGEST_OUTPUT = 1_000_000  # characters
_MOST_RUNNING = 8
_NEWS_SECONDS = 5.0  # that a look at a silent job waits: a model that looks all the time costs more
_GRACE = 1.0  # seconds between asking a process to end and ending it
_CHUNK = 65_536


class Job:
    """A command in the background, with what it has printed since somebody looked.

    Args:
        number: what the model calls it by.
        command: as the model wrote it.
        child: its process.
        stack: ends the process with all that it started.
    """

    def __init__(self, number: int, command: str, child: Child, stack: AsyncExitStack) -> None:
        self.number = number
        self.command = command
        self.end = ""
        self._child = child
        self._stack = stack
        self._begun = time.monotonic()
        self._unread = Output(_LONGEST_OUTPUT)
        self._news = asyncio.Event()
        self._following = asyncio.create_task(self._follow())

    @property
    def state(self) -> str:
        """How it stands, in a few words."""
        seconds = time.monotonic() - self._begun
        return self.end or f"running for {seconds:.0f} s"

    async def news(self, seconds: float) -> str:
        """What it printed since the last time; waits a while for something, or its end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        text = self._unread.text().rstrip("\n")
        self._unread = Output(_LONGEST_OUTPUT)
        if not self.end:
            self._news.clear()
        return text

    async def settle(self, seconds: float) -> None:
        """Wait a while for its end."""
        await asyncio.wait({self._following}, timeout=seconds)

    async def stop(self) -> None:
        """End it, and all that it started."""
        if not self.end:
            await self._child.stop(_GRACE)
            await self._following
            self.end = "stopped"

    async def close(self) -> None:
        """End it at once; the conversation is over."""
        await self._stack.aclose()
        await self._following

    async def _follow(self) -> None:
        async def read() -> None:
            while chunk := await self._child.output.read(_CHUNK):
                if self._unread.add(chunk):
                    self._news.set()

        reading = asyncio.create_task(read())
        await self._child.process.wait()
        self._child.kill()  # what it left behind
        await finish_reading(reading)
        self.end = ended(self._child.process.returncode or 0)
        self._news.set()


class Jobs:
    """The background commands of one conversation."""

    def __init__(self, closing: AsyncExitStack) -> None:
        self._jobs: dict[int, Job] = {}
        self._closing = closing

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    async def start(self, command: str, arguments: Sequence[str], folder: Path, sandbox: Sandbox | None) -> Job:
        """Start a command.

        Raises:
            ToolError: too many are running.
            OSError: it cannot be started.
        """
        running = [str(job.number) for job in self._jobs.values() if not job.end]
        if len(running) >= _MOST_RUNNING:
            raise ToolError(f"{len(running)} jobs are running ({', '.join(running)}); stop one with jobs first")
        stack = AsyncExitStack()
        child = await stack.enter_async_context(run_child(arguments, folder=folder, sandbox=sandbox))
        job = self._jobs[len(self._jobs) + 1] = Job(len(self._jobs) + 1, command, child, stack)
        self._closing.push_async_callback(job.close)
        return job

    def find(self, number: int) -> Job:
        """The job of a number.

        Raises:
            ToolError: there is none.
        """
        if number not in self._jobs:
            numbers = ", ".join(map(str, self._jobs))
            raise ToolError(f"there is no job {number}" + (f"; there are {numbers}" if numbers else ""))
        return self._jobs[number]


_of_conversations: WeakKeyDictionary[AsyncExitStack, Jobs] = WeakKeyDictionary()


def jobs_of(context: Context) -> Jobs:
    """The jobs of the conversation that a call belongs to.

    Raises:
        ToolError: it belongs to none, so nothing could end them.
    """
    if context.closing is None:
        raise ToolError("there is no conversation that background commands could be kept for; run it without")
    if context.closing not in _of_conversations:
        _of_conversations[context.closing] = Jobs(context.closing)
    return _of_conversations[context.closing]


@tool(read_only=True, parallel=False, consent=False, origin="built-in")
async def jobs(context: Context, job: int = 0, stop: bool = False) -> str:
    """Look at background commands: new output, state.

    Args:
        context: says which conversation's
        job: its number; 0 lists all
        stop: end it
    """
    known = jobs_of(context)
    if not job:
        return "\n".join(f"job {item.number}: {item.command} [{item.state}]" for item in known) or "there are no jobs"
    found = known.find(job)
    if stop:
        await found.stop()
    text = await found.news(_NEWS_SECONDS)
    return f"{text or '(no new output)'}\n[job {job}: {found.state}]"
