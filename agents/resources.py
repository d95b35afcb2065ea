"""What a run works with: opened once by the agent, shared by its runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qianda.agents.journal import Journal
from qianda.agents.limits import Limits
from qianda.models.client import Client
from qianda.models.messages import ToolSchema
from qianda.models.thinking import Thinking
from qianda.tools.more import read_more
from qianda.tools.permissions import ApprovalRequest, Decision, Permissions
from qianda.tools.questions import Answer, Question
from qianda.tools.sandbox import Sandbox
from qianda.tools.tool import Tool
from qianda.tools.tool_search import ToolSearch, fit

if TYPE_CHECKING:
    from qianda.agents.hooks import Hooks
    from qianda.agents.output import Output
    from qianda.tools.mcp import MCPToolset

Approve = Callable[[ApprovalRequest], Awaitable[Decision | bool]]
Ask = Callable[[Question], Awaitable[Answer]]


@dataclass(kw_only=True)
class Resources:
    """Open connections and settings.

    Args:
        client: talks to the model.
        tools: by the name that the model calls them by.
        instructions: the system prompt, or "".
        journal: where runs are recorded.
        permissions: what may run unasked.
        approve: who is asked, or None.
        ask: who answers the questions of tools, or None.
        limits: what one run may use up.
        workspace: the folder that tools act in.
        sandbox: what commands run in, or None.
        notices: what was worth saying while these were opened.
        output: what the answer becomes, or None for text.
        thinking: what was asked for: True, False, or None for the model's default.
        mcp: the MCP servers, or None.
        plan: nothing is changed before the user has accepted a plan.
        hooks: called around runs and calls, or None.
        stack: closed before all of this.
    """

    client: Client
    tools: dict[str, Tool]
    instructions: str
    journal: Journal
    permissions: Permissions
    approve: Approve | None
    limits: Limits
    workspace: Path
    notices: list[str]
    output: Output[Any] | None = None
    thinking: bool | None = None
    sandbox: Sandbox | None = None
    ask: Ask | None = None
    mcp: MCPToolset | None = None
    hooks: Hooks | None = None
    plan: bool = False
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _of_sessions: dict[str, AsyncExitStack] = field(default_factory=dict[str, AsyncExitStack])
    _served: tuple[Tool, ...] = ()
    _offered: list[Tool] = field(default_factory=list[Tool])

    @asynccontextmanager
    async def closing(self, session: str | None) -> AsyncGenerator[AsyncExitStack]:
        """Where tools put what is closed with the conversation: with the run, or a session's when the agent closes."""
        if session is None:
            async with AsyncExitStack() as stack:
                yield stack
        else:
            if session not in self._of_sessions:
                self._of_sessions[session] = await self.stack.enter_async_context(AsyncExitStack())
            yield self._of_sessions[session]

    @cached_property
    def schemas(self) -> list[ToolSchema]:
        """The tools as the model sees them; grows when tools are added."""
        return [tool.schema for tool in self.tools.values()]

    def think(self, wanted: Thinking | bool | None) -> None:
        """Have the model think otherwise, from the next run on; None is its own default.

        Raises:
            ConfigurationError: this model, or this server, cannot do that.
        """
        self.client = self.client.thinking_as(wanted)
        now = Thinking.of(wanted)
        self.thinking = None if now is None else now.on

    def add_tools(self, tools: Sequence[Tool]) -> None:
        """Let the model call further tools, from its next reply on."""
        for tool in tools:
            if tool.name not in self.tools:
                self.schemas.append(tool.schema)
                self.tools[tool.name] = tool

    def follow_servers(self) -> None:
        """Take over what MCP servers offer now; where that is more than fits, the model looks for what it needs."""
        if self.mcp is None or self.mcp.tools is self._served:
            return
        schemas = self.schemas
        gone = {*self._served, *self._offered} - set(self.mcp.tools)
        kept = {name: tool for name, tool in self.tools.items() if tool not in gone}
        self._served, self._offered = self.mcp.tools, fit(self.mcp.tools)
        self.tools.clear()
        self.tools |= {tool.name: tool for tool in self._offered} | kept
        schemas[:] = [tool.schema for tool in self.tools.values()]

    def find(self, name: str) -> Tool | None:
        """The tool of a name, also one that the model was not told of in this run: it may know it from before."""
        if name not in self.tools:
            hidden = [tool for search in self.tools.values() if isinstance(search, ToolSearch) for tool in search.tools]
            self.add_tools([tool for tool in (*hidden, read_more) if tool.name == name])
        return self.tools.get(name)
