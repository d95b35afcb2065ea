"""Our tools, served over MCP."""

from qianda.mcp_servers.stdio import serve_stdio
from qianda.mcp_servers.targets import list_targets, load_targets

__all__ = ["list_targets", "load_targets", "serve_stdio"]
