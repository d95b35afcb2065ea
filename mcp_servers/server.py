"""An MCP server of tools: lists them, validates and runs calls, passes progress on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from qianda.models.errors import ToolError
from qianda.models.messages import Content, MediaPart, TextPart
from qianda.tools import Context, Tool, ToolResult
from qianda.tools.sandbox import Sandbox, SandboxMode

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp_types import ContentBlock
    from mcp_types import Tool as WireTool


def build_server(
    tools: Sequence[Tool],
    *,
    workspace: Path,
    sandbox: Sandbox | SandboxMode = "auto",
    closing: AsyncExitStack | None = None,
) -> Server[Any]:
    """An MCP server of the official SDK that offers tools; run it over any of its transports.

    Serving is consent: calls run without asking, inside the workspace.

    Args:
        tools: what it offers.
        workspace: the folder that the tools work in.
        sandbox: what their commands run in, as for ``Agent``.
        closing: what the tools keep open between calls goes onto it; without it nothing is kept.
    """
    import mcp_types as types
    from mcp import MCPError

    # The low-level server: the other one sets up logging for the whole process.
    from mcp.server import Server, ServerRequestContext

    by_name = {tool.name: tool for tool in tools}
    inside = Context(workspace=workspace, sandbox=Sandbox.of(sandbox, workspace), closing=closing)

    async def list_tools(
        _context: ServerRequestContext[Any], _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_wire_tool(tool) for tool in tools])

    async def call_tool(
        context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = by_name.get(params.name)
        if tool is None:
            raise MCPError(
                types.INVALID_PARAMS, f"There is no tool {params.name!r}; there are: {', '.join(sorted(by_name))}"
            )
        result = await _run(tool, params.arguments or {}, context.session, str(context.request_id), inside)
        return types.CallToolResult(content=_blocks(result.content), is_error=result.failed)

    return Server("qianda", version=version("qianda"), on_list_tools=list_tools, on_call_tool=call_tool)


class ProgressListener(Protocol):
    """The part of the SDK's session that progress is sent by."""

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Send it, when the client wants it."""
        ...


async def _run(
    tool: Tool, arguments: dict[str, Any], listener: ProgressListener, call_id: str, inside: Context
) -> ToolResult:
    """Validate and run one call; what is wrong with it is a result that says so."""
    try:
        # Through text, as from a model: the same coercion and the same sentences.
        valid = tool.read_arguments(json.dumps(arguments))
    except ToolError as error:
        return ToolResult(str(error), failed=True)
    progress = _Progress(listener)
    context = replace(inside, call_id=call_id, idempotency_key=call_id, progress=progress.say)
    async with asyncio.TaskGroup() as group:
        group.create_task(progress.send())
        result = await tool.call(valid, context)
        progress.end()
    return result


class _Progress:
    """Progress of one call on its way to the client; what piles up is sent together."""

    def __init__(self, listener: ProgressListener) -> None:
        self._listener = listener
        self._texts: list[str] = []
        self._changed = asyncio.Event()
        self._ended = False

    def say(self, text: str) -> None:
        """Take a text and return at once."""
        self._texts.append(text.rstrip("\n"))
        self._changed.set()

    def end(self) -> None:
        """No more is said."""
        self._ended = True
        self._changed.set()

    async def send(self) -> None:
        """Send until the end."""
        count = 0
        while self._texts or not self._ended:
            await self._changed.wait()
            self._changed.clear()
            texts, self._texts = self._texts, []
            if texts:
                count += len(texts)
                await self._listener.report_progress(count, message="\n".join(texts))


def _wire_tool(tool: Tool) -> WireTool:
    import mcp_types as types

    return types.Tool(
        name=tool.name,
        description=tool.schema.description,
        input_schema=tool.schema.parameters,
        annotations=types.ToolAnnotations(read_only_hint=tool.read_only, idempotent_hint=tool.idempotent),
    )


def _blocks(content: Content) -> list[ContentBlock]:
    import mcp_types as types

    if isinstance(content, str):
        return [types.TextContent(text=content)]
    blocks: list[ContentBlock] = []
    for part in content:
        if isinstance(part, TextPart):
            blocks.append(types.TextContent(text=part.text))
        else:
            blocks.append(_media_block(part))
    return blocks


def _media_block(part: MediaPart) -> ContentBlock:
    import mcp_types as types

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
