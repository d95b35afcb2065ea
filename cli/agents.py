"""``qianda agents``: the agents that there are, and what one of them would get."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import typer

from qianda.agents.definition import AgentDefinition
from qianda.agents.library import find_agent, list_agents
from qianda.agents.loading import agent_limits, agent_rules, instructions, lowered, remembered
from qianda.cli.exits import DONE, complain
from qianda.cli.opening import Choices, chosen_rules, load_settings
from qianda.cli.terminal import Terminal, clean, width
from qianda.tools.named import python_file, tools_named


def show_agents(workspace: Path, *, as_json: bool) -> int:
    """Print a line per agent: name, description, where it comes from."""
    agents = list_agents(workspace)
    if as_json:
        keys = ("name", "description", "source", "problem")
        _write_json([{key: getattr(agent, key) for key in keys} | {"file": str(agent.path)} for agent in agents])
        return DONE
    terminal = Terminal.current()
    names = [clean(agent.name) for agent in agents]
    first = max(map(width, names))
    for name, agent in zip(names, agents, strict=True):
        where = "built-in" if agent.source == "built-in" else str(agent.path)
        line = f"{name}{' ' * (first - width(name))}  {clean(agent.description or '(no description)')}"
        # What is wrong with a file begins with its name.
        note = clean(agent.problem if where in agent.problem else f"{where}: {agent.problem}".removesuffix(": "))
        typer.echo(f"{line}  {terminal.style(note, 'dim')}")
    return DONE


def show_agent(name: str, workspace: Path, *, as_json: bool) -> int:
    """Print what an agent would get; nothing of it is run for that.

    Raises:
        ConfigurationError: there is no such agent, or its file is wrong.
    """
    agent = find_agent(name, workspace, notify=complain)
    found = _gets(agent, workspace)
    if as_json:
        _write_json(found)
        return DONE
    terminal = Terminal.current()
    for key, value in found.items():
        if value in (None, [], {}, ""):
            continue
        label = terminal.style(f"{key}:", "dim")
        lines = _lines(value)
        if len(lines) == 1:
            typer.echo(f"{label} {clean(lines[0])}")
        else:
            typer.echo("\n".join([label, *(f"  {clean(line)}" for line in lines)]))
    return DONE


def _lines(value: object) -> list[str]:
    if isinstance(value, dict):
        return [f"{key} {each}" for key, each in cast("dict[str, object]", value).items()]
    return [*map(str, cast("list[object]", value))] if isinstance(value, list) else str(value).splitlines()


def _gets(agent: AgentDefinition, workspace: Path) -> dict[str, Any]:
    config = load_settings(workspace)
    rules, refused = agent_rules(agent, chosen_rules(Choices(workspace=workspace), config))
    wishes = agent.wishes
    tools = [
        name if python_file(name) else ", ".join(tool.name for tool in tools_named(name, agent.path.parent))
        for name in agent.tools
    ]
    return {
        "name": agent.name,
        "description": agent.description,
        "file": str(agent.path),
        "source": agent.source,
        "tools": tools,
        "agents": list(agent.agents),
        "mcp_servers": list(agent.mcp_servers),
        "model": wishes.model,
        "needs": list(wishes.needs),
        "thinking": _set(wishes.thinking),
        "sampling": _set(agent.sampling),
        "permissions": rules.mode,
        "rules": [rule.described for rule in rules.parsed],
        "limits": _set(agent_limits(lowered(agent, config.limits), None)),
        "refused": refused,
        "memory": remembered("", workspace)[2] if agent.memory else [],
        "instructions": instructions(agent, workspace),
    }


def _set(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that are set; {} of None."""
    found = {} if value is None else {item.name: getattr(value, item.name) for item in fields(value)}
    return {name: each for name, each in found.items() if each is not None}


def _write_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
