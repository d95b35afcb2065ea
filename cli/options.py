"""The options that several commands share, and what is chosen by those of commands that run an agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from qianda.cli.opening import Choices, open_workspace

if TYPE_CHECKING:
    from qianda.models.thinking import Thinking

Permissions = Literal["read-only", "ask", "edits", "auto"]
Host = Literal["claude-desktop", "cursor", "vscode", "qwen-code", "qwen-agent"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


def _agent_names(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from qianda.agents.library import list_agents

    names = dict.fromkeys(agent.name for agent in list_agents(Path.cwd()) if not agent.problem)
    return [name for name in names if name.startswith(incomplete)]


def _tool_names(incomplete: str) -> list[str]:
    from qianda.tools import TOOLSETS

    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in TOOLSETS if name.startswith(last)]


AgentOption = Annotated[
    str | None,
    typer.Option(
        "--agent",
        metavar="NAME|FILE",
        help="Agent to use; qianda agents lists them.",
        autocompletion=_agent_names,
    ),
]
AgentArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="Name or file of the agent.", autocompletion=_agent_names)
]
ToolsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tools",
        metavar="NAME[,NAME]",
        help="More tools: python, web, documents …, read_file …, or a Python file; repeatable.",
        autocompletion=_tool_names,
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server", metavar="URL|NAME", help="Model server: an address, ollama, vllm, modelstudio, embedded …"
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Model at that server, or a .gguf file to run in this process."),
]
KeyOption = Annotated[
    str | None, typer.Option("--api-key-env", metavar="VARIABLE", help="Environment variable that holds the API key.")
]
ThinkingOption = Annotated[
    bool | None, typer.Option("--thinking/--no-thinking", help="Let the model think first, or not.", show_default=False)
]
EffortOption = Annotated[
    Effort | None, typer.Option("--effort", help="How hard it thinks, for models that have levels.", show_default=False)
]
BudgetOption = Annotated[
    int | None, typer.Option("--thinking-budget", min=1, metavar="N", help="Tokens of thinking at most in one reply.")
]
PermissionsOption = Annotated[
    Permissions | None, typer.Option("--permissions", help="What tools may do unasked.", show_default=False)
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="RULE", help="Let more run unasked, such as 'run_command(pytest *)'; repeatable."),
]
YesOption = Annotated[bool, typer.Option("--yes", help="The same as --permissions auto.")]
UnaskedOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
RecordedArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Name of a session or run, its beginning or end, or last.")
]
SandboxOption = Annotated[
    bool | None,
    typer.Option(
        "--sandbox/--no-sandbox", help="Run commands in a sandbox or not at all; or without one.", show_default=False
    ),
]
NetworkOption = Annotated[
    bool | None,
    typer.Option("--network/--no-network", help="Let commands in the sandbox use the network.", show_default=False),
]
MCPOption = Annotated[
    list[str] | None, typer.Option("--mcp", metavar="COMMAND", help="MCP server to take tools from; repeatable.")
]
FolderOption = Annotated[str, typer.Option("--cwd", metavar="DIR", help="Folder to work in.")]
SessionOption = Annotated[
    str | None, typer.Option("--session", metavar="NAME", help="Conversation to go on with, or to begin.")
]
JSONOption = Annotated[bool, typer.Option("--json", help="Write JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show the answer only.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show whole arguments, results and token counts.")]
ContinueOption = Annotated[bool, typer.Option("--continue", help="Go on with the last conversation of this folder.")]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="Have the model plan first; nothing is changed until you accept its plan.")
]
TurnsOption = Annotated[
    int | None, typer.Option("--max-turns", min=1, metavar="N", help="Model replies at most; 50 by default.")
]
CallsOption = Annotated[
    int | None, typer.Option("--max-tool-calls", min=1, metavar="N", help="Tool calls at most; 200 by default.")
]
TokensOption = Annotated[
    int | None, typer.Option("--max-tokens", min=1, metavar="N", help="Tokens at most, of all requests together.")
]
CostOption = Annotated[
    float | None, typer.Option("--max-cost", min=0, metavar="USD", help="Cost at most, by Model Studio's prices.")
]
SecondsOption = Annotated[
    float | None, typer.Option("--max-seconds", min=0, metavar="N", help="Time at most, questions to you included.")
]
RecordOption = Annotated[
    bool | None,
    typer.Option("--record/--no-record", help="Record this, or do not.", show_default=False),
]

LIMITS = ("max_turns", "max_tool_calls", "max_tokens", "max_cost", "max_seconds")
_SHARED: dict[str, tuple[Any, Any]] = {  # in the order of the help, with what counts as not given
    "agent": (AgentOption, None),
    "tools": (ToolsOption, None),
    "server": (ServerOption, None),
    "model": (ModelOption, None),
    "api_key_env": (KeyOption, None),
    "thinking": (ThinkingOption, None),
    "effort": (EffortOption, None),
    "thinking_budget": (BudgetOption, None),
    "permissions": (PermissionsOption, None),
    "yes": (YesOption, False),
    "allow": (AllowOption, None),
    "sandbox": (SandboxOption, None),
    "network": (NetworkOption, None),
    "mcp": (MCPOption, None),
    "cwd": (FolderOption, "."),
    "session": (SessionOption, None),
    "go_on": (ContinueOption, False),
    "record": (RecordOption, None),
    "plan": (PlanOption, False),
    "max_turns": (TurnsOption, None),
    "max_tool_calls": (CallsOption, None),
    "max_tokens": (TokensOption, None),
    "max_cost": (CostOption, None),
    "max_seconds": (SecondsOption, None),
}


@dataclass(frozen=True)
class Chosen:
    """What was chosen by the shared options.

    Args:
        given: the values, by the names of ``_SHARED``; None for one that the command does not have.
    """

    given: dict[str, Any]

    def __bool__(self) -> bool:
        return any(value not in (_SHARED[name][1], []) for name, value in self.given.items())

    def choices(self, workspace: Path | None = None) -> Choices:
        """What an agent is made of.

        Args:
            workspace: the folder; else that of ``--cwd``.

        Raises:
            BadParameter: options contradict each other.
            ConfigurationError: there is no such folder.
        """
        given = self.given.get
        limits = {name.removeprefix("max_"): value for name in LIMITS if (value := given(name)) is not None}
        return Choices(
            **{name: given(name) for name in ("agent", "server", "model", "api_key_env", "sandbox", "network")},
            tools=tuple(name.strip() for option in given("tools") or () for name in option.split(",") if name.strip()),
            thinking=self._thinking(),
            permissions=self._permissions(),
            allow=tuple(given("allow") or ()),
            mcp=tuple(given("mcp") or ()),
            workspace=workspace or open_workspace(given("cwd") or "."),
            plan=given("plan") or False,
            limits=limits,
            record=self._record(),
        )

    def session(self, workspace: Path) -> str | None:
        """The conversation to go on with: the named one, or the last one of the folder.

        Raises:
            BadParameter: both were asked for.
            ConfigurationError: there is none.
        """
        if not self.given["go_on"]:
            return self.given["session"]
        if self.given["session"] is not None:
            raise typer.BadParameter("--session and --continue contradict each other")
        from qianda.cli.sessions import last_session

        return last_session(workspace)

    def _permissions(self) -> Permissions | None:
        permissions, yes = self.given["permissions"], self.given.get("yes")
        if yes and permissions not in (None, "auto"):
            raise typer.BadParameter(f"--yes and --permissions {permissions} contradict each other")
        return "auto" if yes else permissions

    def _record(self) -> bool | None:
        """None leaves it to the settings; what goes on with a conversation is recorded."""
        record, session = self.given.get("record"), self.given.get("go_on") or self.given.get("session") is not None
        if session and record is False:
            raise typer.BadParameter("--no-record goes with neither --session nor --continue")
        return session or record

    def _thinking(self) -> Thinking | bool | None:
        enabled, effort, budget = map(self.given.get, ("thinking", "effort", "thinking_budget"))
        if effort is None and budget is None:
            return enabled
        from qianda.models.thinking import Thinking

        return Thinking(budget=budget, effort=effort, enabled=enabled is not False)


def with_shared_options(*without: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the shared options, which it gets as its parameter ``chosen``, where that stands.

    Args:
        without: names of those that it does not have.
    """
    shared = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=option)
        for name, (option, default) in _SHARED.items()
        if name not in without
    ]

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @wraps(command)
        def called(**given: Any) -> int:
            chosen = Chosen({option.name: given.pop(option.name) for option in shared})
            return command(**given, chosen=chosen)

        whole = signature(command, eval_str=True)
        own = whole.parameters.values()
        listed = [one for found in own for one in (shared if found.name == "chosen" else [found])]
        # Both are what typer reads.
        called.__dict__["__signature__"] = whole.replace(parameters=listed)
        called.__annotations__ = {one.name: one.annotation for one in listed}
        return called

    return decorate
