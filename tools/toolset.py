"""Sets of tools: joined, prefixed, chosen from, renamed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from qianda.models.errors import ConfigurationError
from qianda.tools.tool import Tool

if TYPE_CHECKING:
    _Base = tuple[Tool, ...]
else:
    _Base = tuple


class Toolset(_Base):
    """Tools in a row: ``Toolset(files()) + shell()``; every change is a new set, and any sequence of tools is as good.

    Args:
        tools: any iterable of tools.
    """

    __slots__ = ()

    def __add__(self, other: Iterable[Tool]) -> Toolset:  # pyright: ignore[reportIncompatibleMethodOverride] - any tools
        """These tools and others."""
        return Toolset((*self, *other))

    def __radd__(self, other: Iterable[Tool]) -> Toolset:
        """Other tools and these."""
        return Toolset((*other, *self))

    def prefixed(self, prefix: str) -> Toolset:
        """The same tools, each name with ``prefix`` before it."""
        return Toolset(replace(tool, name=prefix + tool.name) for tool in self)

    def only(self, *names: str) -> Toolset:
        """The tools of these names, in this order.

        Raises:
            ConfigurationError: there is none of a name.
        """
        named = self._checked(names)
        return Toolset(named[name] for name in names)

    def without(self, *names: str) -> Toolset:
        """All but the tools of these names.

        Raises:
            ConfigurationError: there is none of a name.
        """
        self._checked(names)
        return Toolset(tool for tool in self if tool.name not in names)

    def renamed(self, names: Mapping[str, str]) -> Toolset:
        """The same tools, some under new names: ``{"old": "new"}``.

        Raises:
            ConfigurationError: there is none of an old name.
        """
        self._checked(names)
        return Toolset(replace(tool, name=names.get(tool.name, tool.name)) for tool in self)

    def _checked(self, names: Iterable[str]) -> dict[str, Tool]:
        named = {tool.name: tool for tool in self}
        for name in names:
            if name not in named:
                close = difflib.get_close_matches(name, named, n=1)
                cure = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(named) or 'none'}"
                raise ConfigurationError(f"This toolset has no tool named {name!r}", cure=cure)
        return named
