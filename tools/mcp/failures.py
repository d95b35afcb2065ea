"""Why an MCP server did not start or a call to it failed: one sentence, and what to do next."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import cast

from qianda.models.errors import ToolError
from qianda.tools.mcp.configured import masked_url
from qianda.tools.mcp.content import visible
from qianda.tools.mcp.spec import MCPServer

_LONGEST = 300
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


def is_lost(error: BaseException) -> bool:
    """Whether an error means that the connection is gone, and with it what was asked."""
    import anyio
    import httpx2
    from mcp_types import CONNECTION_CLOSED

    if getattr(error, "code", None) == CONNECTION_CLOSED or "Session terminated" in str(error):
        return True
    return isinstance(error, anyio.BrokenResourceError | anyio.ClosedResourceError | httpx2.TransportError)


def call_failure(server: MCPServer, what: str, error: BaseException) -> str:
    """What to say of a request that failed while the server goes on."""
    words = " ".join(visible(str(error)).split())[:500] or type(error).__name__
    return f"MCP server {server.name!r} failed at {what}: {words}"


def ended_words(server: MCPServer, returncode: int | None, fault: str, tail: str) -> str:
    """How a server ended that ran.

    Args:
        server: which one.
        returncode: its exit code; None when it was still running, or has none.
        fault: what it did against the protocol.
        tail: the telling line of its log.
    """
    how = f" with {exit_words(returncode)}" if returncode is not None else ""
    why = f"; {fault}" if fault else f"; its last words: {tail}" if tail and server.command else ""
    lost = "has ended" if server.command else "is not reached any more"
    return f"MCP server {server.name!r} {lost}{how}{why}"


def start_failure(
    server: MCPServer, error: BaseException, *, cwd: Path, returncode: int | None, fault: str, tail: str, log: Path
) -> str:
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
    cause, cure = "", ""
    error = first_cause(error)
    if not server.command:
        return _remote_failure(server, error)
    program = server.command[0]
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
    return str(ToolError(f"MCP server {server.name!r} did not start: {cause}", cure=cure))


def _remote_failure(server: MCPServer, error: BaseException) -> str:
    import httpx2

    if isinstance(error, ToolError):  # of a login
        return str(error)
    status = error.response.status_code if isinstance(error, httpx2.HTTPStatusError) else 0
    words = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
    cure = f"Check its address: {masked_url(server.url)}"
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        cause = f"it did not answer within {server.timeout:g} s"
    elif isinstance(error, httpx2.ConnectError):
        cause = f"nothing answers at {masked_url(server.url)}"
        cure = "Check its address, and that it runs"
    elif status in (401, 403) or re.search(r"\b(401|403)\b|[Uu]nauthorized|[Ff]orbidden", words):
        cause, cure = "it wants you to log in", f"Say: qianda mcp login {server.name}"
    else:
        cause = words
    return str(ToolError(f"MCP server {server.name!r} cannot be reached: {cause}", cure=cure))


def exit_words(returncode: int) -> str:
    """``exit code 1`` or ``signal 9``."""
    return f"exit code {returncode}" if returncode >= 0 else f"signal {-returncode}"


def _old_sdk_cure(server: MCPServer, tail: str) -> str:
    if not _OLD_SDK.search(tail):
        return ""
    if server.command[0] != "uvx":
        return "It needs an older MCP SDK: install mcp<2 where it runs"
    return f"It needs an older MCP SDK: uvx --with 'mcp<2' {shlex.join(server.command[1:])}"
