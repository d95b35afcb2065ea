"""``qianda acp``: Qianda in editors that speak the Agent Client Protocol, over stdin and stdout."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qianda.cli.exits import DONE, complain
from qianda.cli.opening import Choices
from qianda.cli.options import LIMITS, Chosen, with_shared_options
from qianda.models.errors import ConfigurationError

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

EXAMPLES = """\b
Examples, as an editor's settings have them; the folder comes from the editor:
  qianda acp
  qianda acp --agent coder --permissions edits
  qianda acp --server http://gpu-box:8000/v1 --model qwen3-coder
  qianda acp --mcp "uvx mcp-server-time" --tools web

\b
Zed's settings.json:
  "agent_servers": {"Qianda": {"type": "custom", "command": "qianda", "args": ["acp"]}}"""
_LONGEST_MESSAGE = 64 * 1024 * 1024  # bytes; images come as text


@with_shared_options("yes", "cwd", "session", "go_on", "record", *LIMITS)
def acp_command(*, chosen: Chosen) -> int:
    """Be the agent of an editor: Zed, toad and others that speak the Agent Client Protocol."""
    choices = chosen.choices(Path.cwd())
    if find_spec("acp") is None:
        raise ConfigurationError("qianda acp needs the package agent-client-protocol", cure="pip install 'qianda[acp]'")
    if sys.stdin.isatty():
        complain("Waiting for an editor on stdin; how to set one up is in docs/editors.md. Ctrl+D ends this.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Short("qianda: %(message)s"))
    logging.basicConfig(handlers=[handler])
    asyncio.run(_serve(choices))
    return DONE


class _Short(logging.Formatter):
    """What went wrong, without a traceback: stderr is what editors show as the agent's log."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The error in one line."""
        return f"qianda: {ei[0].__name__}: {ei[1]}"


async def _serve(choices: Choices) -> None:
    """Serve until the editor closes our input, or a signal comes."""
    from acp import run_agent

    from qianda.cli.acp_server.agent import EditorAgent

    agent = EditorAgent(choices)
    reader, writer = await _streams()
    served: Any = cast("Any", agent)  # of the SDK's protocol it has what is announced
    serving = asyncio.create_task(run_agent(served, writer, reader, use_unstable_protocol=True))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        await asyncio.wait([serving])
    finally:
        await agent.close()
    if not serving.cancelled() and (error := serving.exception()) and not isinstance(error, ConnectionError):
        raise error


async def _streams() -> tuple[StreamReader, StreamWriter]:
    """Our input and output for the protocol alone: what tools print goes to stderr, and they read nothing.

    Raises:
        ConfigurationError: they are no pipes.
    """
    from acp.stdio import stdio_streams

    ours = sys.stdin, sys.stdout
    for stream in ours:
        mode = os.fstat(stream.fileno()).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stream.isatty()):
            raise ConfigurationError(
                f"qianda acp talks with an editor by pipes, and its {stream.name} is none", cure="See docs/editors.md"
            )
    sys.stdin, sys.stdout = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    try:
        return await stdio_streams(limit=_LONGEST_MESSAGE)
    finally:
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        sys.stdin, sys.stdout = ours
