"""The permissions of an agent that works for another one: never looser than those of the other."""

from __future__ import annotations

from typing import Any

from qianda.models.config import PERMISSION_MODES
from qianda.tools.effects import Effects
from qianda.tools.permissions.decisions import Scope, Verdict
from qianda.tools.permissions.judge import Permissions
from qianda.tools.permissions.rules import Rule
from qianda.tools.tool import Tool

_LOOSE = ("deny", "ask", "allow")


class Bounded(Permissions):
    """Permissions under others: of two verdicts the tighter holds.

    Args:
        own: of the agent.
        outer: of the run that it works for; its folder holds.
    """

    def __init__(self, own: Permissions, outer: Permissions) -> None:
        super().__init__(own.mode, workspace=outer.workspace)
        self._rules = [*own._rules]  # noqa: SLF001 - of the same class
        self._remembered = own._remembered  # noqa: SLF001 - of the same class
        self._store = outer._store  # noqa: SLF001 - of the same class
        if PERMISSION_MODES.index(outer.mode) < PERMISSION_MODES.index(own.mode):
            self.mode = outer.mode
        self._outer = outer

    def judge(self, tool: Tool, arguments: dict[str, Any], effects: Effects | None = None) -> Verdict:
        """Decide about one call."""
        verdicts = super().judge(tool, arguments, effects), self._outer.judge(tool, arguments, effects)
        return min(verdicts, key=lambda verdict: _LOOSE.index(verdict.action))

    def vouched(self, tool: Tool, arguments: dict[str, Any], effects: Effects) -> bool:
        """Whether a person let exactly this call run."""
        return self._outer.vouched(tool, arguments, effects)

    def remember(self, tool: Tool, arguments: dict[str, Any], scope: Scope = "session", rule: str = "") -> None:
        """Do not ask again for exactly this call, or for what a rule fits.

        Raises:
            ConfigurationError: the rule cannot be saved.
        """
        super().remember(tool, arguments, "session" if scope == "rule" else scope)
        self._outer.remember(tool, arguments, scope, rule)
        if scope == "rule" and rule:
            self._add([Rule.parse("allow", rule, str(self._store))])
