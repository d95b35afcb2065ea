"""From the options of a command to an agent: its file, settings, server and model, tools and MCP servers."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qianda.models.config import PERMISSION_MODES, Config, PermissionMode, data_dir, load_config, saved_rules_path
from qianda.models.errors import ConfigurationError, JournalError

if TYPE_CHECKING:
    from qianda.agents.agent import Agent
    from qianda.agents.definition import AgentDefinition
    from qianda.agents.hooks import Hooks
    from qianda.agents.journal import Journal
    from qianda.agents.resources import Approve, Ask
    from qianda.models.resolve import Endpoint
    from qianda.models.thinking import Thinking
    from qianda.tools.mcp import MCPServer
    from qianda.tools.permissions import Rules
    from qianda.tools.sandbox import Sandbox
    from qianda.tools.tool import Tool

Notify = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What was chosen on the command line; None leaves it to the settings.

    Args:
        workspace: the folder to work in.
        agent: name or file of the agent.
        tools: names of toolsets, tools and Python files, besides the agent's own.
        server: name or address.
        model: name, or a ``.gguf`` file.
        api_key_env: name of the environment variable with the API key.
        api_key: the key itself, as it was typed in the chat.
        thinking: on, off, how much, ``default`` for the model's own whatever the settings say, or None.
        permissions: what tools may do unasked.
        allow: rules for what else runs unasked.
        sandbox: whether commands run in a sandbox: True for it or not at all.
        network: whether commands in the sandbox may use the network.
        mcp: commands of MCP servers.
        mcp_switched: MCP servers that are used, or not, whatever the settings say, by name.
        limits: fields of ``Limits``; they win over the agent's own.
        plan: the model plans first.
        record: whether runs are recorded, or None.
    """

    workspace: Path = field(default_factory=Path.cwd)
    agent: str | None = None
    tools: tuple[str, ...] = ()
    server: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    api_key: str | None = field(default=None, repr=False)
    thinking: Thinking | bool | Literal["default"] | None = None
    permissions: PermissionMode | None = None
    allow: tuple[str, ...] = ()
    sandbox: bool | None = None
    network: bool | None = None
    mcp: tuple[str, ...] = ()
    mcp_switched: Mapping[str, bool] | None = None
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    plan: bool = False
    record: bool | None = None


def open_workspace(folder: str) -> Path:
    """The folder to work in.

    Raises:
        ConfigurationError: it is not a folder that can be read.
    """
    path = Path(folder).expanduser()
    try:
        next(path.iterdir(), None)
        return path.resolve()
    except FileNotFoundError:
        raise ConfigurationError(f"The folder {folder} does not exist", cure="Correct --cwd, or create it") from None
    except OSError as error:
        raise ConfigurationError(
            f"The folder {folder} cannot be used: {error.strerror}", cure="Choose another with --cwd"
        ) from error


def load_settings(workspace: Path) -> Config:
    """The settings of a workspace, under the trust that it has.

    Raises:
        ConfigurationError: a configuration file is wrong.
    """
    from qianda.tools.trust import is_trusted

    return load_config(workspace, trusted=is_trusted(workspace))


async def choose_endpoint(choices: Choices, config: Config, notify: Notify, *, wish: str | None = None) -> Endpoint:
    """Find the server and the model.

    Args:
        choices: what was chosen on the command line.
        config: the settings.
        notify: told about slow steps.
        wish: the model that the agent wants.

    Raises:
        ConfigurationError: there is none, or the options contradict each other.
        ServerError: the chosen server does not answer.
    """
    from qianda.models.resolve import resolve

    key = choices.api_key or _chosen_key(choices.api_key_env)
    server, model = choices.server, choices.model
    return await resolve(server=server, model=model, api_key=key, config=config, notify=notify, wish=wish)


def _chosen_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigurationError(
            f"The environment variable {variable} is not set",
            cure=f"export {variable}=…, or name another with --api-key-env",
        )
    return key


async def open_agent(
    choices: Choices,
    *,
    stack: ExitStack,
    notify: Notify,
    approve: Approve | None = None,
    ask: Ask | None = None,
    memory: Journal | None = None,
) -> Agent:
    """The agent for one workspace, with the server, tools and MCP servers that were chosen.

    Args:
        choices: what was chosen on the command line.
        stack: closes the engine and the record.
        notify: told, a line each, what is worth saying.
        approve: who is asked before a call, or None.
        ask: who answers the questions of tools, or None.
        memory: the record of runs that are not recorded on the disk, for agents that go on with each other's.

    Raises:
        QiandaError: the settings are wrong, or no model can be reached.
    """
    from qianda.agents.journal import open_journal
    from qianda.agents.library import DEFAULT, find_agent
    from qianda.agents.loading import load_agent, lowered
    from qianda.tools.trust import changed_since_trusted

    definition = chosen_permissions(choices, find_agent(choices.agent or DEFAULT, choices.workspace, notify=notify))
    tools = chosen_tools(choices)
    config = load_settings(choices.workspace)
    definition = lowered(definition, config.limits)
    definition = replace(definition, limits={**definition.limits, **choices.limits})
    recorded = config.record if choices.record is None else choices.record
    servers = _mcp_servers(choices, notify)
    if changed := changed_since_trusted(choices.workspace):
        notify(f"This folder is not trusted any more: {', '.join(changed)}. Look at it, then: qianda trust")
    for line in config.ignored:
        notify(f"{line}, which is not used until you say: qianda trust")
    endpoint = await choose_endpoint(choices, config, notify, wish=definition.wishes.model)
    if endpoint.demo and choices.plan:
        raise ConfigurationError("The demo model cannot plan", cure="Connect a real one: qianda config set server URL")
    if endpoint.engine is not None:
        stack.callback(endpoint.engine.close)
    thinking = choices.thinking
    if thinking is None and definition.wishes.thinking is None:
        thinking = config.thinking
    agent = load_agent(
        definition,
        server=endpoint,
        model=choices.model,
        workspace=choices.workspace,
        tools=tools,
        thinking=None if thinking == "default" else thinking,
        api=config.api,
        permissions=chosen_rules(choices, config),
        sandbox=chosen_sandbox(choices, config),
        mcp_servers=servers,
        approve=approve,
        ask=ask,
        hooks=_hooks(config),
        journal=open_record(stack, notify, memory) if recorded else memory or open_journal(None),
        plan=choices.plan,
    )
    _say_what_fits_nothing(choices.allow, list(agent.tools), notify)
    return agent


def _say_what_fits_nothing(rules: Sequence[str], tools: list[str], notify: Notify) -> None:
    """Name the rules for tools that nobody has; those of MCP servers and of inner agents are not known yet."""
    if not rules:
        return
    from qianda.tools import TOOLSETS

    known = {*tools, *(tool.name for toolset in TOOLSETS.values() for tool in toolset())}
    for rule in rules:
        name = rule.partition("(")[0].strip()
        if not name.startswith("mcp__") and not fnmatch.filter(known, name):
            notify(f"--allow {rule!r} fits nothing: there is no tool {name}. There are {', '.join(tools)}")


def _hooks(config: Config) -> Hooks | None:
    """The commands of the settings that are run around runs and calls."""
    if not any(config.hooks.values()):
        return None
    from qianda.agents.hooks import Hooks

    return Hooks(**config.hooks)


def chosen_tools(choices: Choices) -> list[Tool]:
    """The tools that were named on the command line; naming a Python file is consent to run it.

    Raises:
        ConfigurationError: there is no such tool.
    """
    if not choices.tools:
        return []
    from qianda.tools.named import tools_named

    return [tool for name in choices.tools for tool in tools_named(name, Path.cwd())]


def chosen_permissions(choices: Choices, agent: AgentDefinition) -> AgentDefinition:
    """The agent, held to the permissions of the command line also where it may be looser than the settings."""
    if choices.permissions is None:
        return agent
    modes = (choices.permissions, agent.permissions or choices.permissions)
    return replace(agent, permissions=min(modes, key=PERMISSION_MODES.index))


def chosen_rules(choices: Choices, config: Config) -> Rules:
    """The permissions: of the command line and the settings, and what was saved before.

    Raises:
        ConfigurationError: something is not a rule.
    """
    from qianda.tools.permissions import Rules

    mode = choices.permissions or config.permissions
    return Rules(mode, allow=choices.allow, store=saved_rules_path(), settings=config.rules)


def record_path() -> Path:
    """Where runs are recorded."""
    return data_dir() / "journal.db"


def open_record(stack: ExitStack, notify: Notify, memory: Journal | None = None) -> Journal:
    """The record of the user's runs; one in memory, and a warning, when it cannot be opened."""
    from qianda.agents.journal import open_journal

    try:
        journal = open_journal(record_path())
    except JournalError as error:
        notify(f"This run is not recorded: {error}")
        return memory or open_journal(None)
    stack.callback(journal.close)
    return journal


def chosen_sandbox(choices: Choices, config: Config) -> Sandbox | Literal["off"]:
    """What commands run in; a network of the sandbox goes with the settings, not with each command."""
    from qianda.tools.sandbox import Sandbox

    mode = config.sandbox if choices.sandbox is None else "on" if choices.sandbox else "off"
    network = config.network if choices.network is None else choices.network
    return "off" if mode == "off" else Sandbox(network=network, required=mode == "on")


def _mcp_servers(choices: Choices, notify: Notify) -> list[MCPServer]:
    """The MCP servers of the command line, and those that are configured and may run."""
    from qianda.tools.mcp import MCPServer
    from qianda.tools.mcp.approvals import usable_servers

    named = [MCPServer.parse(command) for command in choices.mcp]
    switched = choices.mcp_switched or {}
    named = [server for server in named if switched.get(server.name, True)]
    return named + usable_servers(choices.workspace, notify, switched=switched)
