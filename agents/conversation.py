"""Conversations as data: from replies to messages, from a record back to messages, and closing what was left open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import orjson

from qianda.agents.journal import Record, read_back
from qianda.models.messages import AssistantMessage, Content, Message, ToolCall, ToolMessage, UserMessage
from qianda.models.reply import Reply
from qianda.tools.results import ToolResult

STOPPED = "(stopped by the user)"
UNKNOWN_OUTCOME = "This call was interrupted; whether it took effect is unknown. Check before you repeat it."


def reply_message(reply: Reply, turn: int) -> AssistantMessage:
    """A reply as a message; calls that could not be read stand in it as calls without arguments, to be answered."""
    broken = tuple(
        ToolCall(id=f"unreadable_{turn}_{index}", name=call.name or "unknown", arguments="{}")
        for index, call in enumerate(reply.broken)
    )
    return AssistantMessage(content=reply.text, reasoning=reply.reasoning, tool_calls=reply.calls + broken)


def unique_calls(reply: Reply, taken: set[str], turn: int) -> Reply:
    """The reply with call ids that the conversation has not used: some servers count from 0 in each reply."""
    if taken.isdisjoint(call.id for call in reply.calls):
        return reply
    return replace(reply, calls=tuple(replace(call, id=f"{call.id}_{turn}") for call in reply.calls))


def call_ids(messages: Iterable[Message]) -> set[str]:
    """The ids of all calls in a conversation."""
    return {call.id for message in messages if isinstance(message, AssistantMessage) for call in message.tool_calls}


def closed(messages: Iterable[Message]) -> list[Message]:
    """The conversation with an answer to every call and every prompt, so that the next prompt stands for itself."""
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
    if result and not isinstance(result[-1], AssistantMessage):
        result.append(AssistantMessage(content=STOPPED))
    return result


def from_records(records: Iterable[Record]) -> list[Message]:
    """The messages of one run, read back from its record.

    Raises:
        JournalError: the record cannot be read.
    """
    messages: list[Message] = []
    calls: tuple[ToolCall, ...] = ()
    results: dict[int, ToolMessage] = {}
    for record in records:
        if record.kind == "tool" and record.state == "finished":
            index = int(record.key.rpartition("/")[2])
            result = read_back(record.data, ToolResult)
            results[index] = ToolMessage(calls[index].id, calls[index].name, result.content, result.outcome)
        elif record.kind == "input" or (record.kind == "model" and record.state == "finished"):
            messages += [results[index] for index in sorted(results)]
            results = {}
            if record.kind == "input":
                messages.append(UserMessage(read_content(record.data)))
            else:
                message = reply_message(read_back(record.data, Reply), int(record.key.rpartition("/")[2]))
                calls = message.tool_calls
                messages.append(message)
    return messages + [results[index] for index in sorted(results)]


def read_content(data: bytes) -> Content:
    """A message's content as ``orjson`` wrote it."""
    value = orjson.loads(data)
    if isinstance(value, str):
        return value
    return read_back(orjson.dumps({"content": value}), UserMessage).content
