"""What fills the model's window: the tokens of the next prompt, part by part."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qianda.agents.compaction import last_user, message_media
from qianda.models.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolMessage,
    ToolSchema,
    UserMessage,
    content_text,
)
from qianda.models.tokens import count_request, count_text
from qianda.models.wire import tool_body

if TYPE_CHECKING:
    from qianda.agents.agent import Agent
    from qianda.agents.resources import Resources
    from qianda.models.family import Family

PartName = Literal[
    "instructions", "memory", "tools", "mcp", "user", "assistant", "reasoning", "results", "media", "template"
]


@dataclass(frozen=True, slots=True)
class Portion:
    """One part of the prompt.

    Args:
        name: which: ``memory`` are the files of instructions that the folder brought, ``template`` what the server
            puts around all of it.
        tokens: of it, by the model's vocabulary.
        of: names and tokens of what it consists of, the largest first, where that tells something.
    """

    name: PartName
    tokens: int
    of: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class ContextUse:
    """What fills the window.

    Args:
        portions: in the order of the prompt; those without tokens too.
        window: tokens of the window, or None where it is not known.
        reserve: tokens that are kept free for the reply.
        exact: whether the vocabulary is the model's own.
    """

    portions: tuple[Portion, ...]
    window: int | None
    reserve: int
    exact: bool

    @property
    def tokens(self) -> int:
        """The whole prompt."""
        return sum(portion.tokens for portion in self.portions)

    @property
    def free(self) -> int:
        """What is left until the conversation is made shorter."""
        return max((self.window or 0) - self.reserve - self.tokens, 0)


async def context_use(agent: Agent[Any], messages: Sequence[Message]) -> ContextUse:
    """Measure what the next prompt consists of; no model is asked.

    Args:
        agent: its instructions, tools, MCP servers and model.
        messages: the conversation so far, without the instructions.
    """
    async with agent.opened() as resources:
        return await asyncio.to_thread(_measured, resources, list(messages))


def _measured(resources: Resources, messages: list[Message]) -> ContextUse:
    from qianda.agents.memory import memory_files, memory_text

    client = resources.client
    family, window = client.family, client.window
    instructions = resources.instructions
    files = memory_files(resources.workspace)
    memory = memory_text(files)
    memory = memory if memory and memory in instructions else ""
    served = [schema for schema in resources.schemas if schema.name.startswith("mcp__")]
    own = [schema for schema in resources.schemas if schema not in served]
    resent = bool(client.endpoint.kind.reasoning)
    portions = [
        Portion("instructions", _count(instructions.replace(memory, "") if memory else instructions, family)),
        Portion(
            "memory",
            _count(memory, family),
            _of(((str(f.path), f.text) for f in files if memory and f.trusted), family),
        ),
        _tools("tools", own, family),
        _tools("mcp", served, family),
        *_conversation(messages, family, resent=resent),
    ]
    system = [SystemMessage(instructions)] if instructions else []
    whole = count_request([*system, *messages], resources.schemas, family).tokens
    portions.append(Portion("template", max(whole - sum(portion.tokens for portion in portions), 0)))
    reserve = client.room(window) + window // 50 if window else 0
    return ContextUse(tuple(portions), window, reserve, count_text("", family).exact)


def _tools(name: Literal["tools", "mcp"], schemas: Sequence[ToolSchema], family: Family) -> Portion:
    of = _of(((schema.name, json.dumps(tool_body(schema), ensure_ascii=False)) for schema in schemas), family)
    return Portion(name, sum(tokens for _, tokens in of), of)


def _conversation(messages: Sequence[Message], family: Family, *, resent: bool) -> Iterable[Portion]:
    said = [content_text(one.content) for one in messages if isinstance(one, UserMessage)]
    replies = [one for one in messages if isinstance(one, AssistantMessage)]
    written = [text for one in replies for text in (one.content, *(f"{c.name} {c.arguments}" for c in one.tool_calls))]
    seen = -1 if family.preserve else last_user(messages)
    thoughts = [
        one.reasoning for at, one in enumerate(messages) if resent and at > seen and isinstance(one, AssistantMessage)
    ]
    results = _of(((one.name, content_text(one.content)) for one in messages if isinstance(one, ToolMessage)), family)
    yield Portion("user", _count("\n".join(said), family))
    yield Portion("assistant", _count("\n".join(written), family))
    yield Portion("reasoning", _count("\n".join(thoughts), family))
    yield Portion("results", sum(tokens for _, tokens in results), results)
    yield Portion("media", sum(message_media(one, family) for one in messages))


def _of(texts: Iterable[tuple[str, str]], family: Family) -> tuple[tuple[str, int], ...]:
    counted = [(name, _count(text, family)) for name, text in texts]
    return tuple(sorted(counted, key=lambda pair: -pair[1]))


def _count(text: str, family: Family) -> int:
    return count_text(text, family).tokens if text else 0
