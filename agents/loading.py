"""From an agent's file to an agent."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from qianda.agents.agent import Agent
from qianda.agents.definition import AgentDefinition
from qianda.agents.library import find_agent
from qianda.agents.limits import Limits
from qianda.models.config import PERMISSION_MODES, PermissionMode
from qianda.models.errors import ConfigurationError
from qianda.models.resolve import Endpoint
from qianda.tools.builtin import core_tools
from qianda.tools.function_tool import as_tool
from qianda.tools.named import python_file, tools_named
from qianda.tools.permissions import Rules
from qianda.tools.tool import Tool


def load_agent(
    agent: str | Path | AgentDefinition,
    *,
    workspace: str | Path = ".",
    tools: Sequence[Tool | Callable[..., Any]] = (),
    permissions: PermissionMode | Rules = "ask",
    limits: Limits | None = None,
    **options: Any,
) -> Agent[Any]:
    """An agent from a file: ``load_agent("coder")``, ``load_agent("reviewer.toml")``.

    Args:
        agent: a name (``qianda agents`` lists them), the path of a ``.toml`` file, or what ``find_agent`` gave.
        workspace: the folder to work in; its own agents are used once it is trusted.
        tools: tools besides those of the file.
        permissions: those of the user; the file can only tighten them, but for an agent of the user's own that says
            ``loosen = true``.
        limits: bounds of the user; the file can only lower them.
        options: more arguments of ``Agent``; they win over the file's.

    Raises:
        ConfigurationError: there is no such agent, its file is wrong, it comes with a folder that is not trusted, or a
            tool of it cannot be loaded.
    """
    folder = Path(workspace).resolve()
    found = agent if isinstance(agent, AgentDefinition) else find_agent(agent, folder)
    rules, refused = agent_rules(found, permissions)
    server = options.get("server")
    demo = isinstance(server, Endpoint) and server.demo
    if demo and found.source != "built-in":
        refused.append(f"The demo model can use its own few tools only, not the agent {found.name}")
    # The demo model gets the tools that it was trained on, at their trained wording, and no instructions.
    own = core_tools() if demo else agent_tools(found)
    told = "" if demo else instructions(found, folder)
    if found.memory and not demo:
        told, more, notices = remembered(told, folder)
        own += more
        refused += notices
    if found.agents and not demo:
        own.append(task_tool(found, folder, rules))
    given: dict[str, Any] = {
        "instructions": told,
        "sampling": found.sampling,
        "mcp_servers": (),
        **options,
    }
    given["mcp_servers"] = (*(() if demo else found.mcp_servers), *given["mcp_servers"])
    loaded = Agent[Any](
        tools=list(dict.fromkeys([*own, *map(as_tool, tools)])),
        permissions=rules,
        limits=agent_limits(found, limits),
        workspace=folder,
        **given,
    )
    wishes = replace(found.wishes, refused=tuple(refused))
    # What the caller chose is no wish any more.
    if options.get("thinking") is not None:
        wishes = replace(wishes, thinking=None)
    loaded.wishes = replace(wishes, model=None) if options.get("model") or demo else wishes
    return loaded


def instructions(agent: AgentDefinition, folder: Path) -> str:
    """The system prompt. The date has no clock time, so that a server's prompt cache holds for a day."""
    text = agent.instructions.replace("{system}", platform.system())
    text = text.replace("{today}", datetime.now().astimezone().strftime("%A, %Y-%m-%d"))
    return text.replace("{folder}", str(folder))


def remembered(told: str, folder: Path) -> tuple[str, list[Tool], list[str]]:
    """Instructions with what AGENTS.md files and skills add to them, the tool that skills need, and sentences on it."""
    from qianda.agents.memory import memory_files, memory_notices, memory_text
    from qianda.agents.skills import ReadSkill, list_skills, skills_text

    files, skills = memory_files(folder), list_skills(folder)
    usable = [skill for skill in skills if not skill.problem]
    added = [memory_text(files), skills_text(usable) if usable else ""]
    tools: list[Tool] = [ReadSkill(skills={skill.name: skill for skill in usable})] if usable else []
    problems = [f"The skill {skill.path}: {skill.problem}" for skill in skills if skill.problem]
    return "\n\n".join(filter(None, [told, *added])), tools, [*memory_notices(files), *problems]


def agent_tools(agent: AgentDefinition) -> list[Tool]:
    """The tools that an agent's file names; its Python files are run for that.

    Raises:
        ConfigurationError: one is not there, fails, or lies outside the folder that was trusted.
    """
    folder = agent.path.parent
    found: list[Tool] = []
    for name in agent.tools:
        file = python_file(name)
        # Of a project's agents, what was shown and is watched is the folder that they lie in, and nothing outside.
        inside = file is None or folder.resolve() in (folder / file[0].expanduser()).resolve().parents
        if agent.source == "project" and not inside:
            raise ConfigurationError(
                f"{agent.path}: {name} lies outside {folder}, so that trusting the folder does not cover it",
                cure="Put it beside the agent's file",
            )
        try:
            tools = tools_named(name, folder)
        except ConfigurationError as error:
            raise ConfigurationError(f"{agent.path}: {error.message}", cure=error.cure) from error
        # Handing a tool to an agent is consent to run it, but only where it is the user who does so.
        found += (
            tools
            if agent.source == "user"
            else [replace(tool, consent=False) if tool.consent else tool for tool in tools]
        )
    return list(dict.fromkeys(found))


def task_tool(agent: AgentDefinition, folder: Path, rules: Rules) -> Tool:
    """The tool by which an agent gives tasks to those that its file names.

    Raises:
        ConfigurationError: there is no such agent, or its file is wrong.
    """
    from qianda.agents.as_tool import Task

    def load(named: AgentDefinition) -> Agent[Any]:
        return load_agent(named, workspace=folder, permissions=rules)

    return Task(agents={name: find_agent(name, folder) for name in agent.agents}, load=load)


def agent_rules(agent: AgentDefinition, permissions: PermissionMode | Rules) -> tuple[Rules, list[str]]:
    """The user's permissions with those of the file in them, and sentences about what the file does not get."""
    rules = permissions if isinstance(permissions, Rules) else Rules(permissions)
    mode = agent.permissions or rules.mode
    refused: list[str] = []
    kept = agent.rules
    if not agent.loosen:
        kept = tuple(rule for rule in kept if rule.action != "allow")
        refused += [
            f"The agent {agent.name} wants {rule.text} allowed, which an agent of your own alone can (loosen = true)"
            for rule in agent.rules
            if rule not in kept
        ]
        mode = min(mode, rules.mode, key=PERMISSION_MODES.index)
        if agent.permissions not in (None, mode):
            refused.append(f'The agent {agent.name} wants the permissions "{agent.permissions}"; yours are "{mode}"')
    return replace(rules, mode=mode, settings=(*rules.settings, *kept)), refused


def agent_limits(agent: AgentDefinition, limits: Limits | None) -> Limits:
    """The limits of a file, or the user's, lowered to them."""
    wanted: dict[str, Any] = dict(agent.limits)
    if limits is None:
        return Limits(**wanted)
    given = {name: getattr(limits, name) for name in wanted}
    return replace(limits, **{name: min(wanted[name], given[name] or wanted[name]) for name in wanted})


def lowered(agent: AgentDefinition, bounds: Mapping[str, float]) -> AgentDefinition:
    """The agent with no more of each limit than the settings say."""
    lower = {name: min(bound, agent.limits.get(name, bound)) for name, bound in bounds.items()}
    return replace(agent, limits={**agent.limits, **lower})
