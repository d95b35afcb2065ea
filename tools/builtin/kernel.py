"""A Python interpreter that keeps its state: an IPython kernel in a process of its own, spoken to over sockets."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

from qianda.models.errors import ToolError
from qianda.models.messages import MediaPart
from qianda.tools.builtin.output import Output
from qianda.tools.builtin.processes import Child, run_child
from qianda.tools.sandbox import Sandbox

MISSING = "this needs packages that are not installed; tell the user: pip install 'qianda[python]'"
_START_SECONDS = 60
_INTERRUPT_SECONDS = 5
_LAST_OUTPUT_SECONDS = 5
_LONGEST = 20_000  # characters of output that are kept
_MOST_IMAGES = 5
_LARGEST_IMAGE = 6_000_000  # characters in base64
_IMAGES = ("image/png", "image/jpeg")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class Outcome:
    """What came of running a piece of code.

    Args:
        text: what it printed, and the value of its last expression.
        images: its plots.
        end: how it ended: ``stopped`` when its time was over, ``lost`` when the interpreter died with it.
        why: of what it died.
    """

    text: str
    images: list[MediaPart]
    end: Literal["done", "error", "stopped", "lost"]
    why: str = ""


@dataclass(slots=True)
class _Gathered:
    """The outputs of one piece of code as they come."""

    progress: Callable[[str], None]
    output: Output = field(default_factory=lambda: Output(_LONGEST))
    images: list[MediaPart] = field(default_factory=list[MediaPart])
    failed: bool = False

    def take(self, kind: str, content: dict[str, Any]) -> None:
        """Add one output of Jupyter's protocol."""
        if kind == "stream":
            self.progress(str(content["text"]))
            self.output.add(str(content["text"]).encode("utf-8", "replace"))
        elif kind == "error":
            self.failed = True
            self.output.add(short_traceback([str(line) for line in content["traceback"]]).encode("utf-8", "replace"))
        elif kind in ("display_data", "execute_result"):
            data = cast("dict[str, str]", content["data"])
            mime = next((mime for mime in _IMAGES if mime in data), None)
            if mime is None:
                self.output.add(f"{data.get('text/plain', '')}\n".encode("utf-8", "replace"))
            elif len(self.images) < _MOST_IMAGES and len(data[mime]) <= _LARGEST_IMAGE:
                self.images.append(MediaPart("image", f"data:{mime};base64,{''.join(data[mime].split())}"))
                self.output.add(f"[image {len(self.images)}]\n".encode())
            else:
                self.output.add(b"[an image that is left out: too many, or too large]\n")

    def outcome(self, end: Literal["done", "error", "stopped", "lost"], why: str = "") -> Outcome:
        """All of it."""
        return Outcome(self.output.text().strip("\n"), self.images, end, why)


class Kernel:
    """A running interpreter; ``start`` makes one, ``close`` ends it and all that it started."""

    def __init__(self, child: Child, client: Any, stack: AsyncExitStack) -> None:
        self._child = child
        self._client = client
        self._stack = stack
        self._ended = asyncio.create_task(child.process.wait())
        self._busy = False  # with what a cancelled call left behind

    @classmethod
    async def start(cls, workspace: Path, sandbox: Sandbox | None) -> Kernel:
        """Start an interpreter in the workspace.

        Raises:
            ToolError: it does not start, or its packages are missing.
        """
        try:
            from jupyter_client.asynchronous.client import AsyncKernelClient
            from jupyter_client.connect import write_connection_file
        except ImportError:
            raise ToolError(MISSING) from None
        if find_spec("ipykernel") is None:
            raise ToolError(MISSING)
        async with AsyncExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="qianda-")).resolve()  # noqa: ASYNC240 - a moment, as is making it
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            # Sockets in a folder work without a network and nobody else can reach them; macOS' sandbox wants TCP.
            local = sys.platform == "linux"
            file, _ = write_connection_file(
                str(folder / "connection.json"),
                transport="ipc" if local else "tcp",
                ip=str(folder / "s") if local else "127.0.0.1",
                key=os.urandom(32).hex().encode(),
            )
            # It ends with us, whatever becomes of us; in a sandbox it keeps its settings where it can write.
            settings = [f"JPY_PARENT_PID={os.getpid()}", f"IPYTHONDIR={folder / 'ipython'}"]
            settings += [f"MPLCONFIGDIR={folder / 'matplotlib'}"] if sandbox else []
            launch = ["-P", "-m", "ipykernel_launcher", "-f", file, "--HistoryManager.enabled=False"]
            plain = ["--InteractiveShell.xmode=Plain", "--InteractiveShell.colors=NoColor"]
            box = replace(sandbox, writable=(*sandbox.writable, folder)) if sandbox else None
            command = ["/usr/bin/env", *settings, sys.executable, *launch, *plain]
            child = await stack.enter_async_context(run_child(command, folder=workspace, sandbox=box))
            said = Output(2_000)
            stack.callback(asyncio.create_task(_drain(child, said)).cancel)
            client: Any = AsyncKernelClient()
            client.load_connection_file(file)
            client.start_channels(stdin=False, hb=False)
            stack.callback(client.context.destroy, linger=0)
            stack.callback(client.stop_channels)
            kernel = cls(child, client, stack)
            stack.callback(kernel._ended.cancel)
            if not await kernel._answers():
                lines = said.text().strip().splitlines() or ["it says nothing"]
                raise ToolError(f"the Python interpreter does not start: {lines[-1]}")
            kernel._stack = stack.pop_all()
            return kernel
        raise AssertionError  # the stack swallows nothing

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return not self._ended.done()

    async def close(self) -> None:
        """End the interpreter, and what it started."""
        await self._stack.aclose()

    async def execute(self, code: str, seconds: float, progress: Callable[[str], None]) -> Outcome:
        """Run a piece of code.

        Args:
            code: as in a notebook's cell.
            seconds: after which it is interrupted; an interpreter that does not stop then is ended.
            progress: hears what it prints.
        """
        gathered = _Gathered(progress)
        if self._busy and not await self._settle():
            return gathered.outcome("lost", "it did not stop with an earlier call that was cancelled")
        running = asyncio.create_task(self._run(code, gathered))
        try:
            await asyncio.wait((running, self._ended), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            end: Literal["done", "stopped"] = "done"
            if self.alive and not running.done():
                end = "stopped"
                self._interrupt()
                await asyncio.wait(
                    (running, self._ended), timeout=_INTERRUPT_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
        except asyncio.CancelledError:
            self._interrupt()
            self._busy = True
            raise
        finally:
            running.cancel()
        if not running.done() or not self.alive:
            return gathered.outcome("lost", self._death() if not self.alive else f"it did not stop after {seconds:g} s")
        running.result()
        return gathered.outcome("error" if gathered.failed and end == "done" else end)

    async def _answers(self) -> bool:
        """Wait until it listens; whether it does."""
        ready = asyncio.create_task(self._client.wait_for_ready(timeout=_START_SECONDS))
        await asyncio.wait((ready, self._ended), return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        with suppress(RuntimeError, asyncio.CancelledError):
            await ready
            return True
        return False

    async def _run(self, code: str, gathered: _Gathered) -> None:
        """Send the code and take what comes back, until it says that it has nothing more."""
        request = self._client.execute(code, allow_stdin=False)
        listening = asyncio.create_task(self._listen(request, gathered))
        try:
            while (await self._client.get_shell_msg(timeout=None))["parent_header"].get("msg_id") != request:
                pass
            await asyncio.wait({listening}, timeout=_LAST_OUTPUT_SECONDS)
            if listening.done():
                listening.result()
        finally:
            listening.cancel()

    async def _listen(self, request: str, gathered: _Gathered) -> None:
        while True:
            message = await self._client.get_iopub_msg(timeout=None)
            if message["parent_header"].get("msg_id") != request:
                continue  # of an earlier call
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return
            gathered.take(message["msg_type"], message["content"])

    async def _settle(self) -> bool:
        """Wait for the end of what was cancelled; whether it came."""
        with suppress(RuntimeError, TimeoutError):
            async with asyncio.timeout(_INTERRUPT_SECONDS):
                await self._run("", _Gathered(lambda _: None))
                self._busy = False
        return not self._busy

    def _interrupt(self) -> None:
        """Ask it to raise KeyboardInterrupt: by a message, as its process may be out of sight in a sandbox."""
        self._client.control_channel.send(self._client.session.msg("interrupt_request"))

    def _death(self) -> str:
        code = self._ended.result()
        return f"it was killed by {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}"


async def _drain(child: Child, said: Output) -> None:
    """Read what the process itself writes, so that it never waits for a reader."""
    while chunk := await child.output.read(65_536):
        said.add(chunk)


def short_traceback(lines: list[str]) -> str:
    """A traceback's first and last frames and its message, without colours."""
    text = [line for line in _ESCAPES.sub("", "\n".join(lines)).splitlines() if line.strip()]
    frames = [number for number, line in enumerate(text) if line.lstrip().startswith(("File ", "Cell In"))]
    if len(frames) > 3:  # the first is the code's own
        text = [*text[: frames[1]], f"  ({len(frames) - 3} frames left out)", *text[frames[-2] :]]
    return "\n".join(text) + "\n"
