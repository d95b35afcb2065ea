"""Resources of MCP servers for the model: two small tools, which list and read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qianda.models.messages import ToolSchema
from qianda.tools.context import Context
from qianda.tools.mcp.offers import list_resources, read_resource
from qianda.tools.results import ToolResult
from qianda.tools.tool import Tool
from qianda.tools.validation import parse_arguments

if TYPE_CHECKING:
    from qianda.tools.mcp.toolset import MCPToolset

LIST_RESOURCES = "mcp__list_resources"
READ_RESOURCE = "mcp__read_resource"
_SERVER = {"type": "string"}
_URI = {"type": "string", "description": "from the list, or a template that is filled in"}


@dataclass(frozen=True, kw_only=True, eq=False)
class _ResourceTool(Tool):
    """What both have in common."""

    servers: MCPToolset
    own_schema: ToolSchema

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters as the model sees them."""
        return self.own_schema

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse the arguments.

        Raises:
            ToolError: one is missing or unknown.
        """
        return parse_arguments(self.name, text, self.own_schema.parameters, extra=False)


class _ListResources(_ResourceTool):
    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:  # noqa: ARG002 - needs none
        """List what there is, one line each."""
        lines = [offer.line for offer in await list_resources(self.servers, arguments.get("server"))]
        return ToolResult("\n".join(lines) or "There are none.")


class _ReadResource(_ResourceTool):
    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Read one.

        Raises:
            ToolError: it cannot be read.
        """
        content = await read_resource(self.servers, arguments["server"], arguments["uri"], context=context)
        return ToolResult(content or "(empty)")


def resource_tools(servers: MCPToolset) -> list[Tool]:
    """The two tools; reading is asked for like a tool of the server, as the address itself may tell it something.

    Args:
        servers: whose resources.
    """
    listing = {"type": "object", "properties": {"server": _SERVER}}
    reading = {"type": "object", "properties": {"server": _SERVER, "uri": _URI}, "required": ["server", "uri"]}
    names = ", ".join(each.server.name for each in servers.connections if each.has_resources)
    about = f"List the resources of MCP servers ({names})"
    return [
        _ListResources(
            name=LIST_RESOURCES,
            servers=servers,
            own_schema=ToolSchema(LIST_RESOURCES, about, listing),
            read_only=True,
            idempotent=True,
            origin="MCP servers",
        ),
        _ReadResource(
            name=READ_RESOURCE,
            servers=servers,
            own_schema=ToolSchema(READ_RESOURCE, "Read a resource of an MCP server.", reading),
            origin="MCP servers",
        ),
    ]
