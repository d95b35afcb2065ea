"""What a person has said and the model has not read yet: early, queued and steering prompts, outputs of commands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from qianda.tui.prompt.draft import Draft, joined
from qianda.tui.transcript.blocks import UserBlock
from qianda.tui.words import t

if TYPE_CHECKING:
    from collections.abc import Callable

    from qianda.models.messages import Content
    from qianda.tui.chat import Chat
    from qianda.tui.prompt.shell import CommandOutput
    from qianda.tui.screen import ChatScreen

PREVIEW = 200


class Outbox:
    """The prompts of one chat on their way to the model.

    Args:
        chat: runs them.
        screen: where they show.

    Attributes:
        outputs: of the person's own commands; they go with the next prompt.
    """

    def __init__(self, chat: Chat, screen: ChatScreen) -> None:
        self._chat, self._screen = chat, screen
        self._early: list[tuple[Draft, UserBlock]] = []  # before there is a model
        self._unread: list[Draft] = []  # steering
        self._queue: list[Draft] = []
        self._held = False  # a run was stopped or failed: the queue waits for a word of the person
        self.outputs: list[CommandOutput] = []
        self._preparing: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # a task needs a reference
        self._reading: tuple[Draft, UserBlock] | None = None

    @property
    def preparing(self) -> bool:
        """Whether a prompt is on its way: what it mentions is being read."""
        return self._reading is not None

    @property
    def early_blocks(self) -> list[UserBlock]:
        """The blocks of what waits for a model."""
        return [block for _, block in self._early]

    def send(self, draft: Draft) -> None:
        """A prompt, or steering while a run goes on."""
        if self.preparing:
            self.queue(draft)
        elif self._chat.busy:
            self._unread.append(draft)
            self._screen.status.say(waiting=len(self._unread))
            self._prepare(draft, None, self._chat.steer)
        else:
            block = UserBlock(draft.whole)
            self._screen.transcript.follow = True
            self._screen.transcript.add(block)
            if self._chat.conversation is None:
                self._early.append((draft, block))
                self._chat.open()
            else:
                self._start(draft, block)

    def opened(self) -> None:
        """There is a model."""
        if self._early:
            early, self._early = self._early, []
            draft, block = joined(draft for draft, _ in early) if len(early) > 1 else early[0][0], early[-1][1]
            if len(early) > 1:
                self._screen.transcript.remove_blocks(block for _, block in early[:-1])
                block.say(draft.whole)
                self._screen.transcript.update_block(block)
            self._start(draft, block)

    def _start(self, draft: Draft, block: UserBlock) -> None:
        def begin(content: Content) -> None:
            if self._chat.conversation is None:  # another model is being opened
                self._early.append((draft, block))
            else:
                self._chat.start(content, draft)

        self._prepare(draft, block, begin)

    def _prepare(self, draft: Draft, block: UserBlock | None, then: Callable[[Content], None]) -> None:
        """Read what a prompt mentions, and pass it on; at once where there is nothing to read."""
        if draft.plain and not self.outputs:
            then(draft.text)
            return
        if block is not None:
            self._reading = draft, block
            self._screen.status.busy(t("reading what the prompt mentions"))
        self._preparing = asyncio.create_task(self._read(draft, block, then))
        self._tasks.add(self._preparing)
        self._preparing.add_done_callback(self._tasks.discard)

    async def _read(self, draft: Draft, block: UserBlock | None, then: Callable[[Content], None]) -> None:
        from qianda.models.messages import content_text
        from qianda.tui.prompt.mentions import content_of

        outputs, self.outputs = self.outputs, []
        self.show()
        try:
            rules = None if self._chat.agent is None else self._chat.agent.permissions
            content, problems = await content_of(draft, outputs, self._chat.workspace, rules)
        except asyncio.CancelledError:
            self.outputs = [*outputs, *self.outputs]
            self.show()
            raise
        for problem in problems:
            self._chat.say(problem)
        if block is None:
            if draft in self._unread:
                then(content)
            else:  # the run was over before: it is the next prompt already
                self.outputs = [*outputs, *self.outputs]
                self.show()
            return
        self._reading = None
        block.say(content_text(content))
        self._screen.transcript.update_block(block)
        then(content)

    def share(self, output: CommandOutput) -> None:
        """The model gets this with the next prompt."""
        self.outputs.append(output)
        self.show()

    # Queue

    def queue(self, draft: Draft) -> None:
        """Send it when the run has ended."""
        if self._chat.busy:
            self._queue.append(draft)
            self.show()
        else:
            self.send(draft)

    def confirm(self) -> bool:
        """Send the first of what was queued for a run that was stopped; whether there was anything."""
        if not self._queue or self._chat.busy:
            return False
        self._held = False
        self.send(self._queue.pop(0))
        self.show()
        return True

    def take_back_last(self) -> None:
        """What was queued last comes back into an empty editor."""
        self.take_back(len(self._queue) - 1)

    def take_back(self, at: int) -> None:
        """What was queued comes back into an empty editor; an output is not sent.

        Args:
            at: which of the rows.
        """
        queued = len(self._queue)
        if at >= queued:
            del self.outputs[at - queued : at - queued + 1]
        elif self._queue and self._screen.editor.put_back(self._queue[at]):
            del self._queue[at]
            self._held = self._held and bool(self._queue)
        self.show()

    def show(self) -> None:
        """The rows above the prompt."""
        state = t("held") if self._held else t("queued")
        queued = [f"{state}: {draft.text[:PREVIEW]}" for draft in self._queue]
        outputs = [t("goes with your next prompt: ! {command}", command=each.command) for each in self.outputs]
        self._screen.waiting.show([*queued, *outputs])
        self._screen.editor.queued = bool(self._queue)
        self._screen.status.say(queued=len(self._queue))

    # The run

    def read(self) -> None:
        """The model has read the oldest of the steering."""
        if self._unread:
            del self._unread[0]

    def ended(self, reason: str, draft: Draft, *, leaving: bool) -> None:
        """The run is over.

        Args:
            reason: why.
            draft: the prompt that it began with.
            leaving: the program is being left.
        """
        unread, self._unread = self._unread, []
        self._screen.status.say(waiting=0)
        if leaving:
            return
        if reason == "cancelled":
            self._screen.editor.put_back(draft)
            if unread:
                self._chat.say(t("The model did not read: {texts}", texts=" / ".join(each.text for each in unread)))
        elif unread:  # said when the last reply was already on its way
            self.send(joined(unread))
            return
        if self._queue and reason == "done" and not self._held:
            self.confirm()
        elif self._queue:
            self._held = True
            self.show()
            self._chat.say(t("What is queued was not sent: Ctrl+Q in an empty prompt sends it, Up takes it back"))

    def stop(self) -> bool:
        """Take back what is on its way or waits for a model; whether there was anything."""
        if self._reading is not None and self._preparing is not None:
            self._preparing.cancel()
            (draft, block), self._reading = self._reading, None
            self._screen.status.idle()
        elif self._early:
            draft, block = self._early.pop()
        else:
            return False
        self._screen.transcript.remove_blocks([block])
        self._screen.editor.put_back(draft)
        return True

    def clear(self) -> None:
        """A new conversation."""
        if self._preparing is not None:
            self._preparing.cancel()
        self._reading = None
        self._early.clear()
        self._queue.clear()
        self._held = False
        self.outputs.clear()
        self.show()
