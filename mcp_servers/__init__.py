"""Our tools, served over MCP."""
