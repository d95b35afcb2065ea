"""Several agents in one conversation: handed over from one to another, or talking in a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from qianda.agents.run import Run
from qianda.models.errors import ConfigurationError
from qianda.models.messages import Message, ToolSchema, Usage
from qianda.tools.context import Context
from qianda.tools.results import ToolResult
from qianda.tools.tool import Tool
from qianda.tools.validation import parse_arguments

if TYPE_CHECKING:
    from qianda.agents.agent import Agent

Chosen = Callable[[Sequence["Said"], Sequence[str]], Awaitable[str | None] | str | None]
Policy = Literal["round_robin", "by_name", "by_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamResult:
    """What came of a conversation of several agents.

    Args:
        output: the answer.
        speaker: who gave it.
        messages: the conversation, fit to be ``history`` of the next.
        usage: tokens of all.
        path: who was in charge, in order.
    """

    output: str
    speaker: str
    messages: tuple[Message, ...]
    usage: Usage
    path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _HandOver(Tool):
    """Ends the run, and says who goes on."""

    to: Mapping[str, str]
    chosen: dict[str, str]
    name: str = "hand_over"
    read_only: bool = True
    consent: bool = True
    parallel: bool = False

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters."""
        who = "\n".join(f"- {name}: {description}" for name, description in self.to.items())
        agent = {"type": "string", "enum": list(self.to), "description": "Who goes on"}
        reason = {"type": "string", "description": "What they should do, and what they cannot see above"}
        parameters = {"type": "object", "properties": {"agent": agent, "reason": reason}, "required": ["agent"]}
        return ToolSchema(self.name, f"Hand the conversation over to who is better for it:\n{who}", parameters)

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse the arguments."""
        return parse_arguments(self.name, text, self.schema.parameters, extra=False)

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Note who goes on, and stop."""
        self.chosen.update(agent=arguments["agent"], reason=arguments.get("reason") or "")
        run, _ = cast("tuple[Run[Any], object]", context.caller)
        run.cancel()
        return ToolResult(f"handed over to {arguments['agent']}")


@dataclass(frozen=True, kw_only=True)
class Router:
    """Agents that hand a conversation over to each other.

    Args:
        agents: by name, each with what it is good for; the first begins.
        handovers: how often it may be handed over in one run.
    """

    agents: Mapping[str, tuple[Agent[Any], str]]
    handovers: int = 5

    async def run(self, prompt: str, *, history: Sequence[Message] = (), first: str | None = None) -> TeamResult:
        """Run until one of them answers.

        Args:
            prompt: what the user says.
            history: the conversation so far.
            first: who begins; the ``speaker`` of the result before, say.

        """
        path, usage = [first or next(iter(self.agents))], Usage()
        while True:
            name, chosen = path[-1], dict[str, str]()
            others = {other: said for other, (_, said) in self.agents.items() if other != name}
            more = [_HandOver(to=others, chosen=chosen)] if others and len(path) <= self.handovers else []
            async with self.agents[name][0].with_tools(more).stream(prompt, history=history) as run:
                async for _ in run:
                    pass
            result = run.result
            usage += result.usage
            if not chosen:
                return TeamResult(
                    output=str(result.output), speaker=name, messages=result.messages, usage=usage, path=tuple(path)
                )
            path.append(chosen["agent"])
            history, prompt = result.messages, f"(You go on with this conversation. {chosen['reason']})"


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody said in a group."""

    speaker: str
    text: str


@dataclass(kw_only=True)
class GroupChat:
    """Agents that talk in turns, each with its own view of what was said.

    Args:
        agents: by name.
        policy: who speaks next: ``round_robin``; ``by_name``: who was named last, else the next in turn; ``by_model``:
            whom ``chooser`` names; or a function from what was said and the names to a name, or None to end.
        chooser: the agent that names the next speaker.
        turns: how often somebody speaks, in all.
        until: ends the talk when it stands in what was said.
    """

    agents: Mapping[str, Agent[Any]]
    policy: Policy | Chosen = "round_robin"
    chooser: Agent[Any] | None = None
    turns: int = 8
    until: str = "[done]"
    said: list[Said] = field(default_factory=list[Said])
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        if self.policy == "by_model" and self.chooser is None:
            raise ConfigurationError('policy="by_model" needs somebody who chooses', cure="Give chooser=Agent(…)")

    async def run(self, prompt: str, *, name: str = "user") -> list[Said]:
        """Say something to the group, and let it talk; what was said by it."""
        self.said.append(Said(name, prompt))
        begin = len(self.said)
        heard: dict[str, int] = {}
        histories: dict[str, tuple[Message, ...]] = {}
        for _ in range(self.turns):
            speaker = await self._next()
            if speaker is None:
                break
            new = [said for said in self.said[heard.get(speaker, 0) :] if said.speaker != speaker]
            told = "\n\n".join(f"{said.speaker}: {said.text}" for said in new) or "(go on)"
            result = await self.agents[speaker].run(
                f"You are {speaker}, in a group of {', '.join(self.agents)}.\n\n{told}"
                if speaker not in heard
                else told,
                history=histories.get(speaker, ()),
            )
            self.usage += result.usage
            histories[speaker] = result.messages
            self.said.append(Said(speaker, str(result.output)))
            heard[speaker] = len(self.said)
            if self.until in self.said[-1].text:
                break
        return self.said[begin:]

    async def _next(self) -> str | None:
        names = list(self.agents)
        last = self.said[-1]
        if callable(self.policy):
            chosen = self.policy(self.said, names)
            return await chosen if isinstance(chosen, Awaitable) else chosen
        if self.policy == "by_model" and self.chooser is not None:
            talk = "\n\n".join(f"{said.speaker}: {said.text}" for said in self.said[-20:])
            ask = f"{talk}\n\nWho speaks next: {', '.join(names)}? Answer with the name alone, or with nobody."
            result = await self.chooser.run(ask)
            self.usage += result.usage
            return _named(str(result.output), names)
        if self.policy == "by_name" and (name := _named(last.text, [name for name in names if name != last.speaker])):
            return name
        return names[(names.index(last.speaker) + 1) % len(names)] if last.speaker in names else names[0]


def _named(text: str, names: Sequence[str]) -> str | None:
    """The name that stands last in a text."""
    places = {name: text.casefold().rfind(name.casefold()) for name in names}
    best = max(places, key=lambda name: places[name], default=None)
    return best if best is not None and places[best] >= 0 else None
