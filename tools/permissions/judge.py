"""Judges calls: by the rules, then by what a person said before, then by the mode."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from qianda.models.config import PermissionMode
from qianda.tools.effects import Effects
from qianda.tools.permissions.commands import Command
from qianda.tools.permissions.decisions import Scope, Verdict
from qianda.tools.permissions.readers import is_secret, is_steering
from qianda.tools.permissions.rules import Rule, Rules
from qianda.tools.permissions.saved import read_saved, remove_rule, save_rule
from qianda.tools.tool import Tool

_HARMLESS = Verdict("allow", rule="it changes nothing")
_CONSENT = Verdict("allow", rule="the user's own tool")
_AUTO = Verdict("allow", rule='mode "auto"')
_SAID = Verdict("allow", rule="allowed before in this session")
_MOST_MOVED = 2_000  # files of a folder; more are not moved at once
_NAMES = {"read": "read_file", "write": "write_file"}  # a rule for these holds for every way to read and write


class Permissions:
    """The permissions of one session.

    Args:
        rules: a mode, or rules over a mode.
        workspace: the folder that paths are relative to; the current one by default.

    Attributes:
        mode: what holds where no rule says otherwise; may be set at any time.

    Raises:
        ConfigurationError: there is no such mode, or the file of saved rules is wrong.
    """

    def __init__(self, rules: PermissionMode | Rules = "ask", *, workspace: Path | None = None) -> None:
        rules = rules if isinstance(rules, Rules) else Rules(rules)
        self.mode: PermissionMode = rules.mode
        self.workspace = Path(os.path.realpath(workspace or Path.cwd()))
        self._store = rules.store
        self._rules: list[Rule] = []
        self._add(rules.parsed)
        if rules.store is not None:
            saved = read_saved(rules.store, self.workspace)
            self._add(Rule.parse("allow", text, str(rules.store)) for text in saved)
        self._remembered: set[tuple[str, str]] = set()

    def judge(self, tool: Tool, arguments: dict[str, Any], effects: Effects | None = None) -> Verdict:
        """Decide about one call.

        Args:
            tool: what is called.
            arguments: its validated arguments.
            effects: what ``tool.effects(arguments)`` gave; asked for when left out.
        """
        if not self._rules and (tool.consent or self.mode == "auto"):
            return _CONSENT if tool.consent else _AUTO
        call = _Call(self, tool, arguments, tool.effects(arguments) if effects is None else effects)
        caught = call.caught("deny")
        if caught is not None:
            return Verdict("deny", f'{call.what} is denied by the rule "{caught}"', caught.described)
        if self.mode == "read-only" and not (tool.consent or tool.read_only or call.only_looks):
            reason = f'{call.what} may change something and permissions are "read-only"'
            return Verdict("deny", f'{reason}: use "ask" or "auto" to let it run', 'mode "read-only"')
        if self._remembered and _key(tool, arguments) in self._remembered:
            return _SAID
        if caught := call.caught("ask"):
            return Verdict("ask", f'{call.what} is asked for by the rule "{caught}"', caught.described)
        if doubt := call.doubt():
            return doubt
        return _CONSENT if tool.consent else call.by_mode(self.mode)

    def only_looks(self, tool: Tool, effects: Effects) -> bool:
        """Whether a call changes nothing: the tool is read-only, or its command is known to change nothing."""
        return tool.read_only or _Call(self, tool, {}, effects).only_looks

    def vouched(self, tool: Tool, arguments: dict[str, Any], effects: Effects) -> bool:
        """Whether a person let exactly this call run, or by a rule this command or every call of the tool."""
        if self._remembered and _key(tool, arguments) in self._remembered:
            return True
        rules = [rule for rule in self.rules("allow") if rule.fits_tool(tool.name)] if self._rules else ()
        command = effects.command.strip()
        return any(not rule.pattern or (command and rule.exact == command) for rule in rules)

    def remember(self, tool: Tool, arguments: dict[str, Any], scope: Scope = "session", rule: str = "") -> None:
        """Do not ask again for exactly this call, or for what a rule fits; never for a whole tool.

        Args:
            tool: what was called.
            arguments: its validated arguments.
            scope: how long: ``once`` remembers nothing.
            rule: what ``rule_for`` offered; saved, with the scope ``rule``.

        Raises:
            ConfigurationError: the rule cannot be saved.
        """
        if scope == "once":
            return
        self._remembered.add(_key(tool, arguments))
        if scope == "rule" and rule and self._store is not None:
            save_rule(self._store, self.workspace, rule)
            self._add([Rule.parse("allow", rule, str(self._store))])

    def rule_for(self, tool: Tool, effects: Effects) -> str:
        """The one rule that would let this call run: its exact command, path or address; "" when there is none."""
        match (effects.command.strip(), {*effects.reads, *effects.writes}, effects.urls):
            case (command, paths, ()) if command and not paths:
                text = f"{tool.name}(={command})"
            case ("", paths, ()) if len(paths) == 1:
                text = f"{tool.name}(={self.shown(self.resolve(paths.pop()))})"
            case ("", paths, (url,)) if not paths:
                text = f"{tool.name}(={url})"
            case _:
                return ""
        # Not offered where it would not help.
        call = _Call(self, tool, {}, effects, [Rule.parse("allow", text)])
        return text if call.by_mode("ask").action == "allow" else ""

    @property
    def saves(self) -> bool:
        """Whether there is a file to save rules in."""
        return self._store is not None

    def resolve(self, path: str) -> Path:
        """A path as the file tools see it, links followed."""
        written = Path(path.strip() or ".")
        if written.parts[:1] == ("~",):
            written = written.expanduser()
        return Path(os.path.realpath(self.workspace / written))

    def shown(self, path: Path) -> str:
        """A resolved path as rules name it."""
        return path.relative_to(self.workspace).as_posix() if self.inside(path) else path.as_posix()

    def inside(self, path: Path) -> bool:
        """Whether a resolved path is the workspace or in it."""
        return path == self.workspace or self.workspace in path.parents

    def rules(self, action: Literal["allow", "ask", "deny"]) -> list[Rule]:
        """The rules of one kind, the most specific first."""
        return [rule for rule in self._rules if rule.action == action]

    def saved(self, rule: Rule) -> bool:
        """Whether a rule was saved while being asked, so that it can be forgotten."""
        return self._store is not None and rule.origin == str(self._store)

    def forget(self, rule: Rule) -> None:
        """Delete a saved rule; what was allowed before in this session is asked for again.

        Raises:
            ConfigurationError: the file cannot be read, understood or written.
        """
        if self._store is not None and self.saved(rule):
            remove_rule(self._store, self.workspace, str(rule))
            self._rules = [other for other in self._rules if other != rule]
            self._remembered.clear()

    def _add(self, rules: Iterable[Rule]) -> None:
        both = (*self._rules, *rules)
        self._rules = sorted(both, key=lambda rule: (rule.exact is None, -len(rule.pattern), -len(rule.tool)))


class _Call:
    """One call, before the rules and the mode."""

    def __init__(
        self,
        permissions: Permissions,
        tool: Tool,
        arguments: dict[str, Any],
        effects: Effects,
        allow: Sequence[Rule] | None = None,
    ) -> None:
        self._permissions = permissions
        self._tool = tool
        self._arguments = arguments
        self._effects = effects
        allow = permissions.rules("allow") if allow is None else allow
        self._allow = [rule for rule in allow if rule.fits_tool(tool.name, *_NAMES.values())]
        self.what = f"{tool.name} ({tool.origin})" if tool.origin else tool.name
        self._paths = [("read", path) for path in effects.reads] + [("write", path) for path in effects.writes]
        # With a folder goes what lies in it, and may get a name that no rule knows.
        inside = [str(file) for path in effects.writes for file in _files_in(permissions.resolve(path))]
        self._paths += [(kind, path) for path in inside for kind in _NAMES]
        self._command = Command(effects.command, permissions.workspace) if effects.command.strip() else None

    @property
    def only_looks(self) -> bool:
        """Whether it is a command that is known to change nothing."""
        command = self._command
        if command is None or command.unclear or any(redirection.writes for redirection in command.redirections()):
            return False
        return not command.covered(())[1]

    # What denies and asks.

    def caught(self, action: Literal["ask", "deny"]) -> Rule | None:
        """The most specific rule of that kind that fits any part of the call."""
        return next((rule for rule in self._permissions.rules(action) if self._catches(rule)), None)

    def _catches(self, rule: Rule) -> bool:
        effects, name = self._effects, self._tool.name
        named = rule.fits_tool(name)
        if named and not rule.pattern:
            return True
        for kind, path in self._paths:
            if rule.fits_tool(name, _NAMES[kind]) and self._catches_path(rule, path):
                return True
        if named and any(rule.fits_url(url) for url in effects.urls):
            return True
        if self._command is not None:
            return self._catches_command(rule, self._command)
        if named and not (self._paths or effects.urls):
            # The tool does not say what it touches: any text among its arguments may be it.
            texts = [text for text in self._arguments.values() if isinstance(text, str) and "\0" not in text]
            return any(self._catches_path(rule, text) or rule.fits_url(text) for text in texts)
        return False

    def _catches_path(self, rule: Rule, path: str) -> bool:
        here = self._permissions
        # Also by the name that was written, should it be a link.
        lexical = Path(os.path.normpath(here.workspace / Path(path.strip() or ".").expanduser()))
        return not rule.pattern or any(rule.fits_path(seen, here.workspace) for seen in (here.resolve(path), lexical))

    def _catches_command(self, rule: Rule, command: Command) -> bool:
        name, here = self._tool.name, self._permissions.workspace
        if rule.fits_tool(name):
            whole = rule.exact is not None and rule.exact == self._effects.command.strip()
            if whole or any(rule.catches_command(words) for words in command.all()):
                return True
        for redirection in command.redirections():
            opened = not rule.pattern or any(rule.fits_path(path, here) for path in command.seen(redirection.target))
            if opened and rule.fits_tool(name, _NAMES["write" if redirection.writes else "read"]):
                return True
        reads = rule.pattern != "" and rule.fits_tool(_NAMES["read"])
        return reads and any(rule.fits_path(path, here) for path in command.looked_at)

    def doubt(self) -> Verdict | None:
        """What is asked because a deny or ask rule might fit it."""
        command, here = self._command, self._permissions
        strict = [*here.rules("deny"), *here.rules("ask")]
        if command is None or not strict or self._exactly():
            return None
        about = next((rule for rule in strict if rule.fits_tool(self._tool.name)), None)
        if about is not None and command.unclear:
            reason = f'{self.what}: {command.unclear} cannot be judged, and there is the rule "{about}"'
            return Verdict("ask", reason, about.described)
        for rule in (rule for rule in strict if rule.pattern and rule.fits_tool(*_NAMES.values())):
            path = next((path for path in command.named if rule.fits_path(path, here.workspace)), None)
            if path is not None:
                reason = f'{self.what} names {here.shown(path)}, for which there is the rule "{rule}"'
                return Verdict("ask", reason, rule.described)
        return None

    # What allows.

    def by_mode(self, mode: PermissionMode) -> Verdict:
        """Allow what the allow rules and the mode cover, and ask for the rest."""
        tool = self._tool
        rule = next((rule for rule in self._allow if not rule.pattern and rule.fits_tool(tool.name)), None)
        if rule is not None and mode != "read-only":
            return Verdict("allow", rule=rule.described)
        if mode == "auto":
            return _AUTO
        covering: list[str] = []
        for covered, why in self._parts(mode):
            if not covered:
                cure = f'permissions "{mode}" want an approval for it, "auto" lets it run'
                return Verdict("ask", f"{self.what} {why}: {cure}", f'mode "{mode}"')
            covering.append(covered)
        return Verdict("allow", rule="; ".join(dict.fromkeys(covering))) if covering else _HARMLESS

    def _parts(self, mode: PermissionMode) -> Iterator[tuple[str, str]]:
        """For each part of the call what covers it, or "" and what is wrong with it."""
        tool, effects = self._tool, self._effects
        if self._command is not None:
            yield from self._command_parts(self._command, mode)
        for kind, path in self._paths:
            yield self._path_part(kind, self._permissions.resolve(path), mode)
        for url in effects.urls:
            named = (rule for rule in self._allow if rule.pattern and rule.fits_tool(tool.name))
            rule = next((rule for rule in named if rule.fits_url(url)), None)
            yield (rule.described if rule else "", f"would go to {url}")
        if self._command is None and not (effects.writes or effects.urls):
            if tool.open_world:
                yield "", "reaches beyond this machine"
            elif not tool.read_only:
                yield "", "may change something"

    def _path_part(self, kind: str, path: Path, mode: PermissionMode) -> tuple[str, str]:
        here, name = self._permissions, self._permissions.shown(path)
        steering, secret, inside = is_steering(Path(name)), is_secret(Path(name)), here.inside(path)
        for rule in self._allow:
            # A wide pattern does not mean what decides about programs, unless it says so.
            meant = kind == "read" or not steering or is_steering(Path(rule.pattern.lstrip("=")))
            fits = meant and rule.pattern != "" and rule.fits_tool(self._tool.name, _NAMES[kind])
            if fits and rule.fits_path(path, here.workspace):
                return rule.described, ""
        if kind == "read":
            if not secret and (inside or self._command is None):  # the file tools do not leave the workspace
                return "it changes nothing", ""
            return "", f"would read {name}" + (", which may hold secrets" if secret else "")
        if mode == "edits" and inside and not secret and not steering:
            return 'mode "edits"', ""
        return "", f"may change something ({name})"

    def _exactly(self) -> Rule | None:
        command = self._effects.command.strip()
        named = (rule for rule in self._allow if rule.fits_tool(self._tool.name))
        return next((rule for rule in named if rule.exact is not None and rule.exact == command), None)

    def _command_parts(self, command: Command, mode: PermissionMode) -> Iterator[tuple[str, str]]:
        if mode != "read-only" and (rule := self._exactly()):
            yield rule.described, ""
            return
        loosen = mode != "read-only"
        covered, why = command.covered(
            [rule for rule in self._allow if loosen and rule.pattern and rule.fits_tool(self._tool.name)]
        )
        yield ("" if why else "; ".join(covered) or "it changes nothing", why)
        for redirection in command.redirections():
            for path in command.files(redirection.target):
                yield self._path_part("write" if redirection.writes else "read", path, mode)


def _files_in(folder: Path) -> Iterator[Path]:
    """The files below a folder that is moved or thrown away as a whole, as many as can be."""
    every = (Path(root, name) for root, _, names in os.walk(folder) for name in names)
    return islice(every, _MOST_MOVED)


def _key(tool: Tool, arguments: dict[str, Any]) -> tuple[str, str]:
    return tool.name, json.dumps(arguments, sort_keys=True, default=repr)
