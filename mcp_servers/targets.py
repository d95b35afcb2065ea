"""What can be served: built-in toolsets by name, the tools of a Python file, and agents."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qianda.models.errors import ConfigurationError
from qianda.tools import TOOLSETS, Tool
from qianda.tools.named import tools_of_file

if TYPE_CHECKING:
    from qianda.agents.definition import AgentDefinition


def list_targets() -> dict[str, list[str]]:
    """The built-in toolsets that can be served, and the names of their tools."""
    return {name: [tool.name for tool in toolset()] for name, toolset in TOOLSETS.items()}


def load_targets(
    targets: Sequence[str],
    *,
    read_only: bool = False,
    agents: Sequence[str] = (),
    workspace: Path | None = None,
    options: dict[str, Any] | None = None,
    limits: Mapping[str, float] | None = None,
) -> list[Tool]:
    """The tools that some targets and agents stand for.

    Args:
        targets: names of built-in toolsets, and paths of Python files with ``@tool`` functions.
        read_only: leave out the tools that may change something; agents are then held to reading.
        agents: names of agents, and paths of their files; each is a tool ``ask_NAME``.
        workspace: the folder that agents work in.
        options: arguments for ``load_agent``.
        limits: agents have no more of each.

    Raises:
        ConfigurationError: a target is unknown, a file fails, two tools have one name, or no tool is left.
    """
    known = ", ".join(TOOLSETS)
    if not targets and not agents:
        raise ConfigurationError("There is nothing to serve", cure=f"Name {known}, a Python file or an --agent")
    tools: dict[str, Tool] = {}
    for target in dict.fromkeys(targets):
        if target in TOOLSETS:
            found = TOOLSETS[target]()
        elif target.endswith(".py") or os.sep in target:
            found = tools_of_file(Path(target))
        else:
            raise ConfigurationError(
                f"There is nothing called {target!r} to serve", cure=f"It is {known} or a .py file"
            )
        _add(tools, found, target)
    kept = {name: tool for name, tool in tools.items() if tool.read_only or not read_only}
    for agent in dict.fromkeys(agents):
        found = _agent_tool(agent, workspace or Path.cwd(), options or {}, limits or {}, read_only=read_only)
        _add(kept, [found], agent)
    if not kept:
        raise ConfigurationError(
            f"No tool of {', '.join(targets)} only reads, so nothing is left to serve",
            cure="Mark those that do with @tool(read_only=True), or leave --read-only out",
        )
    return list(kept.values())


def presets(workspace: Path) -> list[AgentDefinition]:
    """The agents whose instructions are offered as prompts: all that may be used here."""
    from qianda.agents.definition import read_definition
    from qianda.agents.library import list_agents

    listed = [agent for agent in list_agents(workspace) if not agent.problem]
    return [read_definition(agent.path, agent.source) for agent in listed]


def _add(tools: dict[str, Tool], found: Sequence[Tool], where: str) -> None:
    for tool in found:
        if tool.name in tools:
            raise ConfigurationError(f"Two tools to serve are called {tool.name}; the second is in {where}")
        tools[tool.name] = tool


def _agent_tool(
    name: str, workspace: Path, options: dict[str, Any], limits: Mapping[str, float], *, read_only: bool
) -> Tool:
    from qianda.agents.library import find_agent
    from qianda.agents.loading import load_agent, lowered
    from qianda.mcp_servers.agent_tool import AgentTool

    found = lowered(find_agent(name, workspace), limits)
    if read_only:
        options = {**options, "permissions": "read-only"}
    safe = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in found.name)
    return AgentTool(
        name=f"ask_{safe}"[:64],
        agent=load_agent(found, workspace=workspace, **options),
        description=found.description or f"Give the agent {found.name} a task, and get its answer",
        read_only=read_only,
        destructive=not read_only,
        open_world=True,
    )
