"""Our tools and agents, served over MCP."""

from qianda.mcp_servers.serving import Offer, serve
from qianda.mcp_servers.targets import list_targets, load_targets

__all__ = ["Offer", "list_targets", "load_targets", "serve"]
