"""``python -m qianda.mcp_servers files``: the same as ``qianda serve files``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from qianda.mcp_servers import list_targets, serve_stdio
from qianda.models.errors import ConfigurationError


def main() -> int:
    """Read the command line and serve.

    Returns:
        The exit code: 0, or 2 when the targets are not right.
    """
    names = ", ".join(list_targets())
    parser = argparse.ArgumentParser(prog="python -m qianda.mcp_servers", description="Serve tools over MCP (stdio).")
    parser.add_argument("targets", nargs="+", metavar="TARGET", help=f"{names}, or a Python file with @tool functions")
    parser.add_argument("--workspace", type=Path, help="folder that the tools work in (default: the current one)")
    parser.add_argument("--read-only", action="store_true", help="only tools that change nothing")
    choices = parser.parse_args()
    try:
        asyncio.run(serve_stdio(choices.targets, workspace=choices.workspace, read_only=choices.read_only))
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command line of a module
        return 2
    return 0


sys.exit(main())
