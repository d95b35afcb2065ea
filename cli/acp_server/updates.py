"""From the events of a run, and from recorded messages, to what an editor shows."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acp import (
    plan_entry,
    start_tool_call,
    update_agent_message_text,
    update_agent_thought_text,
    update_plan,
    update_tool_call,
    update_user_message,
)
from acp.schema import Cost, PlanEntryStatus, ToolCallStatus, UsageUpdate

from qianda.cli.acp_server.calls import Shown, ShownCall, fenced, said
from qianda.cli.acp_server.content import content_blocks
from qianda.cli.terminal import clean
from qianda.models import events
from qianda.models.messages import AssistantMessage, Message, ToolMessage, UserMessage, content_text
from qianda.models.plan import Plan, PlanStep
from qianda.tools.permissions import ApprovalRequest
from qianda.tools.questions import Question
from qianda.tools.tool import Tool

if TYPE_CHECKING:
    from qianda.agents.run import Run

_SECONDS = 0.2  # between two looks at what a running tool writes
_TAIL = 8_000  # characters of that
_STATES: dict[str, PlanEntryStatus] = {"pending": "pending", "doing": "in_progress"}
_WHO = {"rule": "by a rule", "person": "by you; the model is told", "nobody": "as nobody could be asked"}


class Screen:
    """What an editor shows of one run, or of what was recorded.

    Args:
        send: sends an update of the session.
        tools: by name, as far as they are known.
        workspace: the folder that paths are relative to.
        window: of the model, in tokens, where it is known.
        spent: what the session has cost so far, in USD.
    """

    def __init__(
        self,
        send: Callable[[Any], Awaitable[None]],
        tools: Mapping[str, Tool],
        workspace: Path,
        *,
        window: int | None = None,
        spent: float = 0.0,
    ) -> None:
        self._send, self._tools, self._workspace = send, tools, workspace
        self._window, self._spent = window, spent
        self._channel = ""  # of the reply that is coming in: what of it was last
        self._said = False  # any text of the run
        self._writing: dict[int, ShownCall] = {}
        self._calls: dict[tuple[str, str], ShownCall] = {}
        self._output: dict[str, str] = {}
        self._looked = 0.0
        self._asked: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    # What a run does

    async def show(self, event: events.Event, run: Run[Any]) -> None:
        """Show one event of a run; of agents that work for it, the calls alone."""
        if isinstance(event, events.CallEnvelope):
            await self._show_call(event, run)
        elif event.parent_run_id is None:
            await self._show_own(event, run)

    async def _show_own(self, event: events.Event, run: Run[Any]) -> None:
        match event:
            case events.TextDelta() if text := await self._continue("text", event.text):
                await self.say(text)
            case events.ThinkingDelta() if text := await self._continue("thinking", event.text):
                await self.think(text)
            case events.ArgumentsDelta():
                await self._continue("call")
                if event.name and event.index not in self._writing:
                    call = self._writing[event.index] = self._new(event.name)
                    call.fill()
                    await self._begin(call, "pending")
            case events.PlanChanged():
                await self.plan(event.plan)
            case events.UsageReported():
                self._channel = ""
                # While calls run it is what an agent that works for this one has used of its own context.
                if self._window and all(call.over for call in self._calls.values()):
                    cost = None if run.cost is None else Cost(amount=self._spent + run.cost, currency="USD")
                    used = event.request.total_tokens
                    await self._send(
                        UsageUpdate(session_update="usage_update", used=used, size=self._window, cost=cost)
                    )
            case events.Retrying():
                wait = f" in {event.wait:.1f} s" if event.wait else ""
                await self._void(f"{event.cause} (attempt {event.attempt}{wait})", void=event.discard)
            case events.Discarded():
                await self._void(event.reason, void=True)
            case events.Notice() | events.Compacted():
                await self.note(event.text)
            case events.CallForced():
                await self.note(f"The next reply has to call {event.name or 'a tool'}: {event.reason}")
            case _:
                pass

    async def say(self, text: str) -> None:
        """More of the answer."""
        self._said = True
        await self._send(update_agent_message_text(text))

    async def think(self, text: str) -> None:
        """More of the thinking."""
        await self._send(update_agent_thought_text(text))

    async def note(self, text: str) -> None:
        """A line from the program, for which the protocol has no place but beside the thinking."""
        await self.think(f"\n[{clean(text)}]\n\n")

    async def plan(self, plan: Plan) -> None:
        """The plan as it stands."""
        steps = [plan_entry(_step(step), status=_STATES.get(step.state, "completed")) for step in plan.steps]
        await self._send(update_plan(steps))

    async def _void(self, cause: str, *, void: bool) -> None:
        if void and self._channel:  # what was shown cannot be taken back
            await self.say(f"\n\n*The reply broke off and begins anew: {clean(cause)}*\n\n")
        else:
            await self.note(cause)
        self._channel = ""

    async def _continue(self, channel: str, text: str = "") -> str:
        """More of a reply, as it is to be shown; with its first piece, calls that never came are over."""
        if not self._channel:
            await self._drop(self._writing.values())
            self._writing.clear()
        if channel != self._channel:
            text = text.lstrip("\n")
            if text and channel == "text" and self._said:  # many editors put all texts of a run together
                text = f"\n\n{text}"
        if text or channel == "call":
            self._channel = channel
        return text

    async def _drop(self, calls: Iterable[ShownCall], why: str = "The model did not make this call") -> None:
        for call in calls:
            if not call.over:
                await self.update(call, "failed", said(why))

    async def close(self) -> None:
        """Nothing more comes."""
        await self._drop(self._writing.values())
        await self._drop(self._calls.values(), "It was stopped")

    # Calls

    def _new(self, name: str) -> ShownCall:
        return ShownCall(name, self._workspace, self._tools.get(name))

    async def _show_call(self, event: events.CallEnvelope, run: Run[Any]) -> None:
        key = event.run_id, event.call_id
        if isinstance(event, events.CallStarted):
            await self._start(event)
            return
        call = self._calls.setdefault(key, self._new(event.name))
        match event:
            case events.ApprovalAsked() | events.QuestionAsked():
                self._asked[event.request_id].set()
            case events.CallProgress():
                now = asyncio.get_running_loop().time()
                self._output[call.id] = (self._output.get(call.id, "") + event.text)[-_TAIL:]
                if now - self._looked >= _SECONDS:
                    self._looked = now
                    await self.update(call, "in_progress", said(fenced(self._output[call.id])))
            case events.CallFinished():
                changes: list[Shown] = []
                if event.step:
                    steps = run.steps
                    changes = await asyncio.to_thread(call.changes, steps.store, steps.run_id, event.step)
                result = call.result(event.content) if call.kind == "execute" or not changes else []
                await self.update(call, "completed", [*result, *changes])
            case events.CallFailed():
                await self.update(call, "failed", said(clean(event.error)))
            case events.CallDenied():
                call.title = f"⊘ Denied: {call.title}"
                why = said(f"⊘ Denied {_WHO[event.by]}: {clean(event.reason)}")
                await self.update(call, "failed", why)
            case _:
                pass

    async def _start(self, event: events.CallStarted) -> None:
        inner = event.parent_run_id is not None
        same = (index for index, call in sorted(self._writing.items()) if call.name == event.name and not inner)
        begun = self._writing.pop(next(same, -1), None)
        call = self._calls[event.run_id, event.call_id] = begun or self._new(event.name)
        call.fill(event.arguments, inner=inner)
        if begun is None:
            await self._begin(call, "in_progress")
        else:
            await self.update(call, "in_progress")

    async def _begin(self, call: ShownCall, status: ToolCallStatus, content: list[Shown] | None = None) -> None:
        about: dict[str, Any] = {"kind": call.kind, "locations": call.files, "raw_input": call.given or None}
        await self._send(start_tool_call(call.id, call.title, status=status, content=content, **about))

    async def update(self, call: ShownCall, status: ToolCallStatus, content: list[Shown] | None = None) -> None:
        """Show how far a call is; with ``content``, what stands under it from now on."""
        call.over = status in ("completed", "failed")
        about: dict[str, Any] = {"title": call.title, "kind": call.kind, "locations": call.files}
        if content is None:
            about["raw_input"] = call.given
        await self._send(update_tool_call(call.id, status=status, content=content, **about))

    async def asked(self, question: ApprovalRequest | Question) -> ShownCall:
        """Wait until what came before a question is shown; the call that it is about."""
        await self._asked[question.request_id].wait()
        name = question.name if isinstance(question, ApprovalRequest) else ""
        # An agent that works for this one asks in the name of this one's call, under a request of its own run.
        fitting = {
            key[1]: call
            for key, call in self._calls.items()
            if question.request_id.startswith(f"{key[0]}/") and name in ("", call.name)
        }
        return fitting.get(question.call_id) or next(reversed(fitting.values()), None) or self._new(name)

    # What was recorded

    async def replay(self, messages: Iterable[Message]) -> None:
        """Show a recorded conversation."""
        for message in messages:
            match message:
                case UserMessage():
                    for block in content_blocks(message.content):
                        await self._send(update_user_message(block))
                case AssistantMessage():
                    if message.reasoning:
                        await self.think(message.reasoning)
                    if message.content:
                        await self.say(message.content)
                    for made in message.tool_calls:
                        call = self._calls["", made.id] = self._new(made.name)
                        call.fill(made.arguments)
                case ToolMessage():
                    call = self._calls.setdefault(("", message.call_id), self._new(message.name))
                    if message.outcome == "done":
                        shown = call.difference(now=False) or call.result(message.content)
                        await self._begin(call, "completed", shown)
                    else:
                        call.title = f"⊘ Denied: {call.title}" if message.outcome == "denied" else call.title
                        await self._begin(call, "failed", said(clean(content_text(message.content))))
                case _:
                    pass


def _step(step: PlanStep) -> str:
    state = step.state if step.state in ("failed", "skipped") else ""
    note = ": ".join(filter(None, [state, step.note]))
    return f"{step.text} ({note})" if note else step.text
