"""Agents by name: the built-in ones, which lie here, the user's own, and those that a folder brings."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qianda.agents.definition import AgentDefinition, Source, read_definition
from qianda.models.config import user_config_path
from qianda.models.errors import ConfigurationError

DEFAULT = "assistant"
_AGENTS = Path(".qianda", "agents")


@dataclass(frozen=True, slots=True)
class ListedAgent:
    """An agent that is there.

    Args:
        name: what it is called.
        source: whose it is.
        path: its file.
        description: one line, from the file.
        problem: why it is not used: the folder is not trusted, another of its name comes first, or the file is wrong.
    """

    name: str
    source: Source
    path: Path
    description: str = ""
    problem: str = ""


def agents_folders(workspace: Path) -> dict[Source, Path]:
    """Where agents are looked for by name, the first first; the folders may not exist."""
    return {
        "project": workspace / _AGENTS,
        "user": user_config_path().with_name("agents"),
        "built-in": Path(__file__).parent,
    }


def find_agent(
    agent: str | Path, workspace: Path, *, notify: Callable[[str], None] = lambda _text: None
) -> AgentDefinition:
    """The agent of a name, or in a file.

    Args:
        agent: a name; or a path, which ends in ``.toml`` or has a slash in it.
        workspace: the folder to work in, whose own agents come first once it is trusted.
        notify: told, in one line, when an agent of the folder is passed over.

    Raises:
        ConfigurationError: there is none, its file is wrong, or it comes with a folder that is not trusted.
    """
    if isinstance(agent, Path) or agent.endswith(".toml") or os.sep in agent:
        return _in_file(Path(agent).expanduser().absolute())
    folders = agents_folders(workspace)
    places: list[tuple[Source, Path]] = [(source, folder / f"{agent}.toml") for source, folder in folders.items()]
    found = [place for place in places if place[1].is_file()]
    if not found:
        names = dict.fromkeys(path.stem for folder in folders.values() for path in _files(folder))
        close = difflib.get_close_matches(agent, names, 1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise ConfigurationError(f"There is no agent {agent!r}", cure=f"{hint}qianda agents lists those that there are")
    source, path = found[0]
    if source == "project" and not _is_trusted(workspace):
        if len(found) == 1:
            raise _untrusted(path, workspace)
        notify(f"This folder brings an agent {agent}, which is not used until you say: qianda trust")
        source, path = found[1]
    return read_definition(path, source)


def list_agents(workspace: Path) -> list[ListedAgent]:
    """Every agent that is there by name, those that are not used included."""
    listed: dict[Path, ListedAgent] = {}
    used: set[str] = set()
    for source, folder in agents_folders(workspace).items():
        for path in _files(folder):
            description = problem = ""
            try:
                description = read_definition(path, source).description
            except ConfigurationError as error:
                problem = error.message
            if path.stem in used:
                problem = "another of this name comes first"
            elif source == "project" and not _is_trusted(workspace):
                problem = "not used until qianda trust"
            else:
                used.add(path.stem)
            listed[path] = ListedAgent(path.stem, source, path, description, problem)
    return list(listed.values())[::-1]


def _is_trusted(folder: Path) -> bool:
    from qianda.tools.trust import is_trusted

    return is_trusted(folder)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted((path for path in folder.glob("*.toml") if path.is_file()), reverse=True)
    except OSError:
        return []


def _in_file(path: Path) -> AgentDefinition:
    """The agent in a file that somebody named; where it lies says whose it is."""
    if not path.is_file():
        raise ConfigurationError(f"There is no agent file {path}", cure="qianda agents lists the agents by name")
    folders = [path.parent, path.resolve().parent]
    for folder in folders:
        project = folder.parent.parent
        if folder == project / _AGENTS:
            if not _is_trusted(project):
                raise _untrusted(path, project)
            return read_definition(path, "project")
    own = user_config_path().with_name("agents")
    if own in folders:
        return read_definition(path, "user")
    return read_definition(path, "built-in" if Path(__file__).parent in folders else "file")


def _untrusted(path: Path, folder: Path) -> ConfigurationError:
    cure = f"Look at it, then: qianda trust --cwd {folder}"
    return ConfigurationError(f"The agent {path.stem} comes with the folder {folder}, which is not trusted", cure=cure)
