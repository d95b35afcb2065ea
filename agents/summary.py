"""Asking the model for a summary of what is dropped from its context, and noting what it need not say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from qianda.agents.asking import hear
from qianda.agents.compaction import SUMMARY_PROMPT, Measure, digest, transcript
from qianda.agents.resources import Resources
from qianda.models.errors import ContextTooLong, ServerRefused
from qianda.models.messages import NO_USAGE, AssistantMessage, Message, ToolSchema, Usage, UserMessage
from qianda.models.thinking import OFF
from qianda.models.wire import MessageEncoder

if TYPE_CHECKING:
    from qianda.agents.run import Run

_FILES = 40
_MARGIN = 400  # tokens around a transcript


async def summarise(
    run: Run[Any],
    resources: Resources,
    dropped: Sequence[Message],
    encoder: MessageEncoder,
    *,
    size: int,
    tokens: int,
    measure: Measure,
) -> tuple[str, Usage]:
    """A summary by the model, and what it cost; a bare list of the calls where the model gives none.

    The conversation as it stands is asked first: the server has read it already. Where it does not fit, or the model
    goes on with its work instead, the model reads what is dropped as one text.

    Args:
        run: its conversation is summarised.
        resources: the client and the tools.
        dropped: what the summary will stand for.
        encoder: of the run's conversation, which is given up after this.
        size: tokens of the run's next prompt.
        tokens: how long the summary may be.
        measure: tells tokens.

    Raises:
        ServerError: the model server failed.
    """
    client = resources.client
    prompt = SUMMARY_PROMPT.format(words=tokens // 2)
    window = client.window or size + 2 * tokens

    def ways() -> Iterator[tuple[list[Message], list[ToolSchema], MessageEncoder]]:
        if size + measure.text(prompt) + tokens < window:
            yield [*run.conversation, UserMessage(prompt)], resources.schemas, encoder
        whole = transcript(dropped, 1 << 60)
        room = window - tokens - measure.text(prompt) - _MARGIN
        characters = int(0.9 * room * len(whole) / max(1, measure.text(whole)))
        text = whole if len(whole) <= characters else transcript(dropped, max(1_000, characters))
        yield [UserMessage(f"{text}\n\n{prompt}")], [], client.encoder()

    thinking = OFF if client.family.thinking in ("on", "off") else None
    usage = NO_USAGE
    for messages, tools, serialiser in ways():
        fields: dict[str, Any] = {"max_tokens": tokens}
        if tools and "none" in client.endpoint.kind.tool_choice:
            fields["tool_choice"] = "none"
        try:
            batches = client.ask(messages, tools, serialiser, fields=fields, thinking=thinking)
            reply = await hear(run, batches, shown=False)
        except (ContextTooLong, ServerRefused):
            continue
        usage += reply.usage if reply.usage.requests else replace(reply.usage, requests=1)
        if reply.text.strip() and not reply.calls:
            return reply.text.strip(), usage
    return digest(dropped), usage


def file_notes(dropped: Sequence[Message], resources: Resources) -> str:
    """The files that the dropped calls read and changed, the latest last; "" when there are none."""
    read: dict[str, None] = {}
    changed: dict[str, None] = {}
    for message in dropped:
        for call in message.tool_calls if isinstance(message, AssistantMessage) else ():
            tool = resources.tools.get(call.name)
            if tool is None:
                continue
            with suppress(Exception):  # arguments as the model wrote them
                effects = tool.effects(orjson.loads(call.arguments))
                for paths, found in ((effects.reads, read), (effects.writes, changed)):
                    for path in map(str, paths):
                        found.pop(path, None)
                        found[path] = None
    lists = [("Files read", [path for path in read if path not in changed]), ("Files changed", list(changed))]
    return "\n".join(f"{title}: {', '.join(paths[-_FILES:])}" for title, paths in lists if paths)
