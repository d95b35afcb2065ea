"""Commands that are not of the program: custom ones, skills, and the prompts of MCP servers."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from qianda.agents.custom_commands import list_commands
from qianda.agents.skills import list_skills
from qianda.models.errors import ToolError
from qianda.models.messages import Content, Message, Part, TextPart, UserMessage, content_text
from qianda.tui.prompt.draft import Draft
from qianda.tui.words import t

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from qianda.tools.mcp import MCPToolset
    from qianda.tools.mcp.offers import Offer
    from qianda.tui.chat import Chat


async def expanded(chat: Chat, word: str, draft: Draft, argument: str) -> Draft | None:
    """The prompt that a command stands for, or None when there is no such command.

    Args:
        chat: whose workspace and servers.
        word: the command's name.
        draft: what was written.
        argument: what stands behind the name.

    Raises:
        ToolError: the MCP server does not give the prompt.
    """
    for command in await asyncio.to_thread(list_commands, chat.workspace):
        if command.name == word:
            return replace(draft, text=command.filled_in(argument))
    for skill in await asyncio.to_thread(list_skills, chat.workspace):
        if skill.name == word and not skill.problem:
            return replace(draft, text=f"Use the skill {word}. {argument}".strip())
    server, colon, name = word.partition(":")
    if not colon or chat.agent is None:
        return None
    for offer in await offered_prompts(chat):
        if (offer.server, offer.name) == (server, name):
            return await _prompt(chat, offer, draft, argument)
    return None


@asynccontextmanager
async def _servers(chat: Chat) -> AsyncGenerator[MCPToolset | None]:
    """The MCP servers of the chat's agent, if it has any."""
    if chat.agent is None:
        yield None
        return
    async with chat.agent.opened() as resources:
        yield resources.mcp


async def offered_prompts(chat: Chat) -> list[Offer]:
    """The prompts of the MCP servers that run.

    Raises:
        ToolError: a server failed.
    """
    async with _servers(chat) as mcp:
        if mcp is None:
            return []
        from qianda.tools.mcp.offers import list_prompts

        return await list_prompts(mcp)


async def offered_resources(chat: Chat) -> list[Offer]:
    """The resources of the MCP servers that run.

    Raises:
        ToolError: a server failed.
    """
    async with _servers(chat) as mcp:
        if mcp is None:
            return []
        from qianda.tools.mcp.offers import list_resources

        return [offer for offer in await list_resources(mcp) if offer.kind == "resource"]


async def _prompt(chat: Chat, offer: Offer, draft: Draft, argument: str) -> Draft:
    """The prompt of a server, with its arguments."""
    from qianda.tools.mcp.offers import get_prompt

    arguments = read_arguments(offer, argument)
    async with _servers(chat) as mcp:
        assert mcp is not None
        messages = await get_prompt(mcp, offer.server, offer.name, arguments)
    return replace(draft, content=_content(messages))


async def argument_values(chat: Chat, offer: Offer, name: str, value: str, given: dict[str, str]) -> list[str]:
    """What an argument of a prompt could be, as its server says.

    Raises:
        ToolError: the server failed.
    """
    async with _servers(chat) as mcp:
        if mcp is None:
            return []
        from qianda.tools.mcp.offers import complete

        return await complete(mcp, offer, name, value, given)


def read_arguments(offer: Offer, text: str) -> dict[str, str]:
    """The arguments of a prompt: ``name=value``, in quotes where it has spaces; the only one also without its name.

    Raises:
        ToolError: one is missing or unknown.
    """
    names = [name for name, _ in offer.arguments]
    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    pairs = [word.partition("=") for word in words]
    if len(names) == 1 and words and pairs[0][0] != names[0]:
        return {names[0]: text}
    given = {name: value for name, equals, value in pairs if equals}
    wrong = [word for word, (name, equals, _) in zip(words, pairs, strict=True) if not equals or name not in names]
    missing = [name for name, needed in offer.arguments if needed and name not in given]
    if wrong or missing:
        raise ToolError(t("write {arguments}", arguments=" ".join(f"{name}=…" for name in names) or t("no arguments")))
    return given


def _content(messages: list[Message]) -> Content:
    """Messages as one prompt."""
    parts: list[Part] = []
    for message in messages:
        if isinstance(message, UserMessage) and not isinstance(message.content, str):
            parts += message.content
        else:
            said = content_text(message.content)
            parts.append(TextPart(said if isinstance(message, UserMessage) else f"[{message.role}] {said}"))
    if all(isinstance(part, TextPart) for part in parts):
        return "\n\n".join(part.text for part in parts if isinstance(part, TextPart))
    return tuple(parts)
