"""The context window: whether the next prompt fits, and a shorter conversation where it does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from qianda.agents.compaction import (
    CUT_TO,
    SUMMARY,
    Compaction,
    Measure,
    Plan,
    cut,
    last_user,
    lightened,
    message_bytes,
    message_media,
    plan,
    summary_tokens,
    transcript,
    user_words,
    weigh,
)
from qianda.agents.journal import Record, read_back
from qianda.agents.kept import RecordedTexts
from qianda.agents.resources import Resources
from qianda.agents.summary import file_notes, summarise
from qianda.models.errors import ContextTooLong
from qianda.models.events import Compacted, Notice, Retrying
from qianda.models.messages import NO_USAGE, AssistantMessage, Message, Usage, UserMessage
from qianda.models.reply import Reply
from qianda.models.wire import tool_body
from qianda.tools.more import read_more

if TYPE_CHECKING:
    from qianda.agents.run import Run

ATTEMPTS = 4
_LARGE_TOOL = 4_000  # bytes
_COUNTED = 200_000  # bytes that are counted by the vocabulary; of more, a sample is
_PER_MESSAGE = 16  # tokens that a template puts around one, at the most


class ContextWindow:
    """Keeps the prompts of one run within the model's window.

    The size of a prompt is what the server said of the last one, and what came since: its bytes while that is far from
    the limit, as no text has more tokens; counted by the model's vocabulary near it. What a refusal says is learned.

    Args:
        run: its conversation is made shorter in place, by steps that stand in its record.
        resources: the client, the journal, the tools.

    Attributes:
        encoder: the conversation's serialiser.
    """

    def __init__(self, run: Run[Any], resources: Resources) -> None:
        self._run = run
        self._resources = resources
        self._client = resources.client
        self.encoder = self._client.encoder()
        self._known = self._reply = self._covered = 0  # the last prompt, the reply to it, the messages in it
        self._size = self._upper = 0  # the next prompt: about, and at most
        self._turn = self._number = 0

    async def fit(self, turn: int) -> None:
        """See that the next prompt fits.

        Args:
            turn: number of the reply that is asked for next.
        """
        self._turn, self._number, self._upper = turn, 0, 1 << 60
        if self._run.resumed:
            while record := self._recorded[0].get(self._key):
                self._apply(read_back(record.data, Compaction))
            if turn in self._recorded[1]:
                return
        if self._tight():
            await self._compact(self._limit)
        elif self._run.shorten and turn == 0:
            self._size = self._estimated()
            if not await self._compact(self._size - self._measure().total(self._run.messages) // 2):
                self._run.emit(Notice, text="The conversation cannot be made shorter: all of it is recent")

    def note(self, usage: Usage) -> None:
        """Take in what the server said of the last prompt; the reply is not in the conversation yet."""
        if usage.input_tokens:
            # More than there can be: the sum of several requests for one reply.
            self._known = min(usage.input_tokens, self._upper + self._upper // 4 + 64)
            self._reply, self._covered = usage.output_tokens, len(self._run.conversation)

    async def asked(self, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        """The reply; where the server refuses the prompt as too long, it is asked again with a shorter one.

        Raises:
            ContextTooLong: nothing is left to be shortened.
        """
        spent = NO_USAGE
        while True:
            try:
                reply = await ask()
            except ContextTooLong as error:
                await self._recover(error)
                continue
            if not await self._filled(reply):
                return replace(reply, usage=spent + reply.usage) if spent.requests else reply
            spent += reply.usage

    async def _filled(self, reply: Reply) -> bool:
        """Whether the window was full before the reply came to its end, and the conversation is shorter now.

        llama.cpp refuses no prompt that leaves room for one token: it cuts the reply.
        """
        used, window, limit = reply.usage, self._client.window, self._limit
        if reply.finish != "length" or used.requests > 1 or window is None or limit is None:
            return False
        if used.input_tokens <= limit or used.input_tokens + used.output_tokens < window - 1:
            return False
        self._size = self._known = used.input_tokens
        self._reply, self._covered = 0, len(self._run.conversation)
        if self._number >= ATTEMPTS or not await self._compact(limit):
            return False
        self._run.emit(Retrying, cause="The window was full before the reply's end", attempt=2, wait=0.0, discard=True)
        return True

    async def _recover(self, error: ContextTooLong) -> None:
        self._size = self._estimated()
        size = error.prompt or max(self._size, (error.window or 0) + 1)
        self._client.window = error.window or min(size, self._client.window or size) * 9 // 10
        self._size, self._known, self._reply, self._covered = size, size, 0, len(self._run.conversation)
        if self._number >= ATTEMPTS or not await self._compact(self._limit):
            raise error

    # Sizes.

    @property
    def _limit(self) -> int | None:
        """Tokens that a prompt may have, room for the reply left."""
        window, asked = self._client.window, self._resources.limits.context
        if window is None:
            return asked
        limit = window - self._client.room(window) - window // 50
        return limit if asked is None else min(limit, asked)

    def _tight(self) -> bool:
        limit = self._limit
        if limit is None:
            return False
        new = self._run.conversation[self._covered :]
        replied = self._replied(new)
        self._upper = self._known + replied + sum(self._most(one) for one in new[bool(replied) :])
        if not self._known:
            self._upper += _LARGE_TOOL * len(self._resources.schemas)
        if self._upper <= limit:
            return False
        self._size = self._estimated()
        if not self._known:  # where the server never says, what was counted is not counted again
            self._known, self._reply, self._covered = self._size, 0, len(self._run.conversation)
        return self._size > limit

    def _replied(self, new: Sequence[Message]) -> int:
        """Tokens of the first new message, where it is the reply whose tokens the server has counted."""
        resent = self._client.endpoint.kind.reasoning
        one = new[0] if new else None
        return self._reply if isinstance(one, AssistantMessage) and (resent or not one.reasoning) else 0

    def _most(self, message: Message) -> int:
        size = _PER_MESSAGE + message_bytes(message) + message_media(message, self._client.family)
        return size + weigh(message.reasoning) if isinstance(message, AssistantMessage) else size

    def _estimated(self) -> int:
        """Tokens of the next prompt."""
        from qianda.models.tokens import count_request

        conversation, family = self._run.conversation, self._client.family
        new = conversation[self._covered :]
        replied = self._replied(new)
        size, rest = self._known + replied, new[bool(replied) :]
        if self._covered and not family.preserve and any(isinstance(one, UserMessage) for one in rest):
            size -= sum(self._measure().thoughts(conversation[: self._covered]))  # which are not resent any more
        if sum(map(message_bytes, rest)) > _COUNTED:
            return size + self._measure().total(rest)
        return size + count_request(rest, () if self._known else self._resources.schemas, family).tokens

    def _measure(self) -> Measure:
        """Tells tokens by the bytes of what the server has counted, else of a sample."""
        from qianda.models.tokens import count_text

        client, conversation = self._client, self._run.conversation
        resent = bool(client.endpoint.kind.reasoning)
        whole = Measure(1.0, client.family, resent)
        if self._known:
            size = whole.total(conversation[: self._covered]) + self._tool_bytes
            ratio = self._known / size
        else:
            sample = transcript(conversation, _COUNTED // 4)
            ratio = count_text(sample, client.family).tokens / max(1, weigh(sample))
        return Measure(min(1.0, max(0.1, ratio)), client.family, resent)

    @property
    def _tool_bytes(self) -> int:
        return len(orjson.dumps([tool_body(schema) for schema in self._resources.schemas]))

    # Compaction.

    @cached_property
    def _recorded(self) -> tuple[dict[str, Record], set[int]]:
        """Of a resumed run: its compactions by their keys, and the replies that are in the record."""
        done = [record for record in self._resources.journal.records(self._run.id) if record.state == "finished"]
        replies = {int(record.key.rpartition("/")[2]) for record in done if record.kind == "model"}
        return {record.key: record for record in done if record.kind == "compaction"}, replies

    @property
    def _key(self) -> str:
        return f"turn/{self._turn}/compaction/{self._number}"

    async def _compact(self, limit: int | None) -> bool:
        """Make the conversation so much shorter that the prompt has so many tokens; whether that was possible."""
        assert limit is not None
        measure, messages = self._measure(), self._run.messages
        planned = plan(messages, measure, before=self._size, limit=limit)
        if planned is None:
            return False

        async def work() -> Compaction:
            return await self._shortened(planned, messages, measure, limit)

        journal = self._resources.journal
        self._apply(
            await journal.step(self._run.id, self._key, work, kind="compaction", repeat="safe", returns=Compaction)
        )
        return True

    async def _shortened(self, planned: Plan, messages: Sequence[Message], measure: Measure, limit: int) -> Compaction:
        run, resources = self._run, self._resources
        kept = RecordedTexts(run, resources)
        old, tail, usage = messages[: planned.tail], messages[planned.tail :], NO_USAGE
        if planned.stage == "summary":
            newest = messages[last] if (last := last_user(messages)) >= 0 else None
            said, note = user_words(old, newest, measure, limit // 4, kept)
            text, usage = await summarise(
                run, resources, old, self.encoder, size=self._size, tokens=summary_tokens(limit), measure=measure
            )
            notes = [file_notes(old, resources), note, *(remind() for remind in run.reminders)]
            summary = "\n\n".join([SUMMARY, text, *filter(None, notes)])
            short = [*said, AssistantMessage(summary), *tail]
            counts = {"dropped": len(old) - len(said)}
        else:
            short = [*lightened(old, planned, kept), *tail]
            counts = {"results": len(planned.results), "thoughts": len(planned.thoughts)}
        stage, after = planned.stage, self._size - measure.total(messages) + measure.total(short)
        if after > limit:
            short, shortened = cut(short, measure, over=after - int(CUT_TO * limit), kept=kept)
            counts["results"] = counts.get("results", 0) + shortened
            after = self._size - measure.total(messages) + measure.total(short)
            stage = "cut" if shortened else stage
        return Compaction(stage, self._size, after, tuple(short), usage=usage, **counts)

    def _apply(self, compaction: Compaction) -> None:
        run = self._run
        if self._resources.permissions.mode == "auto":
            kept = RecordedTexts(run, self._resources)
            run.origins.follow(run.conversation, self._resources, kept)  # whose words they were stays known
        instructions = run.conversation[: len(run.conversation) - len(run.messages)]
        run.conversation[:] = [*instructions, *compaction.messages]
        run.origins.shortened(len(run.conversation))
        self.encoder = self._client.encoder()
        self._known, self._reply, self._covered = compaction.after, 0, len(run.conversation)
        self._number += 1
        if compaction.results or compaction.dropped:
            self._resources.add_tools([read_more])
        if compaction.usage != NO_USAGE:
            run.add_usage(compaction.usage)
        run.emit(
            Compacted,
            stage=compaction.stage,
            before=compaction.before,
            after=compaction.after,
            results=compaction.results,
            thoughts=compaction.thoughts,
            dropped=compaction.dropped,
        )
