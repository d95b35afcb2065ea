"""Our tools and results in the types of the protocol."""

from __future__ import annotations

import mcp_types as types

from qianda.mcp_servers.agent_tool import OUTPUT, AgentTool
from qianda.models.messages import Content, MediaPart, TextPart
from qianda.tools.tool import Tool


def wire_tool(tool: Tool) -> types.Tool:
    """A tool as clients see it."""
    return types.Tool(
        name=tool.name,
        description=tool.schema.description,
        input_schema=tool.schema.parameters,
        output_schema=OUTPUT if isinstance(tool, AgentTool) else None,
        annotations=types.ToolAnnotations(
            read_only_hint=tool.read_only,
            idempotent_hint=tool.idempotent,
            destructive_hint=tool.destructive,
            open_world_hint=tool.open_world,
        ),
    )


def blocks(content: Content) -> list[types.ContentBlock]:
    """A result as clients read it."""
    if isinstance(content, str):
        return [types.TextContent(text=content)]
    return [types.TextContent(text=part.text) if isinstance(part, TextPart) else _media(part) for part in content]


def _media(part: MediaPart) -> types.ContentBlock:
    head, separator, data = part.url.partition(";base64,")
    if not (separator and head.startswith("data:")):
        return types.ResourceLink(name=part.type, uri=part.url)
    mime = head.removeprefix("data:")
    if part.type == "image":
        return types.ImageContent(data=data, mime_type=mime)
    if part.type == "audio":
        return types.AudioContent(data=data, mime_type=mime)
    return types.EmbeddedResource(
        resource=types.BlobResourceContents(uri="attachment:video", mime_type=mime, blob=data)
    )
