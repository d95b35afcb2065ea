"""From the events of a run to blocks of the transcript and words of the status line."""

from __future__ import annotations

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
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from qianda.models.messages import content_text
from qianda.tui.call_view import CallView
from qianda.tui.status import StatusLine
from qianda.tui.transcript.answer import AnswerStream
from qianda.tui.transcript.blocks import Block, NoticeBlock, ThinkingBlock, UserBlock, duration
from qianda.tui.transcript.images import image_blocks
from qianda.tui.transcript.plan_block import PlanBlock
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
        self._calls = calls = CallView(transcript, status)
        self.answered = calls.answered
        self._first = time.time()  # when the current reply began
        self._turn: int | None = None  # blocks there were when the current reply began
        self._held: list[Block] = []
        self._plan: PlanBlock | None = None
        self._plan_moved = False  # by the call of the tool that runs now
        self._retried: tuple[NoticeBlock, str] | None = None  # the last retry's line, and its cause
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            ThinkingDelta: self._think,
            TextDelta: self._say,
            ArgumentsDelta: self._write_call,
            CallStarted: self._start_call,
            CallRepaired: calls.repair,
            ApprovalAsked: calls.ask,
            QuestionAsked: self._question,
            CallProgress: calls.progress,
            CallFinished: self._finish_call,
            CallFailed: calls.fail,
            CallDenied: calls.deny,
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
            self._calls.child(event, event.parent_run_id)
            return
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

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
        self._status.heard()
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
        self._status.heard()
        self._transcript.feed(self._answer, text)

    def _begin(self, event: Event) -> None:
        """The first piece of a reply."""
        if self._turn is None:
            self._first = event.time
            self._calls.drop_writing()
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

    # Calls and the plan

    def _write_call(self, event: ArgumentsDelta) -> None:
        if not self._calls.writes(event.index):
            self._close()
            self._begin(event)
        self._calls.write(event)

    def _start_call(self, event: CallStarted) -> None:
        self._close()
        self._turn = None
        self._plan_moved = False
        self._calls.start(event)

    def _finish_call(self, event: CallFinished) -> None:
        self._calls.finish(event)
        self._transcript.add(*image_blocks(event.content))
        if event.name != "plan":
            return
        if self._plan is not None and self._plan.asked:
            self._plan.answered()
            self._transcript.update_block(self._plan)
        if self._plan_moved:  # the checklist says it all
            self._calls.remove(event.call_id)

    def _question(self, event: QuestionAsked) -> None:
        if event.name == "plan" and self._plan is not None:
            self._plan.asked = True
            self._plan.changed()
            self._transcript.update_block(self._plan)
        self._status.busy(t("waiting for your answer"))

    # The run

    def _take_input(self, event: InputReceived) -> None:
        if event.steering:
            self._close()
            self._transcript.add(UserBlock(content_text(event.content), steering=True))
            self._status.say(waiting=max(self._status.waiting - 1, 0))
        self._transcript.add(*image_blocks(event.content))

    def _count(self, event: UsageReported) -> None:
        if self._calls.going:
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
            self._calls.forget_writing()

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
        self._calls.drop_writing()
        self._calls.interrupt()
