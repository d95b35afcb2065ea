"""What can be served: built-in toolsets by name, and the tools of a Python file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from qianda.models.errors import ConfigurationError
from qianda.tools import TOOLSETS, Tool
from qianda.tools.named import tools_of_file


def list_targets() -> dict[str, list[str]]:
    """The built-in toolsets that can be served, and the names of their tools."""
    return {name: [tool.name for tool in toolset()] for name, toolset in TOOLSETS.items()}


def load_targets(targets: Sequence[str], *, read_only: bool = False) -> list[Tool]:
    """The tools that some targets stand for.

    Args:
        targets: names of built-in toolsets, and paths of Python files with ``@tool`` functions.
        read_only: leave out the tools that may change something.

    Raises:
        ConfigurationError: a target is unknown, a file fails, two tools have one name, or no tool is left.
    """
    known = ", ".join(TOOLSETS)
    if not targets:
        raise ConfigurationError("There is nothing to serve", cure=f"Name {known} or a Python file")
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
        for tool in found:
            if tool.name in tools:
                raise ConfigurationError(f"Two tools to serve are called {tool.name}; the second is in {target}")
            tools[tool.name] = tool
    kept = [tool for tool in tools.values() if tool.read_only or not read_only]
    if not kept:
        raise ConfigurationError(
            f"No tool of {', '.join(targets)} only reads, so nothing is left to serve",
            cure="Mark those that do with @tool(read_only=True), or leave --read-only out",
        )
    return kept
