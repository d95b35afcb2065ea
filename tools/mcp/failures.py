"""Why an MCP server did not start or a call to it failed: one sentence, and what to do next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import cast

from qianda.models.errors import ToolError
from qianda.tools.mcp.spec import MCPServer

_TAIL = 16 * 1024  # bytes of the log that are looked at
_LONGEST = 300
_ERROR_LINE = re.compile(r"^\W*\w*(error|exception|fatal|panic)\w*\b", re.IGNORECASE)
# A server written for the SDK's first generation that got its second: it fails while it imports.
_OLD_SDK = re.compile(
    r"(ImportError|ModuleNotFoundError|AttributeError|TypeError)\b.*(\bmcp\b|FastMCP|McpError|'Server')"
)
_INSTALL = {
    "uvx": "Install uv, which brings uvx: pip install uv",
    "uv": "Install it: pip install uv",
    "npx": "Install Node.js, which brings npx: https://nodejs.org",
    "node": "Install Node.js: https://nodejs.org",
}


def first_cause(error: BaseException) -> BaseException:
    """What a nest of exception groups is about."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error


def log_tail(log: Path, start: int) -> str:
    """The line that says most at the end of what a server wrote to its log; "" when it wrote nothing.

    Args:
        log: the file.
        start: where this server's part begins, in bytes.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = next((line for line in reversed(lines) if _ERROR_LINE.search(line)), lines[-1] if lines else "")
    return telling if len(telling) <= _LONGEST else telling[: _LONGEST - 1] + "…"


def start_failure(
    server: MCPServer, error: BaseException, *, cwd: Path, returncode: int | None, fault: str, tail: str, log: Path
) -> ToolError:
    """What to say of a server that did not start.

    Args:
        server: which one.
        error: what was raised.
        cwd: the folder it was started in.
        returncode: its exit code; None when it was still running.
        fault: what it did against the protocol.
        tail: the telling line of its log.
        log: where the rest is.
    """
    program = server.command[0]
    cause, cure = "", ""
    error = first_cause(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError) and not cwd.is_dir():
        cause = f"its folder {cwd} does not exist"
    elif isinstance(error, FileNotFoundError):
        cause = f"the command {program!r} was not found"
        cure = _INSTALL.get(program, "Check how it is written, or give its whole path")
    elif isinstance(error, PermissionError):
        cause, cure = f"{program!r} may not be run", f"Make it a program: chmod +x {shlex.quote(program)}"
    elif isinstance(error, OSError) and not isinstance(error, TimeoutError):
        cause = f"{program!r} cannot be run: {error.strerror or error}"
    elif isinstance(error, TimeoutError):
        cause = f"it did not answer within {server.timeout:g} s"
    elif returncode is not None:
        cause = f"it ended with {exit_words(returncode)}"
    else:
        cause = str(error).strip().partition("\n")[0][:_LONGEST] or type(error).__name__
    if fault:
        cause += f"; {fault}, which is not MCP"
    if tail:
        cause += f"; its last words: {tail}"
        cure = cure or _old_sdk_cure(server, tail) or f"All it said is in {log}"
    return ToolError(f"MCP server {server.name!r} did not start: {cause}", cure=cure)


def exit_words(returncode: int) -> str:
    """``exit code 1`` or ``signal 9``."""
    return f"exit code {returncode}" if returncode >= 0 else f"signal {-returncode}"


def _old_sdk_cure(server: MCPServer, tail: str) -> str:
    if not _OLD_SDK.search(tail):
        return ""
    if server.command[0] != "uvx":
        return "It needs an older MCP SDK: install mcp<2 where it runs"
    return f"It needs an older MCP SDK: uvx --with 'mcp<2' {shlex.join(server.command[1:])}"
