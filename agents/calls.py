"""Running the tool calls of one reply: look up, validate, ask permission, run, record."""

from __future__ import annotations

import asyncio
import difflib
import json
import shlex
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qianda.agents.conversation import UNKNOWN_OUTCOME
from qianda.agents.journal import OutcomeUnknown
from qianda.agents.kept import RecordedTexts
from qianda.agents.ladder import Ladder
from qianda.agents.plan import NOT_YET, NOT_YET_THERE, PLAN_MODE
from qianda.agents.provenance import NOBODY_TO_AGREE
from qianda.agents.questions import Questions
from qianda.agents.resources import Resources
from qianda.models.errors import ConfigurationError, ToolError
from qianda.models.events import CallDenied, CallFailed, CallFinished, CallProgress, CallRepaired, CallStarted, Notice
from qianda.models.formats.arguments import fitted
from qianda.models.messages import AssistantMessage, ToolCall, ToolMessage, content_text
from qianda.models.reply import BrokenCall
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.permissions import ApprovalRequest, Decision, Verdict
from qianda.tools.remembered import remembered
from qianda.tools.results import ToolResult
from qianda.tools.secrets import redact
from qianda.tools.tool import Tool
from qianda.tools.undo_steps import Step

if TYPE_CHECKING:
    from qianda.agents.run import Run
    from qianda.tools.planning import PlanChange


async def run_calls(
    run: Run[Any],
    resources: Resources,
    message: AssistantMessage,
    broken: Sequence[BrokenCall],
    turn: int,
    *,
    ladder: Ladder,
) -> None:
    """Run the calls of a reply, those side by side that may, and put one message per call into the conversation.

    Args:
        run: where events go and approvals come from.
        resources: tools, permissions, journal.
        message: the reply; its last calls are the broken ones.
        broken: what could not be read of the reply.
        turn: number of the reply in the run, part of the record's keys.
        ladder: what to do about calls that go wrong, or come again and again.

    Raises:
        ModelOutputError: the model makes nothing but wrong calls, or always the same one.
    """
    refusal = ladder.refusal(message.tool_calls)
    readable = len(message.tool_calls) - len(broken)
    problems = [""] * readable + [f"This call could not be read: {call.problem}" for call in broken]
    jobs = [
        _Call(run, resources, call, f"turn/{turn}/call/{index}", problem=problems[index], refusal=refusal)
        for index, call in enumerate(message.tool_calls)
    ]
    for batch in _batches(jobs):
        if len(batch) == 1:  # the usual case: a task of its own would cost more than all else here
            run.conversation.append(await batch[0].run_to_message())
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError  # which a tool may have swallowed
        else:
            await _run_together(run, batch)
    wrong: dict[str, str] = {}
    for job in jobs:
        name = job.tool.name if job.tool else ""
        wrong[name] = job.miscalled and wrong.get(name, job.miscalled)
    ladder.note(turn, message.tool_calls, wrong, run.conversation, planned=run.plan is not None)


async def _run_together(run: Run[Any], batch: Sequence[_Call]) -> None:
    tasks: list[asyncio.Task[ToolMessage]] = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(job.run_to_message()) for job in batch]
    except* Exception as errors:
        raise errors.exceptions[0] from None
    finally:
        # Also when the run is stopped in the middle: what was done is not forgotten.
        run.conversation += [task.result() for task in tasks if _succeeded(task)]


def _succeeded(task: asyncio.Task[ToolMessage]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _batches(jobs: Sequence[_Call]) -> Iterator[list[_Call]]:
    """Neighbours that may run in parallel go together; any other call has its turn alone."""
    batch: list[_Call] = []
    for job in jobs:
        parallel = job.tool is None or job.tool.parallel
        if batch and not parallel:
            yield batch
            batch = []
        batch.append(job)
        if not parallel:
            yield batch
            batch = []
    if batch:
        yield batch


class _Call:
    """One call on its way from the model's text to a result.

    Attributes:
        tool: what it calls, or None when there is no such tool.
        miscalled: why it could not be run as the model wrote it, or "".
    """

    def __init__(
        self, run: Run[Any], resources: Resources, call: ToolCall, key: str, *, problem: str, refusal: str
    ) -> None:
        self.tool: Tool | None = resources.find(call.name)
        self.miscalled = problem
        self._run = run
        self._resources = resources
        self._call = call
        self._key = key
        self._refusal = refusal
        self._rule = ""  # what of the permissions let it run
        self._started = 0.0
        self._executed = False
        self._step = 0  # of undo

    async def run_to_message(self) -> ToolMessage:
        """Handle the call; the only errors that leave are the journal's."""
        run, call = self._run, self._call
        self._started = time.monotonic()
        run.emit(CallStarted, call_id=call.id, name=call.name, arguments=call.arguments)
        self._say_repaired(call.repaired)
        tool = self.tool
        repeat = "safe" if tool and (tool.read_only or tool.idempotent) else "unknown"
        try:
            # Of a resumed run: what was decided is not asked for again.
            journal = self._resources.journal
            begun = run.resumed and journal.find(run.id, self._key)
            arguments, refused = {}, None
            # An approval that is recorded is not asked for either, but remembered once more.
            if (
                not begun
                or (begun.state == "started" and repeat == "safe")
                or journal.find(run.id, f"{self._key}/approval")
            ):
                arguments, refused = await self._permitted()
            if refused is not None and refused.denied_by in ("person", "nobody"):
                repeat = "safe"  # it was not run, and is not now

            async def work() -> ToolResult:
                self._executed = True
                self._started = time.monotonic()  # how long a person took to agree is not the tool's time
                if refused is not None:
                    return refused
                assert tool is not None
                if (hooks := self._resources.hooks) is not None:
                    noted, workspace = partial(self._noted, tool, arguments), self._resources.workspace
                    return await hooks.call(tool.name, arguments, run.id, workspace, noted)
                return replace(await self._noted(tool, arguments), rule=self._rule)

            outcome = await self._resources.journal.step(
                run.id, self._key, work, kind="tool", repeat=repeat, returns=ToolResult
            )
        except OutcomeUnknown:
            outcome = ToolResult(UNKNOWN_OUTCOME, failed=True)
            self._resources.journal.finish(run.id, self._key, "tool", outcome)
        self._report(outcome)
        return ToolMessage(call.id, call.name, outcome.content, outcome.outcome)

    def _say_repaired(self, reason: str) -> None:
        if reason:
            self._run.emit(CallRepaired, call_id=self._call.id, name=self._call.name, reason=reason)

    def _report(self, outcome: ToolResult) -> None:
        run, call = self._run, self._call
        seconds = time.monotonic() - self._started
        if outcome.denied_by:
            reason = content_text(outcome.content)
            by = outcome.denied_by
            run.emit(CallDenied, call_id=call.id, name=call.name, reason=reason, by=by, rule=outcome.rule)
        elif outcome.failed:
            fields = {"error": content_text(outcome.content), "seconds": seconds, "rule": outcome.rule}
            run.emit(CallFailed, call_id=call.id, name=call.name, **fields)
        else:
            fields = {"content": outcome.content, "seconds": seconds, "replayed": not self._executed}
            run.emit(CallFinished, call_id=call.id, name=call.name, rule=outcome.rule, step=self._step, **fields)

    def _note_step(self, step: Step) -> None:
        """Record, once, which step of undo this call is: a rewind takes it back."""
        if not self._step:
            self._step = step.number
            run_id = self._run.steps.run_id
            data = {"call": self._key, "run": run_id, "step": step.number}
            self._resources.journal.note(run_id, "files", data)

    async def _noted(self, tool: Tool, arguments: dict[str, Any]) -> ToolResult:
        """Run the tool; what it changes is kept, so that it can be undone."""
        if tool.read_only:
            return await tool.call(arguments, self._context())
        steps = self._run.steps
        if not tool.effects(arguments).command:
            step = steps.begin(tool.name, scanned=False)

            def changing(path: Path) -> None:
                self._note_step(step)
                step.changing(path)

            try:
                return await tool.call(arguments, replace(self._context(), changing=changing))
            finally:
                step.end()
        step = await asyncio.to_thread(steps.begin, tool.name, scanned=True)
        self._note_step(step)
        try:
            return await tool.call(arguments, replace(self._context(), changing=step.changing))
        finally:
            await asyncio.to_thread(step.end)

    def _context(self) -> Context:
        run, call = self._run, self._call

        def progress(text: str) -> None:
            run.emit(CallProgress, call_id=call.id, name=call.name, text=redact(text))

        return Context(
            run_id=run.id,
            call_id=call.id,
            idempotency_key=f"{run.id}/{self._key}",
            workspace=self._resources.workspace,
            value=run.context,
            progress=progress,
            notice=lambda text: run.emit(Notice, text=text),
            sandbox=self._resources.sandbox,
            asking=Questions(run, self._resources, call.name, self._key).ask,
            kept=RecordedTexts(run, self._resources),
            add_tools=self._resources.add_tools,
            caller=(run, self._resources),
            closing=run.closing,
            planning=self._change_plan,
        )

    async def _change_plan(self, change: PlanChange, ask: Callable[..., Awaitable[Any]]) -> str:
        return await self._run.planning.change(change, ask)

    async def _permitted(self) -> tuple[dict[str, Any], ToolResult | None]:
        """The validated arguments, and what to answer instead of running the tool, if anything."""
        if self._refusal or self.miscalled:
            return {}, ToolResult(self._refusal or self.miscalled, failed=True)
        if self.tool is None:
            self.miscalled = self._no_such_tool()
            return {}, ToolResult(self.miscalled, failed=True)
        try:
            arguments = self.tool.read_arguments(self._call.arguments)
            effects = self.tool.effects(arguments)
        except ToolError as error:
            self.miscalled = str(error)
            return {}, ToolResult(self.miscalled, failed=True)
        except Exception as error:  # of a check that the user wrote
            problem = f"{self.tool.name} could not check its arguments: {type(error).__name__}: {error}"
            return {}, ToolResult(problem, failed=True)
        self._say_repaired(fitted(self._call.arguments, arguments))
        permissions = self._resources.permissions
        judged = arguments
        if effects.keeps_folder and (folder := remembered(self._run.closing).folder):
            judged = {**arguments, "folder": folder}
            effects = replace(effects, command=f"cd {shlex.quote(folder)} && {effects.command}")
        verdict = self._awaits_plan(self.tool, effects) or permissions.judge(self.tool, judged, effects)
        carried = None
        if (
            verdict.action == "allow"
            and permissions.mode == "auto"
            and not permissions.vouched(self.tool, judged, effects)
        ):
            carried = self._run.origins.carried(
                self.tool,
                arguments,
                effects,
                conversation=self._run.conversation,
                resources=self._resources,
                kept=RecordedTexts(self._run, self._resources),
            )
            if carried is not None:
                verdict = Verdict("ask", f"{self.tool.name}: {carried}", "whose words these are")
        self._rule = verdict.rule
        if verdict.action == "allow":
            return arguments, None
        if verdict.action == "deny":
            return {}, ToolResult(f"Denied: {verdict.reason}", failed=True, denied_by="rule", rule=verdict.rule)
        rule = permissions.rule_for(self.tool, effects) if carried is None or effects.command else ""
        decision = await self._ask(self.tool, judged, effects, verdict.reason, rule if permissions.saves else "")
        if not decision.allowed and carried is not None and decision.by == "nobody":
            said = f"Denied: {verdict.reason}, and {NOBODY_TO_AGREE}"
            return {}, ToolResult(said, failed=True, denied_by="nobody", rule=rule or self.tool.name)
        if not decision.allowed:
            why = f": {decision.reason}" if decision.reason else ". Do not try it another way; go on without it"
            said = "Denied" if decision.by == "nobody" else "The user said no"
            rule = rule if decision.by == "nobody" else verdict.rule
            return {}, ToolResult(said + why, failed=True, denied_by=decision.by, rule=rule)
        self._rule = f"approved by a person ({decision.scope})"
        try:
            permissions.remember(self.tool, judged, decision.scope, rule)
        except ConfigurationError as error:
            self._run.emit(Notice, text=str(error))
        if carried is not None:
            self._run.origins.agree(arguments)
        return arguments, None

    def _awaits_plan(self, tool: Tool, effects: Effects) -> Verdict | None:
        """The denial of what may change something while the user has not accepted the plan, in plan mode."""
        if not self._run.awaits_plan or self._resources.permissions.only_looks(tool, effects):
            return None
        return Verdict("deny", NOT_YET if self._resources.plan else NOT_YET_THERE, PLAN_MODE)

    async def _ask(self, tool: Tool, arguments: dict[str, Any], effects: Effects, reason: str, rule: str) -> Decision:
        request = ApprovalRequest(
            request_id=f"{self._run.id}/{self._key}",
            run_id=self._run.id,
            call_id=self._call.id,
            name=tool.name,
            arguments=arguments,
            description=tool.schema.description,
            reason=reason,
            rule=rule,
            effects=effects,
            workspace=self._resources.workspace,
        )

        async def ask() -> Decision:
            return await self._run.questions.ask_approval(request, self._resources.approve)

        return await self._resources.journal.step(
            self._run.id, f"{self._key}/approval", ask, kind="approval", repeat="safe", returns=Decision
        )

    def _no_such_tool(self) -> str:
        names = list(self._resources.tools)
        close = difflib.get_close_matches(self._call.name, names, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        name = json.dumps(self._call.name, ensure_ascii=False)
        return f"There is no tool named {name}.{hint} Tools: {', '.join(names) or 'none'}."
