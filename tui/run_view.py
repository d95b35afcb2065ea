"""From the events of a run to blocks of the transcript and words of the status line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from qianda.models.events import (
    ApprovalAsked,
    ArgumentsDelta,
    CallDenied,
    CallFailed,
    CallFinished,
    CallForced,
    CallProgress,
    CallRepaired,
    CallStarted,
    Compacted,
    Discarded,
    Event,
    InputReceived,
    Notice,
    PlanChanged,
    QuestionAsked,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from qianda.models.messages import content_text
from qianda.tui.status import StatusLine
from qianda.tui.transcript.answer import AnswerStream
from qianda.tui.transcript.blocks import Block, NoticeBlock, ThinkingBlock, UserBlock, duration
from qianda.tui.transcript.call_text import STREAMING
from qianda.tui.transcript.calls import LIVE_KEPT, CallBlock
from qianda.tui.transcript.changes import made
from qianda.tui.transcript.child_run import ChildRun
from qianda.tui.transcript.images import image_blocks
from qianda.tui.transcript.plan_block import PlanBlock
from qianda.tui.transcript.restored import call_blocks
from qianda.tui.transcript.view import Transcript
from qianda.tui.words import t


class RunView:
    """Shows one run.

    Args:
        transcript: gets the blocks.
        status: says what is going on.
        noticed: notices of earlier runs, not to be said again.
    """

    def __init__(self, transcript: Transcript, status: StatusLine, noticed: set[str]) -> None:
        self._transcript = transcript
        self._status = status
        self._noticed = noticed
        self._thinking: ThinkingBlock | None = None
        self._answer: AnswerStream | None = None
        self._writing: dict[int, CallBlock] = {}
        self._calls: dict[str, CallBlock] = {}
        self._first = time.time()  # when the current reply began
        self._turn: int | None = None  # blocks there were when the current reply began
        self._held: list[Block] = []
        self._plan: PlanBlock | None = None
        self._plan_moved = False  # by the call of the tool that runs now
        self._retried: tuple[NoticeBlock, str] | None = None  # the last retry's line, and its cause
        self._children: dict[str, tuple[ChildRun, CallBlock]] = {}  # by run
        self._looking: set[asyncio.Task[None]] = set()  # for what calls changed
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            ThinkingDelta: self._think,
            TextDelta: self._say,
            ArgumentsDelta: self._write_call,
            CallStarted: self._start_call,
            CallRepaired: self._repair_call,
            ApprovalAsked: self._ask,
            QuestionAsked: self._question,
            CallProgress: self._progress,
            CallFinished: self._finish_call,
            CallFailed: self._fail_call,
            CallDenied: self._deny_call,
            InputReceived: self._take_input,
            UsageReported: self._count,
            Retrying: self._retry,
            Discarded: self._discard,
            CallForced: self._force,
            Notice: self._notice,
            PlanChanged: self._change_plan,
            Compacted: self._compacted,
            RunFinished: self._finish,
        }
        status.busy(t("waiting for the model"))

    def show(self, event: Event) -> None:
        """Show one event."""
        if event.parent_run_id is not None:
            self._show_child(event, event.parent_run_id)
            return
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _show_child(self, event: Event, parent_id: str) -> None:
        """Of an agent that works for a call of this run, or of another such agent."""
        if isinstance(event, RunStarted):
            if (parent := self._children.get(parent_id)) is not None:
                run, block = parent[0].begin(event), parent[1]
            elif (found := self._calls.get(event.call_id)) is not None:
                run, block = ChildRun(), found
                block.child = run
            else:
                return
            self._children[event.run_id] = run, block
            self._transcript.feed(block, "")
        elif (child := self._children.get(event.run_id)) is not None and child[0].take(event):
            self._transcript.feed(child[1], "")
        if isinstance(event, CallStarted):
            self._status.busy(t("an agent runs {name}", name=event.name))

    def answered(self, call_id: str) -> None:
        """The person decided about a call."""
        block = self._calls.get(call_id)
        if block is not None and block.state == "asking":
            block.move("running")
            self._transcript.update_block(block)
        if block is not None:
            self._status.busy(t("running {name}", name=block.name))

    def hold(self, block: Block) -> None:
        """A line of the program: shown at once, or after the text that is just being written."""
        if self._answer is not None or self._thinking is not None:
            self._held.append(block)
        else:
            self._transcript.add(block)

    # Text

    def _think(self, event: ThinkingDelta) -> None:
        text = event.text
        if self._thinking is None:
            text = text.lstrip("\n")
            if not text.strip():
                return
            self._close()
            self._begin(event)
            self._thinking = ThinkingBlock()
            self._transcript.add(self._thinking)
            self._status.busy(t("thinking"))
        self._transcript.feed(self._thinking, text)

    def _say(self, event: TextDelta) -> None:
        text = event.text
        if self._answer is None:
            text = text.lstrip("\n")
            if not text.strip():
                return
            self._close()
            self._begin(event)
            self._answer = AnswerStream()
            self._status.busy(t("answering"))
        self._transcript.feed(self._answer, text)

    def _begin(self, event: Event) -> None:
        """The first piece of a reply."""
        if self._turn is None:
            self._first = event.time
            self._drop_writing()
            self._turn = len(self._transcript.stack.blocks)

    def _close(self) -> None:
        """Whatever was being written is complete."""
        for target in (self._thinking, self._answer):
            if target is not None:
                self._transcript.end(target)
        self._thinking = self._answer = None
        if self._held:
            held, self._held = self._held, []
            self._transcript.add(*held)

    # Calls

    def _write_call(self, event: ArgumentsDelta) -> None:
        block = self._writing.get(event.index)
        if block is None:
            self._close()
            self._begin(event)
            block = self._writing[event.index] = CallBlock(event.name)
            self._add_call(block)
            self._status.busy(t("writing a call"))
        elif event.name and not block.name:
            block.name = event.name
        self._transcript.feed(block, event.text)

    def _start_call(self, event: CallStarted) -> None:
        self._close()
        self._transcript.flush()
        self._turn = None
        index = next((index for index, block in sorted(self._writing.items()) if block.name == event.name), None)
        if index is None:
            block = CallBlock(event.name)
            block.start(event.name, event.arguments)
            self._add_call(block)
        else:
            block = self._writing.pop(index)
            block.start(event.name, event.arguments)
            self._transcript.update_block(block)
        self._calls[event.call_id] = block
        self._plan_moved = False
        self._status.busy(t("running {name}", name=event.name))

    def _add_call(self, block: CallBlock) -> None:
        self._transcript.flush()
        blocks = self._transcript.stack.blocks
        self._transcript.add(*call_blocks(block, blocks[-1] if blocks else None))

    def _repair_call(self, event: CallRepaired) -> None:
        self._change(event.call_id, lambda block: block.mend(event.reason))

    def _ask(self, event: ApprovalAsked) -> None:
        self._change(event.call_id, lambda block: block.move("asking"))
        self._status.busy(t("waiting for your answer"))

    def _question(self, event: QuestionAsked) -> None:
        if event.name == "plan" and self._plan is not None:
            self._plan.asked = True
            self._transcript.update_block(self._plan)
        self._status.busy(t("waiting for your answer"))

    def _progress(self, event: CallProgress) -> None:
        block = self._calls.get(event.call_id)
        if block is not None:
            line_end = "" if event.name in STREAMING or event.text.endswith("\n") else "\n"
            self._transcript.feed(block, event.text[-LIVE_KEPT:] + line_end)

    def _finish_call(self, event: CallFinished) -> None:
        text = content_text(event.content)
        self._end(event.call_id, lambda block: block.finish(text, event.seconds, replayed=event.replayed))
        block = self._calls.get(event.call_id)
        self._transcript.add(*image_blocks(event.content))
        if event.name == "plan" and self._plan is not None and self._plan.asked:
            self._plan.answered()
            self._transcript.update_block(self._plan)
        if event.name == "plan" and block is not None and self._plan_moved:
            self._transcript.remove_blocks([block])  # the checklist says it all
        elif event.step and block is not None:
            task = asyncio.create_task(self._look(block, event.run_id, event.step))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    async def _look(self, block: CallBlock, run_id: str, step: int) -> None:
        """Find out what a call changed, and show it."""
        block.diffs = await asyncio.to_thread(made, run_id, step)
        if block.diffs:
            block.changed()
            self._transcript.update_block(block)

    def _fail_call(self, event: CallFailed) -> None:
        self._end(event.call_id, lambda block: block.fail(event.error, event.seconds))

    def _deny_call(self, event: CallDenied) -> None:
        self._end(event.call_id, lambda block: block.deny(event.reason, event.by))

    def _end(self, call_id: str, change: Callable[[CallBlock], None]) -> None:
        """A call is over; others that began beside it may go on."""
        self._change(call_id, change)
        running = next((block.name for block in self._calls.values() if block.going), None)
        self._status.busy(t("running {name}", name=running) if running else t("waiting for the model"))

    def _change(self, call_id: str, change: Callable[[CallBlock], None]) -> None:
        self._transcript.flush()
        block = self._calls.get(call_id)
        if block is not None:
            grouped = block.group is not None and block.group.active
            change(block)
            self._transcript.update_block(block)
            if block.group is not None and block.group.active:
                for other in (block.group, *([] if grouped else block.group.members)):
                    other.changed()
                    self._transcript.update_block(other)

    def _drop_writing(self) -> None:
        """Calls that were begun and never came."""
        if self._writing:
            dropped: list[Block] = list(self._writing.values())
            for block in self._writing.values():
                if block.group is not None:
                    block.group.members.remove(block)
                    dropped += [] if block.group.members else [block.group]
            self._transcript.remove_blocks(dropped)
            self._writing.clear()

    # The run

    def _take_input(self, event: InputReceived) -> None:
        if event.steering:
            self._close()
            self._transcript.add(UserBlock(content_text(event.content), steering=True))
            self._status.say(waiting=max(self._status.waiting - 1, 0))
        self._transcript.add(*image_blocks(event.content))

    def _count(self, event: UsageReported) -> None:
        if any(block.going for block in self._calls.values()):
            return  # of an agent at work: its window is another one
        self._close()
        self._turn = None
        self._status.count(event.request, event.time - self._first)
        self._first = event.time

    def _void(self) -> None:
        """What this turn said so far does not count."""
        if self._turn is not None:
            self._transcript.cut_to(self._turn)
            self._thinking = self._answer = None
            self._writing.clear()

    def _retry(self, event: Retrying) -> None:
        if event.discard:
            self._void()
        self._close()
        attempt = t("attempt {number}", number=event.attempt)
        if event.wait >= 0.1:
            attempt = t("{attempt} in {time}", attempt=attempt, time=duration(event.wait))
        text = f"{event.cause}; {attempt}"
        blocks = self._transcript.stack.blocks
        if self._retried and self._retried[1] == event.cause and blocks and blocks[-1] is self._retried[0]:
            self._retried[0].text = text
            self._retried[0].changed()
            self._transcript.update_block(self._retried[0])
        else:
            self._retried = NoticeBlock(text, "warning"), event.cause
            self._transcript.add(self._retried[0])
        self._status.busy(t("trying again"))

    def _discard(self, event: Discarded) -> None:
        self._void()
        self._close()
        self._transcript.add(NoticeBlock(t("The text is read again: {reason}", reason=event.reason)))

    def _force(self, event: CallForced) -> None:
        self._close()
        tool = t("A call of {name}", name=event.name) if event.name else t("A call")
        text = t("{tool} is asked for once more: {reason}", tool=tool, reason=event.reason)
        self._transcript.add(NoticeBlock(text, "warning"))
        self._status.busy(t("trying again"))

    def _notice(self, event: Notice) -> None:
        if event.text not in self._noticed:
            self._noticed.add(event.text)
            self.hold(NoticeBlock(event.text))

    def _compacted(self, event: Compacted) -> None:
        self._close()
        self._transcript.add(NoticeBlock(event.text))

    def _change_plan(self, event: PlanChanged) -> None:
        self._plan_moved = True
        if self._plan is None:
            self._plan = PlanBlock(event.plan)
            self.hold(self._plan)
        else:
            self._plan.update(event.plan)
            self._transcript.update_block(self._plan)

    def _finish(self, event: RunFinished) -> None:
        self.close()
        match event.reason:
            case "cancelled":
                self._transcript.add(NoticeBlock(t("Stopped"), "warning"))
            case "limit":
                text = event.message or t("The limit {name} is reached", name=event.which)
                go_on = t("What was done stays; your next message goes on from here")
                self._transcript.add(NoticeBlock(f"{text.rstrip('.')}. {go_on}", "warning"))
            case "error":
                self._transcript.add(NoticeBlock(event.message or event.which, "error"))
            case _:
                pass

    def close(self) -> None:
        """The run is over, with or without its last event."""
        self._close()
        self._drop_writing()
        self._interrupt()

    def _interrupt(self) -> None:
        """Calls that never came to an end must not look as if they went on."""
        for block in self._calls.values():
            if block.going:
                asked = block.state == "asking"
                unknown = t("It was interrupted; whether it took effect is unknown.")
                block.stop(t("It was not run.") if asked else unknown)
                self._transcript.update_block(block)
        self._calls.clear()
