"""An MCP server of tools, workspace files and agents' instructions, in both eras of the protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import MCPError

# The low-level server: the other one sets up logging for the whole process.
from mcp.server import Server, ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
    ToolsListChanged,
)

from qianda.agents.definition import AgentDefinition
from qianda.mcp_servers.resources import Source, Sources
from qianda.mcp_servers.rounds import Call, Rounds, connection_key
from qianda.mcp_servers.wire import blocks, wire_tool
from qianda.mcp_servers.workspace_files import WorkspaceFiles
from qianda.models.errors import ToolError
from qianda.tools import Context, Tool, ToolResult
from qianda.tools.sandbox import Sandbox, SandboxMode

MOST_LISTENERS = 1_000  # connections of the older era that are told of changes
_Request = ServerRequestContext["Life", Any]


class Life:
    """What one life of the server holds, from its start to its end.

    Args:
        stack: what tools keep open between calls goes onto it.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self.stack = stack
        self.rounds = Rounds()
        self.listeners: dict[str, ServerSession] = {}
        self.subscribed: dict[tuple[str, str], ServerSession] = {}  # by connection and address


class ToolServer(Server["Life"]):
    """A server of the official SDK that offers tools; run it over any of its transports.

    Serving is consent: calls run without asking, inside the workspace. What a tool asks goes to the client's user.

    Args:
        tools: what it offers.
        workspace: the folder that the tools work in.
        sandbox: what their commands run in, as for ``Agent``.
        files: offer the workspace's files as resources too.
        presets: agents whose instructions it offers as prompts.
        resources: more of them.
    """

    def __init__(
        self,
        tools: Sequence[Tool],
        *,
        workspace: Path,
        sandbox: Sandbox | SandboxMode = "auto",
        files: bool = False,
        presets: Sequence[AgentDefinition] = (),
        resources: Sequence[Source] = (),
    ) -> None:
        self.tools = {tool.name: tool for tool in tools}
        self._inside = Context(workspace=workspace, sandbox=Sandbox.of(sandbox, workspace))
        self._presets = {preset.name: preset for preset in presets}
        sources: list[Source] = [*([WorkspaceFiles(workspace)] if files else ()), *resources]
        self._resources = Sources(sources)
        self._changing = bool(resources)
        self._lives: set[Life] = set()
        self._bus = InMemorySubscriptionBus()
        super().__init__(
            "qianda",
            version=version("qianda"),
            title="Qianda",
            lifespan=self._live,
            on_list_tools=self.on_list_tools,
            on_call_tool=self.on_call_tool,
            on_subscriptions_listen=ListenHandler(self._bus),
            on_list_resources=self.on_list_resources if sources else None,
            on_list_resource_templates=self.on_list_resource_templates if sources else None,
            on_read_resource=self.on_read_resource if sources else None,
            on_list_prompts=self.on_list_prompts if presets else None,
            on_get_prompt=self.on_get_prompt if presets else None,
        )
        # Not by the constructor: there it warns that this is gone in the newer era.
        self.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _set_level)
        if resources:
            self.add_request_handler("resources/subscribe", types.SubscribeRequestParams, _subscribe)
            self.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, _unsubscribe)

    async def set_tools(self, tools: Sequence[Tool]) -> None:
        """Offer other tools from now on, and tell the clients."""
        self.tools = {tool.name: tool for tool in tools}
        await self._bus.publish(ToolsListChanged())
        for life in self._lives:
            for session in list(life.listeners.values()):
                await session.send_tool_list_changed()

    async def say_changed(self, addresses: Sequence[str], *, others: bool) -> None:
        """Tell the clients of changed resources.

        Args:
            addresses: of those whose content is another.
            others: there are other resources now.
        """
        for address in addresses:
            await self._bus.publish(ResourceUpdated(uri=address))
        if others:
            await self._bus.publish(ResourcesListChanged())
        changed = set(addresses)
        for life in self._lives:
            for (_, address), session in list(life.subscribed.items()):
                if address in changed:
                    await session.send_resource_updated(address)
            for session in list(life.listeners.values()) if others else ():
                await session.send_resource_list_changed()

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """What it says of itself to clients of the older era: its tools may change, and some resources."""
        options = notification_options or NotificationOptions(tools_changed=True, resources_changed=self._changing)
        return super().create_initialization_options(options, experimental_capabilities, extensions)

    async def on_list_tools(
        self, context: _Request, _params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        """List all tools; who asks is told when they change."""
        _listen(context)
        return types.ListToolsResult(tools=[wire_tool(tool) for tool in self.tools.values()])

    async def on_call_tool(
        self, context: _Request, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Run a call."""
        tool = self.tools.get(params.name)
        if tool is None:
            there = ", ".join(sorted(self.tools))
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name!r}; there are: {there}")

        async def work(call: Call) -> types.CallToolResult:
            return await self.run_tool(tool, params.arguments or {}, call)

        return await context.lifespan_context.rounds.run(context, params, work)

    async def run_tool(self, tool: Tool, arguments: dict[str, Any], call: Call) -> types.CallToolResult:
        """Validate the arguments and run the tool; what is wrong is a result that says so."""
        try:
            # Through text, as from a model: the same coercion and the same sentences.
            valid = tool.read_arguments(json.dumps(arguments))
        except ToolError as error:
            result = ToolResult(str(error), failed=True)
        else:
            call_id = str(call.context.request_id)
            progress = _Progress(call)
            context = replace(
                self._inside,
                call_id=call_id,
                idempotency_key=call_id,
                progress=progress.say,
                asking=call.put,
                closing=call.context.lifespan_context.stack,
                value=call,
            )
            try:
                result = await tool.call(valid, context)
                await progress.sent()
            finally:
                progress.stop()
        return types.CallToolResult(
            content=blocks(result.content), structured_content=call.structured, is_error=result.failed
        )

    async def on_list_resources(
        self, context: _Request, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """List resources, a page at a time; who asks is told when there are others."""
        _listen(context)
        return await self._resources.page(params.cursor if params else None)

    async def on_list_resource_templates(
        self, _context: _Request, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """Say how the addresses of resources are written."""
        return types.ListResourceTemplatesResult(resource_templates=self._resources.templates)

    async def on_read_resource(
        self, context: _Request, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult | types.InputRequiredResult:
        """Read a resource."""
        return await self._resources.read(str(params.uri), context.protocol_version)

    async def on_list_prompts(
        self, _context: _Request, _params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        """List the agents whose instructions can be had."""
        task = types.PromptArgument(name="task", description="What to do")
        return types.ListPromptsResult(
            prompts=[
                types.Prompt(name=preset.name, description=preset.description, arguments=[task])
                for preset in self._presets.values()
            ]
        )

    async def on_get_prompt(
        self, _context: _Request, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        """Give an agent's instructions, and the task."""
        from qianda.agents.loading import instructions

        preset = self._presets.get(params.name)
        if preset is None:
            there = ", ".join(self._presets)
            raise MCPError(types.INVALID_PARAMS, f"There is no prompt {params.name!r}; there are: {there}")
        text = instructions(preset, self._inside.workspace)
        text = "\n\n".join(filter(None, [text, (params.arguments or {}).get("task", "")]))
        message = types.PromptMessage(role="user", content=types.TextContent(text=text))
        return types.GetPromptResult(description=preset.description, messages=[message])

    @asynccontextmanager
    async def _live(self, _server: Server[Life]) -> AsyncGenerator[Life]:
        async with AsyncExitStack() as stack:
            life = Life(stack)
            stack.push_async_callback(life.rounds.close)
            self._lives.add(life)
            try:
                yield life
            finally:
                self._lives.discard(life)


def _listen(context: _Request) -> None:
    """Have a client of the older era told of changes."""
    if context.session.can_send_request:
        _keep(context.lifespan_context.listeners, connection_key(context), context.session)


async def _subscribe(context: _Request, params: types.SubscribeRequestParams) -> types.EmptyResult:
    _keep(context.lifespan_context.subscribed, (connection_key(context), str(params.uri)), context.session)
    return types.EmptyResult()


async def _unsubscribe(context: _Request, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    context.lifespan_context.subscribed.pop((connection_key(context), str(params.uri)), None)
    return types.EmptyResult()


def _keep(kept: dict[Any, ServerSession], key: object, session: ServerSession) -> None:
    kept[key] = session
    if len(kept) > MOST_LISTENERS:
        del kept[next(iter(kept))]


async def _set_level(context: _Request, params: types.SetLevelRequestParams) -> types.EmptyResult:
    context.lifespan_context.rounds.levels[connection_key(context)] = params.level
    return types.EmptyResult()


class _Progress:
    """Progress of one call on its way to the client; what piles up is sent together."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._texts: list[str] = []
        self._count = 0
        self._sending: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def say(self, text: str) -> None:
        """Take a text and return at once; also from a thread."""
        self._texts.append(text.rstrip("\n"))
        self._loop.call_soon_threadsafe(self._begin)

    async def sent(self) -> None:
        """Wait until all is sent."""
        self._begin()
        if self._sending is not None:
            await self._sending

    def stop(self) -> None:
        """Send no more."""
        if self._sending is not None:
            self._sending.cancel()

    def _begin(self) -> None:
        if self._texts and (self._sending is None or self._sending.done()):
            self._sending = asyncio.create_task(self._send())

    async def _send(self) -> None:
        while self._texts:
            texts, self._texts = self._texts, []
            self._count += len(texts)
            await self._call.report_progress(self._count, message="\n".join(texts))
