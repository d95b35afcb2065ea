"""An agent as a file: what may stand in it, and reading it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

from qianda.agents.limits import Limits
from qianda.agents.wishes import Need, Wishes
from qianda.models.config import PERMISSION_MODES, PermissionMode, RuleSetting
from qianda.models.errors import ConfigurationError
from qianda.models.family import Sampling
from qianda.models.thinking import EFFORTS, Thinking

Source = Literal["built-in", "user", "project", "file"]
_WHOLE = ("turns", "tool_calls", "tokens", "depth", "top_k", "seed", "max_tokens", "budget")
_LEAST = -1e15  # and no infinity, and no NaN
_TOP = (
    "description", "instructions", "tools", "agents", "mcp_servers", "permissions", "loosen", "rules", "limits",
    "model", "memory",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDefinition:
    """What an agent's file says.

    Args:
        name: the file's name without its ending.
        source: whose it is: ``built-in``, ``user`` (in the user's configuration folder), ``project`` (in the
            workspace's ``.qianda/agents``), or a ``file`` that somebody named.
        path: the file.
        description: one line for people.
        instructions: the system prompt; ``{folder}``, ``{system}`` and ``{today}`` are filled in.
        tools: names of toolsets and tools, Python files; those are relative to the file.
        agents: names of agents that it may give tasks to.
        memory: it is told what AGENTS.md files say, and which skills there are.
        mcp_servers: commands.
        permissions: the mode; with the user's own the tighter one holds.
        rules: what is denied, asked and, of the user's own agents, allowed.
        loosen: the permissions and rules here hold even where they are looser than the user's settings.
        limits: fields of ``Limits``.
        wishes: what it wants of the model.
        sampling: how tokens are drawn, or None.
    """

    name: str
    source: Source
    path: Path
    description: str = ""
    instructions: str = ""
    tools: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    memory: bool = False
    mcp_servers: tuple[str, ...] = ()
    permissions: PermissionMode | None = None
    rules: tuple[RuleSetting, ...] = ()
    loosen: bool = False
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    wishes: Wishes
    sampling: Sampling | None = None


def read_definition(path: Path, source: Source) -> AgentDefinition:
    """Read an agent's file.

    Raises:
        ConfigurationError: it cannot be read, has an unknown key or a value of the wrong type.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        values = tomllib.loads(text)
    except OSError as error:
        raise ConfigurationError(f"The agent {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text", cure="Save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}", cure="Correct it") from error
    top = _Table(values, path, text, allowed=_TOP)
    model = top.table("model", ("name", "needs", "thinking", "sampling"))
    drawn = model.table("sampling", _names(Sampling)).numbers()
    if top.switch("loosen") and source != "user":
        raise top.wrong("loosen", "left to agents in your own configuration folder; leave it out")
    return AgentDefinition(
        name=path.stem,
        source=source,
        path=path,
        description=" ".join(top.text("description").split()),
        instructions=top.text("instructions"),
        tools=top.texts("tools"),
        agents=top.texts("agents"),
        memory=top.switch("memory") or False,
        mcp_servers=top.texts("mcp_servers"),
        permissions=cast("PermissionMode | None", top.choice("permissions", PERMISSION_MODES)),
        rules=_rules(top.table("rules", ("deny", "ask", "allow"))),
        loosen=top.switch("loosen") or False,
        limits=top.table("limits", _names(Limits)).numbers(above=0),
        wishes=Wishes(
            agent=path.stem,
            model=model.text("name") or None,
            needs=cast("tuple[Need, ...]", model.texts("needs", allowed=get_args(Need))),
            thinking=_thinking(model),
        ),
        sampling=Sampling(**cast("dict[str, Any]", drawn)) if drawn else None,
    )


def _names(kind: type) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))


def _rules(table: _Table) -> tuple[RuleSetting, ...]:
    from qianda.tools.permissions import Rule

    actions = ("deny", "ask", "allow")
    rules = tuple(RuleSetting(action, text, str(table.path)) for action in actions for text in table.texts(action))
    for rule in rules:
        Rule.parse(rule.action, rule.text, rule.origin)
    return rules


def _thinking(model: _Table) -> Thinking | None:
    if not isinstance(model.values.get("thinking"), dict):
        return Thinking.of(model.switch("thinking"))
    table = model.table("thinking", ("budget", "effort"))
    budget = table.number("budget", above=0)
    effort: Any = table.choice("effort", EFFORTS)
    try:
        return Thinking(budget=None if budget is None else int(budget), effort=effort)
    except ConfigurationError as error:
        raise ConfigurationError(f"{table.path}: model.thinking: {error.message}", cure=error.cure) from error


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the file, read by key and type.

    Args:
        values: its keys and values.
        path: the file.
        toml: the file's text, to say in which line something stands.
        allowed: its keys.
        within: the names of the tables around it, each with a dot.
    """

    values: Mapping[str, Any]
    path: Path
    toml: str
    allowed: Sequence[str]
    within: str = ""

    def __post_init__(self) -> None:
        for key in self.values:
            if key not in self.allowed:
                close = difflib.get_close_matches(key, self.allowed, 1)
                hint = f"Did you mean {self.within}{close[0]}? " if close else ""
                raise ConfigurationError(
                    f"{self._where(key)}: unknown key {self.within + key!r}",
                    cure=f"{hint}Allowed: {', '.join(self.allowed)}",
                )

    def table(self, key: str, allowed: Sequence[str]) -> _Table:
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, f"a table with {', '.join(allowed)}")
        return _Table(cast("dict[str, Any]", value), self.path, self.toml, allowed, f"{self.within}{key}.")

    def text(self, key: str) -> str:
        value = self.values.get(key, "")
        if not isinstance(value, str):
            raise self.wrong(key, "text in quotes")
        return value.strip()

    def texts(self, key: str, allowed: Sequence[str] = ()) -> tuple[str, ...]:
        value: object = self.values.get(key, [])
        items = cast("list[object]", value) if isinstance(value, list) else [None]
        texts = [item for item in items if isinstance(item, str) and item.strip() and (not allowed or item in allowed)]
        if len(texts) < len(items):
            raise self.wrong(key, f"a list of {', '.join(map(repr, allowed))}" if allowed else "a list of texts")
        return tuple(texts)

    def choice(self, key: str, allowed: Sequence[str]) -> str | None:
        value = self.values.get(key)
        if value is not None and value not in allowed:
            raise self.wrong(key, f"one of {', '.join(map(repr, allowed))}")
        return value

    def switch(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def number(self, key: str, above: float | None = None) -> float | None:
        value: object = self.values.get(key)
        if value is None:
            return None
        number = None if isinstance(value, bool) or not isinstance(value, int | float) else value
        whole = key in _WHOLE
        if number is None or not _LEAST < number < -_LEAST or (whole and isinstance(number, float)):
            raise self.wrong(key, "a whole number" if whole else "a number")
        if above is not None and number <= above:
            raise self.wrong(key, f"more than {above:g}")
        return number

    def numbers(self, above: float | None = None) -> dict[str, float]:
        found = {key: self.number(key, above) for key in self.values}
        return {key: number for key, number in found.items() if number is not None}

    def wrong(self, key: str, should: str) -> ConfigurationError:
        return ConfigurationError(f"{self._where(key)}: {self.within}{key} has to be {should}")

    def _where(self, key: str) -> str:
        """The file, and the line in which a key of this table stands, where it can be found."""
        header = re.escape(self.within[:-1])
        table = re.search(rf"^\s*\[\s*{header}\s*\]", self.toml, re.MULTILINE) if header else None
        quoted = rf"^[ \t]*(?:\[\s*)?[\"']?{re.escape(key)}[\"']?\s*(?:[=.\]])"
        found = re.compile(quoted, re.MULTILINE).search(self.toml, table.end() if table else 0)
        return f"{self.path}:{self.toml.count(chr(10), 0, found.start()) + 1}" if found else str(self.path)
