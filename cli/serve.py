"""``qianda serve``: tools over MCP on stdin and stdout."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path


def serve(targets: Sequence[str], workspace: Path, *, read_only: bool) -> int:
    """Serve until the client goes away.

    Raises:
        ConfigurationError: a target is not there, or has no tools.
    """
    from qianda.cli.opening import Choices, chosen_sandbox, load_settings
    from qianda.mcp_servers import serve_stdio

    sandbox = chosen_sandbox(Choices(workspace=workspace), load_settings(workspace))
    asyncio.run(serve_stdio(list(targets), workspace=workspace, read_only=read_only, sandbox=sandbox))
    return 0
