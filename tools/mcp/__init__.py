"""MCP servers as tools of an agent: their specification, their processes, their tools."""

from qianda.tools.mcp.configured import load_mcp_json
from qianda.tools.mcp.spec import MCPServer
from qianda.tools.mcp.toolset import MCPToolset

__all__ = ["MCPServer", "MCPToolset", "load_mcp_json"]
