"""What an agent is: a model, instructions, tools and rules; and the doors to run it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self
from weakref import WeakKeyDictionary

from qianda.agents.conversation import valid_text
from qianda.agents.journal import Journal, open_journal
from qianda.agents.limits import Limits
from qianda.agents.output import Output, asked_for
from qianda.agents.plan import INSTRUCTIONS as PLAN_INSTRUCTIONS
from qianda.agents.resources import Approve, Ask, Resources
from qianda.agents.result import RunResult, T
from qianda.agents.run import Run
from qianda.agents.sessions import Session
from qianda.agents.sharing import Shared
from qianda.agents.wishes import Wishes
from qianda.models.client import Client
from qianda.models.completions import Api
from qianda.models.errors import ConfigurationError
from qianda.models.family import Sampling
from qianda.models.http import open_http
from qianda.models.messages import Message, Part
from qianda.models.profile_cache import known
from qianda.models.resolve import Endpoint, resolve
from qianda.models.thinking import Thinking
from qianda.tools.function_tool import as_tool
from qianda.tools.permissions import PermissionMode, Permissions, Rules
from qianda.tools.sandbox import Sandbox, SandboxMode
from qianda.tools.secrets import know_secrets
from qianda.tools.tool import Tool

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from qianda.agents.hooks import Hooks
    from qianda.models.http import AsyncClient
    from qianda.tools.mcp import MCPServer

Prompt = str | Sequence[Part]
_TEXT: Any = str


class Agent(Generic[T]):
    """Drives a Qwen model through tool calls.

    Every argument is optional: without any, it is the server and model that are there, without tools.

    Args:
        model: the model's name at the server, or the path of a ``.gguf`` file for the embedded engine.
        server: an address (``http://127.0.0.1:8000/v1``), a name (``vllm``, ``ollama``, ``modelstudio``, ``embedded``),
            or what ``resolve`` gave.
        api_key: key for that server; by default from ``QIANDA_API_KEY``, ``DASHSCOPE_API_KEY`` or the configuration.
        instructions: the system prompt.
        tools: functions, ``@tool`` objects and built-in tools. Passing your own is consent to run it.
        mcp_servers: MCP servers whose tools the model may call: ``"command args"`` or ``MCPServer``.
        thinking: True, False, ``Thinking(budget=…, effort=…)``, or None for the model's default.
        sampling: fields that are set override the preset of the model's family.
        output_type: what the answer becomes: a pydantic model, dataclass, TypedDict or any other type that pydantic
            validates; text by default. What does not fit is asked for again.
        limits: what one run may use up.
        plan: plan mode: only tools that are read-only run until the user has accepted the model's plan; where nobody
            can be asked, the plan is the answer.
        permissions: ``read-only``, ``ask``, ``edits`` or ``auto``: what built-in and MCP tools may do; or ``Rules``.
        approve: who is asked where the permissions want an approval; without it such calls are denied.
        ask: who answers the questions of tools: an async function from a ``Question`` to a text, a dict or None.
        workspace: the folder that tools act in.
        sandbox: where commands run: ``auto`` (in a sandbox where there is one), ``on`` (or not at all), ``off``, or a
            ``Sandbox`` with settings of its own.
        hooks: functions and commands that are called around runs and calls.
        journal: where runs are recorded: None for memory, the path of an SQLite file, or a ``Journal``.
        streaming: ask the server for a stream; else for one answer.
        request_timeout: seconds of silence after which a model request counts as hung and is retried; 300 by default.
        http_client: an ``httpx2.AsyncClient`` or ``httpx.AsyncClient`` of yours; you close it.
        extra_body: more fields for the model request; they win over ours.
        api: ``chat``, or ``completions`` for base models and servers whose chat template is missing or wrong: the
            prompts are then written here, text alone.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        server: str | Endpoint | None = None,
        api_key: str | None = None,
        instructions: str | None = None,
        tools: Sequence[Tool | Callable[..., Any]] = (),
        mcp_servers: Sequence[str | MCPServer] = (),
        thinking: Thinking | bool | None = None,
        sampling: Sampling | None = None,
        output_type: TypeForm[T] = _TEXT,
        limits: Limits | None = None,
        plan: bool = False,
        permissions: PermissionMode | Rules = "ask",
        approve: Approve | None = None,
        ask: Ask | None = None,
        workspace: str | Path = ".",
        sandbox: Sandbox | SandboxMode = "auto",
        hooks: Hooks | None = None,
        journal: str | Path | Journal | None = None,
        streaming: bool = True,
        request_timeout: float | None = None,
        http_client: AsyncClient | None = None,
        extra_body: Mapping[str, Any] | None = None,
        api: Api = "chat",
    ) -> None:
        self.model = model
        self.server = server
        self.instructions = valid_text(instructions or "")
        self.plan = plan
        self.tools = by_name([as_tool(tool) for tool in tools])
        if plan:
            from qianda.tools.builtin.plan import plan as plan_tool

            self.tools.setdefault(plan_tool.name, plan_tool)
        self.mcp_servers = tuple(mcp_servers)
        self.thinking = thinking
        self.sampling = sampling
        wanted: Any = output_type
        self.output: Output[T] | None = None if wanted in (str, None) else Output(wanted)
        self.limits = limits or Limits()
        self.workspace = Path(workspace).resolve()
        self.permissions = Permissions(permissions, workspace=self.workspace)
        self.approve = approve
        self.ask = ask
        self.sandbox = Sandbox.of(sandbox, self.workspace)
        self.hooks = hooks
        self.streaming = streaming
        self.request_timeout = request_timeout
        self.extra_body = dict(extra_body or {})
        self.api: Api = api
        self.wishes: Wishes | None = None  # of the file that it was loaded from
        self._api_key = api_key
        self._journal = journal
        self._http_client = http_client
        self._endpoint = server if isinstance(server, Endpoint) else None
        self._record: Journal | None = None
        # Connections belong to an event loop; an agent may be used in several, in threads or one after another.
        self._shared: WeakKeyDictionary[asyncio.AbstractEventLoop, Shared[Resources]] = WeakKeyDictionary()

    async def run(self, prompt: Prompt, *, history: Sequence[Message] = (), context: Any = None) -> RunResult[T]:
        """Run until the model answers.

        Args:
            prompt: text, or parts (text, image, audio, video).
            history: the conversation so far, as an earlier ``result.messages``.
            context: anything; tools find it as ``Context.value``.

        Raises:
            LimitReached: a limit was reached; it carries the partial ``result``.
            ServerError: the model server failed.
            ConfigurationError: no server, or settings that contradict each other.
        """
        run = Run(self, content_of(prompt), history=history, context=context, watched=False)
        async with run:
            return await run.wait()

    def run_sync(self, prompt: Prompt, *, history: Sequence[Message] = (), context: Any = None) -> RunResult[T]:
        """``run`` for programs without an event loop; same arguments, result and errors."""
        return run_sync(self.run(prompt, history=history, context=context))

    def as_tool(self, name: str, description: str) -> Tool:
        """This agent as a tool of others: its run is a part of theirs, with no more rights than they have.

        Args:
            name: what the tool is called.
            description: what it is good for, for the model.
        """
        from qianda.agents.as_tool import AgentAsTool

        return AgentAsTool(name=name, description=description, agent=self, consent=True)

    def with_tools(self, tools: Sequence[Tool]) -> Agent[T]:
        """A copy that has more tools."""
        made = copy(self)
        vars(made).update(_shared=WeakKeyDictionary(), tools=by_name([*self.tools.values(), *tools]))
        return made

    def settled(self, endpoint: Endpoint, workspace: Path) -> Agent[T]:
        """A copy for runs within one of another agent: in its folder, and on its server unless this has one."""
        made = copy(self)
        other: dict[str, Any] = {"_shared": WeakKeyDictionary(), "_journal": None, "workspace": workspace}
        if self.server is None and self.model is None:
            other |= {"server": endpoint, "_endpoint": endpoint}
        elif self.server is None and endpoint.engine is None and endpoint.transport is None:
            other |= {"server": endpoint.url, "_api_key": self._api_key or endpoint.api_key}
        vars(made).update(other)
        return made

    def stream(self, prompt: Prompt, *, history: Sequence[Message] = (), context: Any = None) -> Run[T]:
        """Run, and watch: ``async with agent.stream("…") as run: async for event in run: …``.

        Takes the arguments of ``run``. The stream ends with ``RunFinished``; after that ``run.result`` is there.
        """
        return Run(self, content_of(prompt), history=history, context=context, watched=True)

    def session(self, name: str) -> Session[T]:
        """A remembered conversation: its runs see what was said before, also in earlier processes.

        Args:
            name: any text. The record is this agent's journal, or the user's own when it has none.

        Raises:
            JournalError: the record cannot be opened or read.
        """
        return Session(self, name, self.record())

    def resume(self, run_id: str, *, context: Any = None) -> Run[T]:
        """Go on with a run that was interrupted, also in an earlier process; used like what ``stream`` gives.

        Replies and calls that are recorded are not repeated. A call that was in flight is made again if its tool is
        read-only or idempotent; else the model is told that its outcome is unknown. Approvals stay as they were given.

        Args:
            run_id: the run. The record is this agent's journal, or the user's own when it has none.
            context: as for ``run``.

        Raises:
            ConfigurationError: there is no such run, or it is done.
            JournalError: the record cannot be opened or read.
        """
        from qianda.agents.resumed import resume_run

        return resume_run(self, self.record(), run_id, context)

    def record(self) -> Journal:
        """The record that sessions are kept in: the agent's journal, or the user's own when it has none.

        Raises:
            JournalError: it cannot be opened.
        """
        if self._record is None:
            from qianda.models.config import data_dir

            self._record = open_journal(self._journal or data_dir() / "journal.db")
        return self._record

    async def __aenter__(self) -> Self:
        await self._here().acquire()
        return self

    async def __aexit__(self, *failure: object) -> None:
        try:
            await self._here().release()
        finally:
            endpoint = self._endpoint
            in_use = any(shared.users for shared in self._shared.values())
            if endpoint and endpoint.engine and endpoint is not self.server and not in_use:
                self._endpoint = None
                await asyncio.to_thread(endpoint.engine.close)

    async def endpoint(self) -> Endpoint:
        """The server and model that runs will use, chosen now if they are not yet."""
        async with self._here().lock:
            return await self._resolved()

    @asynccontextmanager
    async def opened(self, journal: Journal | None = None) -> AsyncGenerator[Resources]:
        """The agent's connections, open at least until the context is left.

        Args:
            journal: records in the place of the agent's own.
        """
        shared = self._here()
        resources = await shared.acquire()
        try:
            if journal is None and self._journal is None:
                journal = open_journal(None)  # of this run alone: an agent that lives long must not remember all
            if resources.mcp is not None:
                await resources.mcp.ready()
            # A copy: a run may come to further tools of its own.
            own = replace(resources, journal=journal or resources.journal, tools=dict(resources.tools))
            own.follow_servers()
            yield own
        finally:
            await shared.release()

    @property
    def resources(self) -> Resources | None:
        """What is open in this event loop now; MCP servers may be starting still."""
        return self._here().now

    def _here(self) -> Shared[Resources]:
        return self._shared.setdefault(asyncio.get_running_loop(), Shared(self._connect))

    async def _connect(self, stack: AsyncExitStack) -> Resources:
        endpoint = await self._resolved()
        know_secrets(self.workspace, [endpoint.api_key])
        http = self._http_client or await stack.enter_async_context(
            open_http(endpoint.url, idle=self.request_timeout, transport=endpoint.transport)
        )
        found = await known(endpoint, http)
        notices: list[str] = []
        thinking = self.thinking
        if self.wishes is not None:
            notices += self.wishes.unmet(endpoint)
            thinking = self.wishes.thinking_on(endpoint) if thinking is None else thinking
        client = Client(
            found.applied(endpoint),
            http,
            thinking=thinking,
            sampling=self.sampling,
            streaming=self.streaming and found.streams,
            extra_body={**found.fields, **self.extra_body},
            api=self.api,
            seconds=self.request_timeout,
        )
        toolset = None
        if self.mcp_servers:
            from qianda.tools.mcp import MCPServer, MCPToolset

            servers = [MCPServer.parse(item) if isinstance(item, str) else item for item in self.mcp_servers]
            toolset = MCPToolset(servers, workspace=self.workspace, notify=notices.append, model=client)
            stack.push_async_callback(toolset.close)
            toolset.begin()  # the first run waits for them, opening does not
        journal = open_journal(self._journal)
        if journal is not self._journal:
            stack.callback(journal.close)
        given = f"{self.instructions}\n\n{PLAN_INSTRUCTIONS}".strip() if self.plan else self.instructions
        named, instructions = asked_for(self.output, self.tools, given, more=toolset is not None)
        return Resources(
            client=client,
            tools=named,
            mcp=toolset,
            instructions=instructions,
            journal=journal,
            permissions=self.permissions,
            approve=self.approve,
            ask=self.ask,
            limits=self.limits,
            plan=self.plan,
            workspace=self.workspace,
            sandbox=self.sandbox,
            notices=notices,
            output=self.output,
            hooks=self.hooks,
            thinking=wanted.on if (wanted := Thinking.of(thinking)) else None,
            stack=await stack.enter_async_context(AsyncExitStack()),
        )

    async def _resolved(self) -> Endpoint:
        if self._endpoint is None:
            assert not isinstance(self.server, Endpoint)
            from qianda.models.config import load_config

            endpoint = await resolve(
                server=self.server,
                model=self.model,
                api_key=self._api_key,
                config=load_config(self.workspace),
                http=self._http_client,
                wish=self.wishes.model if self.wishes else None,
            )
            # Another thread may have been faster.
            self._endpoint = self._endpoint or endpoint
        return self._endpoint


def by_name(tools: Sequence[Tool]) -> dict[str, Tool]:
    """The tools by name.

    Raises:
        ConfigurationError: two have the same name.
    """
    named: dict[str, Tool] = {}
    for tool in tools:
        if tool.name in named:
            raise ConfigurationError(f"Two tools are named {tool.name!r}", cure="Rename one: @tool(name=…)")
        named[tool.name] = tool
    return named


def content_of(prompt: Prompt) -> str | tuple[Part, ...]:
    """A prompt as a message's content."""
    return prompt if isinstance(prompt, str) else tuple(prompt)


def run_sync(work: Coroutine[Any, Any, RunResult[T]]) -> RunResult[T]:
    """Run a coroutine where no event loop runs.

    Raises:
        ConfigurationError: one does.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    work.close()
    raise ConfigurationError("run_sync was called where an event loop runs", cure="Use: await agent.run(…)")
