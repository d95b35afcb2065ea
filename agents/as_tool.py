"""Agents as tools: a run that begins another one, which counts, asks and is watched as a part of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from qianda.agents.kept import RecordedTexts
from qianda.agents.provenance import Origins
from qianda.agents.resources import Resources
from qianda.agents.resumed import Resumed
from qianda.agents.run import Run
from qianda.models.errors import JournalError, LimitReached, QiandaError, ToolError
from qianda.models.events import ApprovalAsked, Event, QuestionAsked, RunStarted, UsageReported
from qianda.models.messages import ToolSchema
from qianda.tools.context import Context
from qianda.tools.permissions import ApprovalRequest, Decision
from qianda.tools.permissions.bounded import Bounded
from qianda.tools.questions import asked_at_once
from qianda.tools.results import ToolResult
from qianda.tools.sandbox import Sandbox
from qianda.tools.tool import Tool
from qianda.tools.undo_steps import Steps
from qianda.tools.validation import parse_arguments

if TYPE_CHECKING:
    from qianda.agents.agent import Agent
    from qianda.agents.definition import AgentDefinition
    from qianda.agents.limits import Limits
    from qianda.agents.result import RunResult

_DAY = 86_400.0
_BOUNDS = ("turns", "tool_calls", "tokens", "cost")  # which no agent has more of than who asks it
_TASK = {"type": "string", "description": "What to do, with all that the agent has to know: it sees nothing else"}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Delegating(Tool):
    """A tool whose calls are tasks of agents.

    By itself it changes nothing: each call of the agent is judged for itself. After a crash it goes on where it was.
    """

    read_only: bool = True
    idempotent: bool = True
    timeout: float = _DAY  # the agent's own limits end it
    max_output: int = 100_000

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse the arguments.

        Raises:
            ToolError: there is no task, or no such agent.
        """
        arguments = parse_arguments(self.name, text, self.schema.parameters, extra=False)
        if not arguments["task"].strip():
            raise ToolError(f'{self.name}: "task" is empty; say what is to be done')
        return arguments


@dataclass(frozen=True, kw_only=True, eq=False)
class AgentAsTool(_Delegating):
    """An agent that a model gives a task; made by ``agent.as_tool``.

    Args:
        agent: does the task.
        description: what it is good for, for the model.
    """

    agent: Agent[Any]
    description: str

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters."""
        parameters: dict[str, Any] = {"type": "object", "properties": {"task": _TASK}, "required": ["task"]}
        return ToolSchema(name=self.name, description=self.description, parameters=parameters)

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Run the agent.

        Raises:
            ToolError: it failed, or agents stand too deep in each other.
        """
        return await delegate(self.agent, self.name, arguments["task"], context)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task(_Delegating):
    """The tool ``task`` of agents' files: gives a task to one of the agents that the file names.

    Args:
        agents: who may get it, by name.
        load: makes an agent of a definition, at the first task.
    """

    agents: dict[str, AgentDefinition]
    load: Callable[[AgentDefinition], Agent[Any]]
    name: str = "task"
    consent: bool = True

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters."""
        who = "\n".join(f"- {name}: {agent.description}" for name, agent in self.agents.items())
        agent = {"type": "string", "enum": list(self.agents), "description": "Who does it"}
        return ToolSchema(
            name=self.name,
            description=f"Give a task to another agent, and get its answer. Several calls run side by side.\n{who}",
            parameters={
                "type": "object",
                "properties": {"agent": agent, "task": _TASK},
                "required": ["agent", "task"],
            },
        )

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Run the agent.

        Raises:
            ToolError: it failed, cannot be loaded, or agents stand too deep in each other.
        """
        name = arguments["agent"]
        agents = _kept(context.closing).loaded
        if name not in agents:
            agents[name] = self.load(self.agents[name])
        return await delegate(agents[name], name, arguments["task"], context)


class Inner(Run[Any]):
    """A run that is a call of another run, its parent: watched, asked for and undone as a part of that.

    Attributes:
        parent: the run that began it.
        outer: what that works with.
        limits: what this one may use up.
    """

    parent: Run[Any]
    outer: Resources
    limits: Limits
    context_of_call: Context
    name: str

    @property
    def heard(self) -> bool:
        """Whether somebody reads the events."""
        return self.parent.heard

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """Give out an event, in the stream of the outermost run."""
        if kind not in (ApprovalAsked, QuestionAsked):  # which the parent asks
            if kind is RunStarted:
                fields["call_id"] = self.context_of_call.call_id
            super().emit(kind, parent_run_id=self.parent.id, **fields)

    def _finished(self) -> None:
        self._over = True  # the stream is the outermost run's

    @cached_property
    def origins(self) -> Origins:
        """Knows whose words are whose: the prompt is the parent's model's, not the user's."""
        kept = RecordedTexts(self.parent, self.outer)
        self.parent.origins.follow(self.parent.conversation, self.outer, kept)
        return Origins(self.parent.origins)

    @cached_property
    def steps(self) -> Steps:
        """The parent's, so that what this run changes is undone with it."""
        return self.parent.steps

    @property
    def awaits_plan(self) -> bool:
        """Whether only what changes nothing may run, in the parent too."""
        return super().awaits_plan or self.parent.awaits_plan

    def check_turn(self, turns: int) -> None:
        """See whether the model may be asked once more: by its own limits, and those that it shares with others."""
        super().check_turn(turns)
        self.parent.check_turn(0)

    async def _work(self, resources: Resources) -> None:
        """Run with no more rights than the parent has."""
        outer = self.outer
        bound = replace(
            resources,
            permissions=Bounded(resources.permissions, outer.permissions),
            approve=self._approve,
            ask=self.context_of_call.asking,
            limits=self.limits,
            sandbox=_tighter(resources.sandbox, outer.sandbox),
            hooks=resources.hooks + outer.hooks if resources.hooks and outer.hooks else resources.hooks or outer.hooks,
        )
        await super()._work(bound)

    def _note_start(self, resources: Resources) -> None:
        super()._note_start(resources)
        resources.journal.note(self.id, "parent", {"run": self.parent.id})

    @asked_at_once
    async def _approve(self, request: ApprovalRequest) -> Decision:
        """Ask whoever the parent asks."""
        call_id, why = self.context_of_call.call_id, f"the agent {self.name}: {request.reason}"
        agent = f"{self.name} › {request.agent}" if request.agent else self.name
        request = replace(request, run_id=self.parent.id, call_id=call_id, reason=why, agent=agent)
        return await self.parent.questions.ask_approval(request, self.outer.approve)


class InnerResumed(Resumed[Any], Inner):
    """An inner run that a crash interrupted."""


async def delegate(agent: Agent[Any], name: str, task: str, context: Context) -> ToolResult:
    """Have an agent do a task within the run that a call belongs to.

    Args:
        agent: does it, on the run's server unless it has its own, in the run's folder.
        name: what it is called.
        task: its prompt.
        context: of the call.

    Raises:
        ToolError: it failed, or agents stand too deep in each other.
    """
    if context.caller is None:  # called outside of a run
        return _result(await agent.run(task))
    run, resources = cast("tuple[Run[Any], Resources]", context.caller)
    depth = resources.limits.depth
    if depth is not None and depth < 1:
        raise ToolError("agents cannot give tasks on at this depth; do it yourself")
    child = _child(await _settled(agent, resources, context), name, task, context)
    run.inside.append(child)
    try:
        async with child:
            return _result(await child.wait())
    except LimitReached as error:
        partial = error.result.output if error.result else ""
        return ToolResult(f"{partial}\n({name}: {error.message})".strip(), failed=True)
    except QiandaError as error:
        raise ToolError(f"{name} failed: {error.message}") from error
    finally:
        run.inside.remove(child)
        run.usage += child.usage
        if child.cost is not None:
            run.cost = (run.cost or 0.0) + child.cost
        used = {"call": context.idempotency_key.removeprefix(f"{run.id}/"), "usage": child.usage, "cost": child.cost}
        with suppress(JournalError):
            resources.journal.note(run.id, "usage", used)
        run.emit(UsageReported, request=child.usage, total=run.usage)


def _child(agent: Agent[Any], name: str, task: str, context: Context) -> Inner:
    """The run that does a task; one that a crash interrupted goes on."""
    run, resources = cast("tuple[Run[Any], Resources]", context.caller)
    # Found again by its name: the same call of the same run.
    run_id = f"{run.id}.{context.idempotency_key.removeprefix(f'{run.id}/turn/').replace('/call/', '-')}"
    journal, watched = resources.journal, run.heard
    if run.resumed and any(record.kind == "input" for record in journal.records(run_id)):
        child = InnerResumed(agent, run_id, journal, history=(), context=run.context, watched=watched)
    else:
        child = Inner(agent, task, history=(), context=run.context, watched=watched, journal=journal)
        child.id = run_id
    child.parent, child.outer, child.name, child.context_of_call = run, resources, name, context
    child.stream = run.stream
    own, outer = agent.limits, resources.limits
    bounds = {name: _least(getattr(own, name), getattr(outer, name)) for name in _BOUNDS}
    child.limits = replace(own, depth=_least(own.depth, outer.depth and outer.depth - 1), **bounds)
    return child


def _result(result: RunResult[Any]) -> ToolResult:
    if isinstance(result.output, str):
        return ToolResult(result.output)
    import orjson
    from pydantic_core import to_jsonable_python

    return ToolResult(orjson.dumps(to_jsonable_python(result.output)).decode())


def _least(own: Any, outer: Any) -> Any:
    return min((bound for bound in (own, outer) if bound is not None), default=None)


def _tighter(own: Sandbox | None, outer: Sandbox | None) -> Sandbox | None:
    """The sandbox of the run; an agent's own where the run has none, or where it is stricter."""
    if own is None or outer is None:
        return own or outer
    return replace(outer, network=own.network and outer.network, required=own.required or outer.required)


@dataclass(eq=False, slots=True)
class _Kept:
    """The agents of one conversation, whose connections stay open until it ends."""

    lock: asyncio.Lock
    loaded: dict[str, Agent[Any]]
    settled: dict[Agent[Any], Agent[Any]]


_conversations: WeakKeyDictionary[AsyncExitStack, _Kept] = WeakKeyDictionary()


def _kept(closing: AsyncExitStack | None) -> _Kept:
    kept = _Kept(asyncio.Lock(), {}, {})
    return kept if closing is None else _conversations.setdefault(closing, kept)


async def _settled(agent: Agent[Any], resources: Resources, context: Context) -> Agent[Any]:
    """The agent in the run's folder and on its server, opened until the conversation ends."""
    kept = _kept(context.closing)
    async with kept.lock:
        if agent not in kept.settled:
            settled = agent.settled(resources.client.endpoint, resources.workspace)
            if context.closing is not None:
                await context.closing.enter_async_context(settled)
            kept.settled[agent] = settled
        return kept.settled[agent]
