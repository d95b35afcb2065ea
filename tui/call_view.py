"""From the events of a run's calls to their cards, and those of the agents that work for calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from qianda.models.events import (
    ApprovalAsked,
    ArgumentsDelta,
    CallDenied,
    CallFailed,
    CallFinished,
    CallProgress,
    CallRepaired,
    CallStarted,
    Event,
    RunStarted,
)
from qianda.models.messages import content_text
from qianda.tui.transcript.call_text import STREAMING
from qianda.tui.transcript.calls import LIVE_KEPT, CallBlock
from qianda.tui.transcript.changes import made
from qianda.tui.transcript.child_run import ChildRun
from qianda.tui.transcript.restored import call_blocks
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.status import StatusLine
    from qianda.tui.transcript.blocks import Block
    from qianda.tui.transcript.view import Transcript


class CallView:
    """Shows the calls of one run.

    Args:
        transcript: gets their cards.
        status: says what is going on.
    """

    def __init__(self, transcript: Transcript, status: StatusLine) -> None:
        self._transcript = transcript
        self._status = status
        self._writing: dict[int, CallBlock] = {}
        self._calls: dict[str, CallBlock] = {}
        self._children: dict[str, tuple[ChildRun, CallBlock]] = {}  # by run
        self._looking: set[asyncio.Task[None]] = set()  # for what calls changed

    @property
    def going(self) -> bool:
        """Whether a call has begun and not ended."""
        return any(block.going for block in self._calls.values())

    def child(self, event: Event, parent_id: str) -> None:
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

    def writes(self, index: int) -> bool:
        """Whether a call of this index is being written."""
        return index in self._writing

    def write(self, event: ArgumentsDelta) -> None:
        """The model writes more of a call."""
        block = self._writing.get(event.index)
        if block is None:
            block = self._writing[event.index] = CallBlock(event.name)
            self._add_call(block)
            self._status.busy(t("writing a call"))
        elif event.name and not block.name:
            block.name = event.name
        self._status.heard()
        self._transcript.feed(block, event.text)

    def start(self, event: CallStarted) -> None:
        """A call is whole."""
        self._transcript.flush()
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
        self._status.busy(t("running {name}", name=event.name))

    def _add_call(self, block: CallBlock) -> None:
        self._transcript.flush()
        blocks = self._transcript.stack.blocks
        self._transcript.add(*call_blocks(block, blocks[-1] if blocks else None))

    def repair(self, event: CallRepaired) -> None:
        """It had to be mended."""
        self._change(event.call_id, lambda block: block.mend(event.reason))

    def ask(self, event: ApprovalAsked) -> None:
        """Somebody has to agree."""
        self._change(event.call_id, lambda block: block.move("asking"))
        self._status.busy(t("waiting for your answer"))

    def progress(self, event: CallProgress) -> None:
        """It says how far it is, or prints."""
        block = self._calls.get(event.call_id)
        if block is not None:
            line_end = "" if event.name in STREAMING or event.text.endswith("\n") else "\n"
            self._transcript.feed(block, event.text[-LIVE_KEPT:] + line_end)

    def finish(self, event: CallFinished) -> None:
        """It ran."""
        text = content_text(event.content)
        self._end(event.call_id, lambda block: block.finish(text, event.seconds, replayed=event.replayed))
        block = self._calls.get(event.call_id)
        if event.step and block is not None:
            task = asyncio.create_task(self._look(block, event.run_id, event.step))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    def remove(self, call_id: str) -> None:
        """Take a card away: something else says it all."""
        if (block := self._calls.pop(call_id, None)) is not None:
            self._transcript.remove_blocks([block])

    async def _look(self, block: CallBlock, run_id: str, step: int) -> None:
        """Find out what a call changed, and show it."""
        block.diffs = await asyncio.to_thread(made, run_id, step)
        if block.diffs:
            block.changed()
            self._transcript.update_block(block)

    def fail(self, event: CallFailed) -> None:
        """It failed."""
        self._end(event.call_id, lambda block: block.fail(event.error, event.seconds))

    def deny(self, event: CallDenied) -> None:
        """It was not run."""
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

    def forget_writing(self) -> None:
        """What was being written is gone from the transcript."""
        self._writing.clear()

    def drop_writing(self) -> None:
        """Calls that were begun and never came."""
        if self._writing:
            dropped: list[Block] = list(self._writing.values())
            for block in self._writing.values():
                if block.group is not None:
                    block.group.members.remove(block)
                    dropped += [] if block.group.members else [block.group]
            self._transcript.remove_blocks(dropped)
            self._writing.clear()

    def interrupt(self) -> None:
        """Calls that never came to an end must not look as if they went on."""
        for block in self._calls.values():
            if block.going:
                asked = block.state == "asking"
                unknown = t("It was interrupted; whether it took effect is unknown.")
                block.stop(t("It was not run.") if asked else unknown)
                self._transcript.update_block(block)
        self._calls.clear()
