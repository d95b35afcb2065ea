"""From the events of a run to blocks of the transcript and words of the status line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qianda.models.events import (
    ApprovalAsked,
    ArgumentsDelta,
    CallDenied,
    CallFailed,
    CallFinished,
    CallForced,
    CallProgress,
    CallStarted,
    Compacted,
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
from qianda.models.messages import AssistantMessage, Message, ToolMessage, UserMessage, content_text
from qianda.models.plan import plan_text
from qianda.tui.status import StatusLine
from qianda.tui.transcript.answer import AnswerStream, LazyBlock
from qianda.tui.transcript.blocks import Block, NoticeBlock, ThinkingBlock, UserBlock, duration
from qianda.tui.transcript.calls import CallBlock
from qianda.tui.transcript.view import Transcript

INTERRUPTED = "It was interrupted; whether it took effect is unknown."


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
        self._turn: int | None = None  # blocks there were when the current reply began
        self._held: list[NoticeBlock] = []
        self._steps: list[str] = []  # of the plan
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            ThinkingDelta: self._think,
            TextDelta: self._say,
            ArgumentsDelta: self._write_call,
            CallStarted: self._start_call,
            ApprovalAsked: self._ask,
            QuestionAsked: self._question,
            CallProgress: self._progress,
            CallFinished: self._finish_call,
            CallFailed: self._fail_call,
            CallDenied: self._deny_call,
            InputReceived: self._take_input,
            UsageReported: self._count,
            Retrying: self._retry,
            CallForced: self._force,
            Notice: self._notice,
            PlanChanged: self._change_plan,
            Compacted: self._compacted,
            RunFinished: self._finish,
        }
        status.busy("waiting for the model")

    def show(self, event: Event) -> None:
        """Show one event."""
        if event.parent_run_id is not None:  # of an agent that works for this run
            if isinstance(event, CallStarted):
                self._status.busy(f"an agent runs {event.name}")
            return
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def answered(self, call_id: str) -> None:
        """The person decided about a call."""
        block = self._calls.get(call_id)
        if block is not None and block.state == "asking":
            block.move("running")
            self._transcript.update_block(block)
        if block is not None:
            self._status.busy(f"running {block.name}")

    def hold(self, block: NoticeBlock) -> None:
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
            self._begin()
            self._thinking = ThinkingBlock()
            self._transcript.add(self._thinking)
            self._status.busy("thinking")
        self._transcript.feed(self._thinking, text)

    def _say(self, event: TextDelta) -> None:
        text = event.text
        if self._answer is None:
            text = text.lstrip("\n")
            if not text.strip():
                return
            self._close()
            self._begin()
            self._answer = AnswerStream()
            self._status.busy("answering")
        self._transcript.feed(self._answer, text)

    def _begin(self) -> None:
        """The first piece of a reply."""
        if self._turn is None:
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
            self._begin()
            block = self._writing[event.index] = CallBlock(event.name)
            self._transcript.add(block)
            self._status.busy("writing a call")
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
            self._transcript.add(block)
        else:
            block = self._writing.pop(index)
            block.start(event.name, event.arguments)
            self._transcript.update_block(block)
        self._calls[event.call_id] = block
        self._status.busy(f"running {event.name}")

    def _ask(self, event: ApprovalAsked) -> None:
        self._change(event.call_id, lambda block: block.move("asking"))
        self._status.busy("waiting for your answer")

    def _question(self, event: QuestionAsked) -> None:  # noqa: ARG002 - the pane shows it
        self._status.busy("waiting for your answer")

    def _progress(self, event: CallProgress) -> None:
        block = self._calls.get(event.call_id)
        if block is not None:
            self._transcript.feed(block, event.text)

    def _finish_call(self, event: CallFinished) -> None:
        text = content_text(event.content)
        self._change(event.call_id, lambda block: block.finish(text, event.seconds, replayed=event.replayed))
        self._status.busy("waiting for the model")

    def _fail_call(self, event: CallFailed) -> None:
        self._change(event.call_id, lambda block: block.fail(event.error, event.seconds))
        self._status.busy("waiting for the model")

    def _deny_call(self, event: CallDenied) -> None:
        self._change(event.call_id, lambda block: block.deny(event.reason, event.by))
        self._status.busy("waiting for the model")

    def _change(self, call_id: str, change: Callable[[CallBlock], None]) -> None:
        self._transcript.flush()
        block = self._calls.get(call_id)
        if block is not None:
            change(block)
            self._transcript.update_block(block)

    def _drop_writing(self) -> None:
        """Calls that were begun and never came."""
        if self._writing:
            self._transcript.remove_blocks(self._writing.values())
            self._writing.clear()

    # The run

    def _take_input(self, event: InputReceived) -> None:
        if event.steering:
            self._close()
            self._transcript.add(UserBlock(content_text(event.content), steering=True))
            self._status.say(waiting=max(self._status.waiting - 1, 0))

    def _count(self, event: UsageReported) -> None:
        self._close()
        self._turn = None
        self._status.say(tokens=event.request.total_tokens)

    def _retry(self, event: Retrying) -> None:
        if event.discard and self._turn is not None:
            self._transcript.cut_to(self._turn)
            self._thinking = self._answer = None
            self._writing.clear()
        self._close()
        wait = f" in {duration(event.wait)}" if event.wait >= 0.1 else ""
        self._transcript.add(NoticeBlock(f"{event.cause}; attempt {event.attempt}{wait}", "warning"))
        self._status.busy("trying again")

    def _force(self, event: CallForced) -> None:
        self._close()
        tool = f"A call of {event.name}" if event.name else "A call"
        self._transcript.add(NoticeBlock(f"{tool} is asked for once more: {event.reason}", "warning"))
        self._status.busy("trying again")

    def _notice(self, event: Notice) -> None:
        if event.text not in self._noticed:
            self._noticed.add(event.text)
            self.hold(NoticeBlock(event.text))

    def _compacted(self, event: Compacted) -> None:
        self._close()
        self._transcript.add(NoticeBlock(event.text))

    def _change_plan(self, event: PlanChanged) -> None:
        steps = [step.text for step in event.plan.steps]
        if steps != self._steps:  # the calls say how far it is
            self._steps = steps
            self.hold(NoticeBlock(f"Plan\n{plan_text(event.plan)}"))

    def _finish(self, event: RunFinished) -> None:
        self._close()
        self._drop_writing()
        self._interrupt()
        match event.reason:
            case "cancelled":
                self._transcript.add(NoticeBlock("Stopped", "warning"))
            case "limit":
                self._transcript.add(NoticeBlock(event.message or f"The limit {event.which} is reached", "warning"))
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
            if block.state in ("running", "asking"):
                asked = block.state == "asking"
                block.stop("It was not run." if asked else INTERRUPTED)
                self._transcript.update_block(block)
        self._calls.clear()


def restored_blocks(messages: Sequence[Message]) -> list[Block]:
    """The blocks of an earlier conversation."""
    results = {message.call_id: message for message in messages if isinstance(message, ToolMessage)}
    blocks: list[Block] = []
    for message in messages:
        if isinstance(message, UserMessage):
            blocks.append(UserBlock(content_text(message.content)))
        elif isinstance(message, AssistantMessage):
            if message.reasoning.strip():
                thinking = ThinkingBlock()
                thinking.feed(message.reasoning)
                thinking.finish(-1.0)
                blocks.append(thinking)
            if message.content.strip():
                blocks.append(LazyBlock(message.content))
            for call in message.tool_calls:
                block = CallBlock(call.name, call.arguments)
                if result := results.get(call.id):
                    block.recall(content_text(result.content), result.outcome)
                else:
                    block.stop("")
                blocks.append(block)
    return blocks
