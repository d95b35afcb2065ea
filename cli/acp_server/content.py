"""What an editor sends: prompts as our content, and the MCP servers that it wants connected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from acp import audio_block, image_block, schema, text_block

from qianda.models.errors import ConfigurationError
from qianda.models.messages import Content, MediaPart, Part, TextPart
from qianda.tools.mcp import MCPServer

Block = (
    schema.TextContentBlock
    | schema.ImageContentBlock
    | schema.AudioContentBlock
    | schema.ResourceContentBlock
    | schema.EmbeddedResourceContentBlock
)
Server = schema.HttpMcpServer | schema.SseMcpServer | schema.AcpMcpServer | schema.McpServerStdio


def prompt_content(blocks: Sequence[Block], workspace: Path) -> Content:
    """A prompt as a message's content; the texts of attached files come behind what mentions them."""
    parts: list[Part] = []
    text, files = "", ""
    for block in blocks:
        match block:
            case schema.TextContentBlock():
                text += block.text
            case schema.ResourceContentBlock():
                text += _name(block.uri, workspace)
            case schema.EmbeddedResourceContentBlock():
                name = _name(block.resource.uri, workspace)
                text += name
                if isinstance(block.resource, schema.TextResourceContents):
                    files += f'\n\n<file name="{name}">\n{block.resource.text.rstrip()}\n</file>'
                else:
                    parts += _media(block.resource.mime_type or "", block.resource.blob)
            case _:
                parts += _media(block.mime_type, block.data)
    text += files
    return (TextPart(text), *parts) if parts else text


def content_blocks(content: Content) -> list[Block]:
    """A message's content as the protocol has it; of media those that are there whole."""
    blocks: list[Block] = []
    for part in (TextPart(content),) if isinstance(content, str) else content:
        if isinstance(part, TextPart):
            blocks += [text_block(part.text)] if part.text else []
            continue
        head, mark, data = part.url.partition(";base64,")
        known = {"image": image_block, "audio": audio_block}.get(part.type) if mark else None
        blocks.append(known(data, head.removeprefix("data:")) if known else text_block(f"[{part.type}]"))
    return blocks


def _media(mime: str, data: str) -> list[Part]:
    kind = mime.partition("/")[0]
    return [MediaPart(kind, f"data:{mime};base64,{data}")] if kind in ("image", "audio", "video") else []


def _name(uri: str, workspace: Path) -> str:
    """A file by its path, in the workspace relative to it, with the lines that are meant; anything else as it is."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        return uri
    path = Path(unquote(parts.path))
    shown = path.relative_to(workspace) if path.is_relative_to(workspace) else path
    return f"{shown} ({unquote(parts.fragment)})" if parts.fragment else str(shown)


def mcp_server(server: Server) -> MCPServer:
    """A server that the editor names; its naming it is consent to start it.

    Raises:
        ConfigurationError: it is to be reached through the editor.
    """
    match server:
        case schema.McpServerStdio():
            env = {variable.name: variable.value for variable in server.env}
            return MCPServer(name=server.name, command=(server.command, *server.args), env=env)
        case schema.HttpMcpServer() | schema.SseMcpServer():
            headers = {header.name: header.value for header in server.headers}
            return MCPServer(name=server.name, url=server.url, transport=server.type, headers=headers)
        case _:
            raise ConfigurationError(f"The MCP server {server.name} is offered through the editor, which is not taken")
