"""The log of one MCP server: what it writes to stderr, and what it says by the protocol's messages."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import orjson

from qianda.models.config import data_dir
from qianda.tools.mcp.spec import MCPServer

if TYPE_CHECKING:
    from mcp_types import LoggingMessageNotificationParams

MAX_LOG = 1024 * 1024
"""Bytes; a longer log is begun anew."""
_TAIL = 16 * 1024  # bytes of it that are looked at
_LONGEST = 300
_ERROR_LINE = re.compile(r"^\W*\w*(error|exception|fatal|panic)\w*\b", re.IGNORECASE)


class ServerLog:
    """A file that only its owner can read: servers print what they are given, keys too.

    Args:
        server: whose it is.
    """

    def __init__(self, server: MCPServer) -> None:
        self.path = data_dir() / "logs" / f"mcp-{re.sub(r'[^A-Za-z0-9_-]', '_', server.name)}.log"
        self.file: IO[bytes] | None = None
        self._server = server
        self._start = 0

    @contextmanager
    def opened(self) -> Generator[None]:
        """Have the file open, with a line about this start."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as self.file:
            self.path.chmod(0o600)
            self.trim()
            what = " ".join(self._server.command) or self._server.url or "in this process"
            self.file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {what}\n".encode())
            self._start = os.fstat(self.file.fileno()).st_size
            yield

    def trim(self) -> None:
        """Begin the log anew when it is too long; the server writes on at its new end."""
        if self.file is not None and os.fstat(self.file.fileno()).st_size > MAX_LOG:
            self.file.truncate(0)
            self._start = 0

    async def message(self, params: LoggingMessageNotificationParams) -> None:
        """Write down what the server said by the protocol."""
        said = params.data if isinstance(params.data, str) else orjson.dumps(params.data, default=str).decode()
        if self.file is not None and not self.file.closed:
            self.trim()
            self.file.write(f"[{params.level}] {params.logger or ''} {said}\n".encode(errors="replace"))

    def lines(self) -> list[str]:
        """The last lines of what the server wrote since its start, at most 16 KiB."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(self._start, self.path.stat().st_size - _TAIL))
                text = file.read(_TAIL).decode(errors="replace")
        except OSError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()]

    @property
    def size(self) -> int:
        """Bytes of the log: grows with what the server writes."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def tail(self) -> str:
        """The line that says most at the end of what the server wrote since its start; "" when it wrote nothing."""
        lines = self.lines()
        telling = next((line for line in reversed(lines) if _ERROR_LINE.search(line)), lines[-1] if lines else "")
        return telling if len(telling) <= _LONGEST else telling[: _LONGEST - 1] + "…"
