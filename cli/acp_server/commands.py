"""Slash commands of a session: skills, and prompts of MCP servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acp.schema import AvailableCommand, AvailableCommandInput, UnstructuredCommandInput

from qianda.agents.skills import list_skills
from qianda.models.messages import Content, TextPart, UserMessage, content_text
from qianda.tools.mcp.offers import Offer, get_prompt, list_prompts

if TYPE_CHECKING:
    from qianda.agents.agent import Agent


class Commands:
    """The commands of one session."""

    def __init__(self) -> None:
        self._prompts: dict[str, Offer] = {}

    async def find_prompts(self, agent: Agent) -> bool:
        """Ask the MCP servers for their prompts; whether there are any.

        Raises:
            QiandaError: a server does not answer.
        """
        if agent.mcp_servers:
            async with agent.opened() as resources:
                offers = await list_prompts(resources.mcp) if resources.mcp else []
                self._prompts = {f"{offer.server}:{offer.name}": offer for offer in offers}
        return bool(self._prompts)

    def known(self, agent: Agent) -> list[AvailableCommand]:
        """The commands."""
        found = [_command(name, about, "what to do") for name, about in _skills(agent).items()]
        for name, offer in self._prompts.items():
            hint = " ".join(f"{argument}=…" for argument, _ in offer.arguments)
            found.append(_command(name, offer.description or offer.title or name, hint))
        return found

    async def meant(self, agent: Agent, content: Content) -> Content:
        """A prompt as the model gets it: itself, unless it begins with a command.

        Raises:
            QiandaError: the prompt of a server cannot be had.
        """
        word, _, rest = content_text(content).partition(" ")
        name, word = word.removeprefix("/"), word[:1]
        if word == "/" and name in _skills(agent):
            told = f"Read the skill {name} with read_skill, then do what it is for. {rest}".strip()
            return told if isinstance(content, str) else (TextPart(told), *content[1:])
        offer = self._prompts.get(name) if word == "/" else None
        if offer is None:
            return content
        parts = [each.partition("=") for each in rest.split() if "=" in each]
        given = {key: value for key, _, value in parts}
        if rest and not given and offer.arguments:
            given = {offer.arguments[0][0]: rest}
        async with agent.opened() as resources:
            assert resources.mcp is not None  # it made the offer
            messages = await get_prompt(resources.mcp, offer.server, offer.name, given)
        return next((each.content for each in reversed(messages) if isinstance(each, UserMessage)), content)


def _skills(agent: Agent) -> dict[str, str]:
    found = list_skills(agent.workspace) if "read_skill" in agent.tools else []
    return {skill.name: skill.description for skill in found if not skill.problem}


def _command(name: str, description: str, hint: str) -> AvailableCommand:
    shown = AvailableCommandInput(root=UnstructuredCommandInput(hint=hint)) if hint else None
    return AvailableCommand(name=name, description=description, input=shown)
