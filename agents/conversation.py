"""Conversations as data: from replies to messages, from a record back to messages, and closing what was left open."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count

import orjson

from qianda.agents.compaction import Compaction
from qianda.agents.journal import Record, read_back
from qianda.models.messages import AssistantMessage, Content, Message, TextPart, ToolCall, ToolMessage, UserMessage
from qianda.models.reply import Reply
from qianda.tools.results import ToolResult

STOPPED = "(stopped before there was an answer)"
UNKNOWN_OUTCOME = "This call was interrupted; whether it took effect is unknown. Check before you repeat it."


def valid_text(text: str) -> str:
    """The text without what UTF-8 cannot carry: lone surrogates, as bytes that are no UTF-8 become in file names."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def valid_content(content: Content) -> Content:
    """``valid_text`` for text and for parts."""
    if isinstance(content, str):
        return valid_text(content)
    return tuple(TextPart(valid_text(part.text)) if isinstance(part, TextPart) else part for part in content)


def reply_message(reply: Reply, run_id: str, turn: int) -> AssistantMessage:
    """A reply as a message; calls that could not be read stand in it as calls without arguments, to be answered."""
    broken = tuple(
        ToolCall(id=f"unreadable_{run_id[-8:]}_{turn}_{index}", name=call.name or "unknown", arguments="{}")
        for index, call in enumerate(reply.broken)
    )
    return AssistantMessage(content=reply.text, reasoning=reply.reasoning, tool_calls=reply.calls + broken)


def unique_calls(reply: Reply, taken: Collection[str]) -> Reply:
    """The reply with call ids that the conversation has not used: some servers count from 0 in each reply."""
    used = {call.id for call in reply.calls}
    if len(used) == len(reply.calls) and used.isdisjoint(taken):
        return reply
    used.clear()
    calls: list[ToolCall] = []
    for call in reply.calls:
        names = chain([call.id], (f"{call.id}_{number}" for number in count(2)))
        fresh = next(name for name in names if name not in used and name not in taken)
        used.add(fresh)
        calls.append(call if fresh == call.id else replace(call, id=fresh))
    return replace(reply, calls=tuple(calls))


def call_ids(messages: Iterable[Message]) -> set[str]:
    """The ids of all calls in a conversation."""
    return {call.id for message in messages if isinstance(message, AssistantMessage) for call in message.tool_calls}


def answered(messages: Iterable[Message]) -> list[Message]:
    """The conversation with a result of every call: servers refuse one that lacks some."""
    result: list[Message] = []
    waiting: dict[str, str] = {}
    for message in messages:
        if not isinstance(message, ToolMessage):
            result += [ToolMessage(call_id, name, UNKNOWN_OUTCOME, "failed") for call_id, name in waiting.items()]
            waiting = {}
        if isinstance(message, AssistantMessage):
            waiting = {call.id: call.name for call in message.tool_calls}
        elif isinstance(message, ToolMessage):
            waiting.pop(message.call_id, None)
        result.append(message)
    result += [ToolMessage(call_id, name, UNKNOWN_OUTCOME, "failed") for call_id, name in waiting.items()]
    return result


def closed(messages: Iterable[Message]) -> list[Message]:
    """The conversation with an answer to every call and every prompt, so that the next prompt stands for itself."""
    result = answered(messages)
    if result and not isinstance(result[-1], AssistantMessage):
        result.append(AssistantMessage(content=STOPPED))
    return result


def from_records(records: Iterable[Record]) -> list[Message]:
    """The messages of one run, read back from its record, with the history that it was given.

    Raises:
        JournalError: the record cannot be read.
    """
    messages: list[Message] = []
    calls: tuple[ToolCall, ...] = ()
    results: dict[int, ToolMessage] = {}
    for record in records:
        if record.kind == "history":
            messages += history_of([record])
        elif record.kind == "tool" and record.state == "finished":
            index = int(record.key.rpartition("/")[2])
            result = read_back(record.data, ToolResult)
            results[index] = ToolMessage(calls[index].id, calls[index].name, result.content, result.outcome)
        elif record.kind in ("input", "answer") or (record.kind == "model" and record.state == "finished"):
            messages += [results[index] for index in sorted(results)]
            results = {}
            if record.kind == "input":
                messages.append(UserMessage(read_content(record.data)))
            elif record.kind == "answer":  # given by a call
                answer = AssistantMessage(orjson.loads(record.data))
                messages += [] if messages[-1:] == [answer] else [answer]  # noted again by a resumed run
            else:
                turn = int(record.key.rpartition("/")[2])
                message = reply_message(read_back(record.data, Reply), record.run_id, turn)
                calls = message.tool_calls
                if calls or message.content:  # an empty reply was asked for again
                    messages.append(message)
    return messages + [results[index] for index in sorted(results)]


def gone_on(records: Iterable[Record], earlier: Sequence[Message] = ()) -> list[Message]:
    """The conversation that the next run goes on with, every call and prompt in it answered.

    A run whose conversation was made shorter stands for all that was before; the whole text stays in the record.

    Args:
        records: of a run.
        earlier: the conversation before it.

    Raises:
        JournalError: the record cannot be read.
    """
    records = list(records)
    shortened = [at for at, one in enumerate(records) if one.kind == "compaction" and one.state == "finished"]
    if shortened:
        earlier = read_back(records[shortened[-1]].data, Compaction).messages
        records = records[shortened[-1] + 1 :]
        return closed([*earlier, *from_records(records)])
    return [*earlier, *closed(from_records(records))]


def history_of(records: Iterable[Record]) -> list[Message]:
    """The conversation that a run was given to go on with, where it is recorded."""
    noted = next((record.data for record in records if record.kind == "history"), b"[]")
    return list(read_back(b'{"messages":%b}' % noted, _History).messages)


@dataclass(frozen=True, slots=True)
class _History:
    messages: tuple[Message, ...]


def read_content(data: bytes) -> Content:
    """A message's content as ``orjson`` wrote it."""
    value = orjson.loads(data)
    if isinstance(value, str):
        return value
    return read_back(orjson.dumps({"content": value}), UserMessage).content
