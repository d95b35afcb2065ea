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
    from qianda.mcp_servers import serve_stdio

    asyncio.run(serve_stdio(list(targets), workspace=workspace, read_only=read_only))
    return 0
