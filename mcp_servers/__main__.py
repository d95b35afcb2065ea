"""``python -m qianda.mcp_servers files``: what ``qianda serve files`` does, where only Python is at hand."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from qianda.mcp_servers import Offer, list_targets, serve
from qianda.models.errors import ConfigurationError


def main() -> int:
    """Read the command line and serve.

    Returns:
        The exit code: 0, or 2 when the targets are not right.
    """
    names = ", ".join(list_targets())
    parser = argparse.ArgumentParser(
        prog="python -m qianda.mcp_servers", description="Serve tools and agents over MCP."
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{names}, or a Python file with @tool functions")
    parser.add_argument("--agent", action="append", default=[], metavar="NAME", help="an agent, as the tool ask_NAME")
    parser.add_argument("--workspace", type=Path, default=Path(), help="folder to work in (default: the current one)")
    parser.add_argument("--read-only", action="store_true", help="only what changes nothing")
    parser.add_argument("--http", metavar="[HOST:]PORT", help="serve over HTTP (default: stdin and stdout)")
    parser.add_argument("--token-env", metavar="NAME", help="variable that holds the token for HTTP")
    choices = parser.parse_args()
    offer = Offer(
        targets=choices.targets, agents=choices.agent, workspace=choices.workspace, read_only=choices.read_only
    )
    try:
        http = None
        if choices.http:
            from qianda.mcp_servers.http import Listening

            http = Listening.parse(choices.http, token=os.environ.get(choices.token_env or "") or None)
        asyncio.run(serve(offer, http=http))
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command line of a module
        return 2
    return 0


sys.exit(main())
