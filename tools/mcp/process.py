"""An MCP server as a child process: a stdio transport for the SDK, with a process group that never outlives it.

Not the SDK's own ``stdio_client``: that one leaves the children of a wrapper (``npx``) running when the wrapper itself
has gone, does not clean up when its task is cancelled by asyncio, and does not tell the process's exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from qianda.tools.mcp.orphans import Trace
from qianda.tools.mcp.spec import MCPServer

if TYPE_CHECKING:
    from mcp.shared.message import SessionMessage

MAX_MESSAGE = 32 * 1024 * 1024  # bytes of one message; more than that is a fault of the server
GRACE = 2.0  # seconds to leave on its own, and again after SIGTERM
CHILDREN_GRACE = 0.3  # seconds that its children then have
EXIT_GRACE = 0.3  # seconds from the end of the output to the exit
_POLL = 0.02
_CHUNK = 64 * 1024

# What a server gets of our environment; all else must be said in its ``env``, so that no key leaks into it.
_PASSED_ON = {
    "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "TMPDIR", "TZ", "LANG", "LANGUAGE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
}  # fmt: skip
_PASSED_ON_PREFIXES = ("LC_", "XDG_", "UV_", "NPM_CONFIG_", "npm_config_")
_SECRET_WORDS = ("TOKEN", "PASSWORD", "SECRET", "AUTH", "CREDENTIAL")


def server_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server: an allow-list of ours, then its own."""
    ours = {
        key: value
        for key, value in os.environ.items()
        if key in _PASSED_ON
        or (key.startswith(_PASSED_ON_PREFIXES) and not any(word in key.upper() for word in _SECRET_WORDS))
    }
    return {**ours, **extra}


class ServerProcess:
    """A running server; enter it to start, leave it to stop the server and everything that it started.

    Args:
        server: its name and command.
        env: its whole environment.
        cwd: the folder that it starts in.
        stderr: an open file for what it writes beside the protocol.
        on_end: called when its output has ended.
    """

    def __init__(
        self, server: MCPServer, *, env: Mapping[str, str], cwd: Path, stderr: IO[bytes], on_end: Callable[[], None]
    ) -> None:
        self._server = server
        self._on_end = on_end
        self._env = env
        self._cwd = cwd
        self._stderr = stderr
        self._transport: asyncio.SubprocessTransport | None = None
        self._reader: _Messages | None = None
        self._writer: _Writer | None = None
        self._was_stopped = False

    @property
    def returncode(self) -> int | None:
        """The code that it exited with by itself, negative for a signal; None while it runs and when we stopped it."""
        return self._transport.get_returncode() if self._transport and not self._was_stopped else None

    @property
    def fault(self) -> str:
        """What the server did against the protocol: the first line that is no message; "" when nothing."""
        return self._reader.fault if self._reader else ""

    @contextlib.asynccontextmanager
    async def transport(self) -> AsyncGenerator[tuple[_Messages, _Writer]]:
        """What the SDK's client reads and writes; the process belongs to who entered it."""
        assert self._reader is not None
        assert self._writer is not None
        yield self._reader, self._writer

    async def __aenter__(self) -> Self:
        """Start the server.

        Raises:
            OSError: the program cannot be started.
        """
        loop = asyncio.get_running_loop()
        self._trace = Trace(self._server.name)
        # Like ``create_subprocess_exec``, which does not hand out the transport that has to be closed at the end.
        self._transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(limit=_CHUNK, loop=loop),
            *self._server.command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=self._stderr,
            env={**self._env, **self._trace.environment},
            cwd=self._cwd,
            start_new_session=True,
        )
        self._trace.begin(self._transport.get_pid())
        assert protocol.stdin is not None
        assert protocol.stdout is not None
        self._reader = _Messages(protocol.stdout, at_end=self._learn_exit_code)
        self._writer = _Writer(protocol.stdin)
        return self

    async def __aexit__(self, exc_type: type[BaseException] | None, *failure: object) -> None:
        """Stop the whole group: close its input and wait, SIGTERM and wait, SIGKILL.

        After a failure it is not asked so politely, and when our task was cancelled there is no time to wait.
        """
        assert self._transport is not None
        assert self._writer is not None
        await self._writer.aclose()
        try:
            if exc_type is None and await self._is_gone(GRACE):
                return
            if exc_type is not asyncio.CancelledError:
                self._signal(signal.SIGTERM)
                await self._is_gone(GRACE)
        finally:
            self._signal(signal.SIGKILL)
            self._transport.close()  # a process that fled from the group may still hold the pipes
            self._trace.end()
            await self._is_gone(GRACE)

    async def _learn_exit_code(self) -> None:
        """Wait a moment after the end of the output: who reports that end wants to say how the server ended."""
        assert self._transport is not None
        for _ in range(round(EXIT_GRACE / _POLL)):
            if self._transport.get_returncode() is not None:
                break
            await asyncio.sleep(_POLL)
        self._on_end()

    async def _is_gone(self, within: float) -> bool:
        """Whether the group is empty within so many seconds; where the server has gone, its children have less."""
        assert self._transport is not None
        polls = round(within / _POLL)
        while polls > 0:
            if not self._signal(0):
                return True
            if self._transport.get_returncode() is not None:
                polls = min(polls, round(CHILDREN_GRACE / _POLL))
            polls -= 1
            await asyncio.sleep(_POLL)
        return False

    def _signal(self, number: int) -> bool:
        """Send a signal to the group (0 only asks); False when nobody is left in it."""
        assert self._transport is not None
        if number and self._transport.get_returncode() is None:
            self._was_stopped = True
        try:
            os.killpg(self._transport.get_pid(), number)
        except ProcessLookupError:
            return False
        except PermissionError:  # macOS says so of a group of zombies
            return self._transport.get_returncode() is None
        return True


class _Messages:
    """The messages that a server writes, one JSON text per line; other lines are dropped and the first remembered."""

    def __init__(self, stream: asyncio.StreamReader, *, at_end: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._at_end = at_end
        self._buffer = bytearray()
        self._ended = False
        self.fault = ""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        from mcp.shared.message import SessionMessage
        from mcp_types import jsonrpc_message_adapter

        while (line := await self._line()) is not None:
            if not line.strip():
                continue
            try:
                return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
            except ValueError:
                self.fault = self.fault or f"it printed {line.decode(errors='replace').strip()[:80]!r}"
        raise StopAsyncIteration

    async def receive(self) -> SessionMessage:
        """The next message."""
        import anyio

        try:
            return await self.__anext__()
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    async def _line(self) -> bytes | None:
        start = 0
        while not self._ended:
            end = self._buffer.find(b"\n", start)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            start = len(self._buffer)
            if start > MAX_MESSAGE:
                self.fault = f"it sent a message of more than {MAX_MESSAGE // 1024 // 1024} MiB"
                break
            try:
                chunk = await self._stream.read(_CHUNK)
            except OSError:
                break
            if not chunk:
                await self._at_end()
                break
            self._buffer += chunk
        self._ended = True
        self._buffer.clear()
        return None

    async def aclose(self) -> None:
        """End the iteration."""
        self._ended = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()


class _Writer:
    """What the SDK writes its messages to."""

    def __init__(self, stream: asyncio.StreamWriter) -> None:
        self._stream = stream

    async def send(self, item: SessionMessage, /) -> None:
        """Write one message; waits while the server does not read."""
        import anyio

        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            self._stream.write(text.encode() + b"\n")
            await self._stream.drain()
        except OSError as error:
            raise anyio.BrokenResourceError from error

    async def aclose(self) -> None:
        """Close the server's input: it should leave now."""
        self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.aclose()
