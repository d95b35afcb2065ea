"""Which folders may bring settings and agents: asked once, and again when what they bring changes."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from pathlib import Path
from typing import Any, cast

from qianda.models.config import data_dir, project_config_path
from qianda.models.errors import ConfigurationError
from qianda.models.settings import MCP_SERVERS, SETTINGS, read_config_file
from qianda.models.whole_file import write_whole
from qianda.tools.mcp.content import visible

# What a folder can bring that makes Qianda do things; everything here is listed, not used, until it is trusted.
BROUGHT_FILES = (".qianda/config.toml", "AGENTS.md", "QWEN.md")
AGENTS = ".qianda/agents"  # with all that lies beside and below them: what their Python files import
SKILLS = ".qianda/skills"
COMMANDS = ".qianda/commands"


def is_trusted(folder: Path) -> bool:
    """Whether what the folder brings now is what was trusted; a folder that brings nothing is trusted."""
    hashes = _hashes(folder)
    return hashes is not None and (not hashes or _load().get(_key(folder)) == hashes)


def changed_since_trusted(folder: Path) -> list[str]:
    """What of the folder is not any more as it was trusted: ``AGENTS.md has changed``; nothing where it never was."""
    before, now = _load().get(_key(folder), {}), _hashes(folder) or {}
    what = {name: "has changed" if name in now else "is gone" for name in before if now.get(name) != before[name]}
    what |= {name: "is new" for name in now if before and name not in before}
    return [f"{visible(name)} {how}" for name, how in sorted(what.items())]


def trust(folder: Path, *, seen: str | None = None) -> list[str]:
    """Trust what the folder brings now; any later change of it ends that.

    Args:
        folder: the folder.
        seen: the ``fingerprint`` taken before a person was shown what it brings; None where nobody was.

    Returns:
        What was trusted, as ``what_folder_brings`` says it.

    Raises:
        ConfigurationError: a file of the folder cannot be read or has changed since, or the decision cannot be stored.
    """
    content = fingerprint(folder)
    if seen is not None and content != seen:
        raise ConfigurationError(f"What {folder} brings changed while it was shown", cure="Look again: qianda trust")
    if content is None:
        raise ConfigurationError(f"What {folder} brings cannot be read, so it cannot be trusted")
    brought = what_folder_brings(folder)
    if content:
        _save({**_load(), _key(folder): json.loads(content)})
    return brought


def what_folder_brings(folder: Path) -> list[str]:
    """What a person should see before trusting a folder: one line per file or command.

    Returns:
        Such as ``.qianda/config.toml: settings``; empty when there is nothing. MCP servers are approved one by one:
            ``qianda.tools.mcp.approvals``.

    Raises:
        ConfigurationError: something there cannot be read.
    """
    lines: list[str] = []
    for name in BROUGHT_FILES:
        if not (folder / name).is_file():
            continue
        told = _settings(folder) if name == BROUGHT_FILES[0] else ["instructions for agents"]
        lines += [f"{name}: {line}" for line in told]
    try:
        lines += [line for name in _agent_files(folder) for line in _agent(folder, name)]
    except OSError as error:
        raise ConfigurationError(f"{folder / AGENTS} cannot be read: {error.strerror}") from error
    # One line stays one line, and nothing in it hides from the person who decides.
    return [visible(line).replace("\n", "\\n") for line in lines]


def _agent_files(folder: Path) -> list[str]:
    """The files of the folder's agents, skills and commands, relative to it.

    Raises:
        OSError: a folder cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    tops = [top for name in (AGENTS, SKILLS, COMMANDS) if (top := folder / name).is_dir()]
    paths = [Path(place, name) for top in tops for place, _, names in os.walk(top, onerror=fail) for name in names]
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file() and not _compiled(path))


def _compiled(path: Path) -> bool:
    """Whether a file is what a run of Python leaves beside a source, and uses only while it fits that source."""
    if path.parent.name != "__pycache__" or path.suffix != ".pyc":
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == bytes(4)  # else it may be one that is used whatever the source says


def _agent(folder: Path, name: str) -> list[str]:
    """What a person should see of one file of the agents."""
    path = folder / name
    if path.parent.parent == folder / SKILLS and path.name == "SKILL.md":
        return [f"{name}: skill {path.parent.name}"]
    if name.startswith(f"{COMMANDS}/"):
        return [f"{name}: command /{path.stem}"]
    if name.startswith(f"{SKILLS}/"):
        return [f"{name}: for the skills"]
    if path.parent != folder / AGENTS or path.suffix != ".toml":
        return [f"{name}: for the agents"]
    lines = [f"{name}: agent {path.stem}"]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        return [*lines, f"{name}: not valid TOML: {error}"]
    for key, what in (("tools", "has the tools"), ("agents", "gives tasks to"), ("mcp_servers", "starts")):
        if wanted := values.get(key):
            texts = cast("list[object]", wanted) if isinstance(wanted, list) else [wanted]
            lines.append(f"{name}: {what} {', '.join(map(str, texts))}")
    return lines


def _settings(folder: Path) -> list[str]:
    try:
        values = read_config_file(project_config_path(folder)) or {}
    except ConfigurationError as error:
        return [error.message]
    rules: dict[str, list[str]] = values.get("rules", {})
    hooks: dict[str, list[str]] = values.get("hooks", {})
    plain = {key: value for key, value in values.items() if key not in ("rules", "hooks", MCP_SERVERS)}
    told = [f"sets {key} to {'…' if SETTINGS[key].secret else json.dumps(value)}" for key, value in plain.items()]
    lines = [f"runs around calls: {text}" for texts in hooks.values() for text in texts]
    return ["settings", *told, *(f"lets run unasked: {text}" for text in rules.get("allow", ())), *lines]


def _key(folder: Path) -> str:
    return str(folder.resolve())


def fingerprint(folder: Path) -> str | None:
    """What says whether the folder brings the same; "" for nothing, None when it is there but cannot be read."""
    hashes = _hashes(folder)
    return json.dumps(hashes) if hashes else None if hashes is None else ""


def _hashes(folder: Path) -> dict[str, str] | None:
    """A hash of each file that the folder brings; None when one cannot be read."""
    found: dict[str, str] = {}
    try:
        for name in (*BROUGHT_FILES, *_agent_files(folder)):
            if (path := folder / name).is_file():
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
    return found


def _store() -> Path:
    return data_dir() / "trust.json"


def _load() -> dict[str, dict[str, str]]:
    """The trusted folders and the hashes of the files that they brought; a broken file trusts nothing."""
    try:
        value: Any = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    folders: object = cast("dict[str, object]", value).get("folders") if isinstance(value, dict) else None
    if not isinstance(folders, dict):
        return {}
    items = cast("dict[str, object]", folders).items()
    return {key: cast("dict[str, str]", item) for key, item in items if isinstance(item, dict)}


def _save(folders: dict[str, dict[str, str]]) -> None:
    """Replace the store in one step; readable by its owner only."""
    path = _store()
    try:
        write_whole(path, json.dumps({"version": 2, "folders": folders}, indent=1, ensure_ascii=False))
    except OSError as error:
        raise ConfigurationError(f"The decision cannot be stored in {path}: {error.strerror}") from error
