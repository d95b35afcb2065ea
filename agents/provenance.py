"""Whose words a call acts on: the user's, or what tools brought into the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from qianda.agents.compaction import SUMMARY, whole_text
from qianda.models.messages import AssistantMessage, Message, ToolMessage, UserMessage, content_text
from qianda.tools.effects import Effects
from qianda.tools.kept import Kept
from qianda.tools.permissions.commands import Command
from qianda.tools.permissions.readers import is_steering
from qianda.tools.provenance import Carried, Kind, Provenance, Scope, Source
from qianda.tools.tool import Tool

if TYPE_CHECKING:
    from qianda.agents.resources import Resources

_BUILT_IN = "built-in"
_LONGEST_LABEL = 60
NOBODY_TO_AGREE = (
    "nobody is there to agree to it. Name the value in the request, allow the tool by a rule, or run it where someone "
    "can be asked"
)


class Origins:
    """Whose words are whose in one run; reads the conversation only when a call is judged.

    Args:
        outer: those of the run that began this one, whose model wrote the prompt of this one.
    """

    def __init__(self, outer: Origins | None = None) -> None:
        self._provenance = Provenance() if outer is None else outer._provenance  # noqa: SLF001 - of the same class
        self._user_speaks = outer is None
        self._read = 0
        self._calls: dict[str, tuple[str, str]] = {}

    def carried(
        self,
        tool: Tool,
        arguments: dict[str, Any],
        effects: Effects,
        *,
        conversation: Sequence[Message],
        resources: Resources,
        kept: Kept,
    ) -> Carried | None:
        """What of a call's values is not the user's and has to be asked about, if anything.

        Args:
            tool: what is called.
            arguments: its validated arguments.
            effects: what they would touch.
            conversation: all that was said up to the call.
            resources: the tools that were called in it.
            kept: the results that were put away in earlier runs.
        """
        workspace = resources.permissions.workspace
        scope = _scope(tool, effects, workspace)
        if scope is None:
            return None
        self.follow(conversation, resources, kept)
        carried = self._provenance.carried(arguments, tool.schema.parameters, scope)
        if carried is not None and effects.command and _only_looks(effects.command, workspace):
            return None
        return carried

    def follow(self, conversation: Sequence[Message], resources: Resources, kept: Kept) -> None:
        """Take in what was said since the last time."""
        for message in conversation[self._read :]:
            if isinstance(message, AssistantMessage):
                self._calls.update({call.id: (call.name, call.arguments) for call in message.tool_calls})
                if message.content.startswith(SUMMARY):  # of an earlier run: results that nobody has heard here
                    self._provenance.hear(Source("the summary of the conversation", message.content, "other"))
            elif isinstance(message, ToolMessage):
                self._hear(message, resources.find(message.name), kept)
            elif self._user_speaks or not isinstance(message, UserMessage):
                self._provenance.say(content_text(message.content))
        self._read = len(conversation)

    def shortened(self, length: int) -> None:
        """The conversation was made shorter, to so many messages; what was in it is known already."""
        self._read = length

    def agree(self, arguments: dict[str, Any]) -> None:
        """The user has agreed to a call with these arguments."""
        self._provenance.agree(arguments)

    def _hear(self, message: ToolMessage, tool: Tool | None, kept: Kept) -> None:
        if message.outcome == "denied":
            return  # our own words, or the user's
        name, arguments = self._calls.get(message.call_id, (message.name, ""))
        text = whole_text(message, kept)
        kind = _kind(tool, arguments)
        if kind == "user":
            self._provenance.say(text)
        elif kind is not None:
            self._provenance.hear(Source(_label(name, arguments), text, kind))


def _scope(tool: Tool, effects: Effects, workspace: Path) -> Scope | None:
    """What of a call's values is judged; None for a call that changes nothing outside the workspace."""
    if tool.read_only:
        return "addresses" if tool.open_world or effects.urls else None
    if effects.command or (tool.origin == _BUILT_IN and not effects.writes and not effects.urls):
        return "command"
    if effects.writes and not (tool.open_world or effects.urls):
        places = [(workspace / Path(path).expanduser()).resolve() for path in effects.writes]
        inside = all(workspace in place.parents for place in places)
        if inside and not any(is_steering(place.relative_to(workspace)) for place in places):
            return None  # it can be undone, and what runs there is judged when it runs
    return "all"


def _kind(tool: Tool | None, arguments: str) -> Kind | Literal["user"] | None:
    """What a result is: the user's words, a source, or nothing (None): what our own tools know by themselves."""
    if tool is None or tool.origin != _BUILT_IN:
        return "other"
    if tool.name == "ask_user":
        return "user"
    if tool.name in ("calculator", "current_time"):
        return None
    try:
        effects = tool.effects(orjson.loads(arguments))
    except Exception:
        return "other"
    if tool.read_only and effects.reads:
        return "workspace"
    return "search" if tool.read_only and tool.open_world and not effects.urls else "other"


def _label(name: str, arguments: str) -> str:
    short = " ".join(arguments.split())
    return f"{name} {short if len(short) <= _LONGEST_LABEL else short[: _LONGEST_LABEL - 1] + '…'}"


def _only_looks(text: str, workspace: Path) -> bool:
    command = Command(text, workspace)
    writes = any(redirection.writes for redirection in command.redirections())
    return not command.unclear and not writes and not command.covered(())[1]
