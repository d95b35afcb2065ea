"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

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


def chosen_permissions(permissions: Permissions | None, *, yes: bool) -> Permissions | None:
    """The mode that was asked for, by one of its options.

    Raises:
        BadParameter: by both, and they differ.
    """
    if yes and permissions not in (None, "auto"):
        raise typer.BadParameter(f"--yes and --permissions {permissions} contradict each other")
    return "auto" if yes else permissions


def chosen_session(session: str | None, workspace: Path, *, go_on: bool) -> str | None:
    """The conversation to go on with: the named one, or the last one of the folder.

    Raises:
        BadParameter: both were asked for.
        ConfigurationError: there is none.
    """
    if not go_on:
        return session
    if session is not None:
        raise typer.BadParameter("--session and --continue contradict each other")
    from qianda.cli.sessions import last_session

    return last_session(workspace)


def chosen_record(record: bool | None, *, session: bool) -> bool | None:
    """Whether to record; None leaves it to the settings. What goes on with a conversation is recorded.

    Raises:
        BadParameter: it should not be.
    """
    if session and record is False:
        raise typer.BadParameter("--no-record goes with neither --session nor --continue")
    return session or record


def chosen_thinking(thinking: bool | None, effort: Effort | None, budget: int | None) -> Thinking | bool | None:
    """How much thinking was asked for; None leaves it to the settings."""
    if effort is None and budget is None:
        return thinking
    from qianda.models.thinking import Thinking

    return Thinking(budget=budget, effort=effort, enabled=thinking is not False)


def chosen_limits(**limits: float | None) -> dict[str, float]:
    """Those of the run's limits that were given."""
    return {name: limit for name, limit in limits.items() if limit is not None}
