"""Decides whether a tool call may run: allowed, denied, or someone has to be asked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, get_args

from qianda.models.errors import ConfigurationError
from qianda.tools.tool import Tool

PermissionMode = Literal["read-only", "ask", "auto"]


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A call that someone has to agree to.

    Args:
        request_id: what ``run.answer`` takes.
        run_id: the run that the call belongs to.
        call_id: the call within the run.
        name: the tool's name.
        arguments: the validated arguments.
        description: the tool's own description.
        reason: why it is asked.
    """

    request_id: str
    run_id: str
    call_id: str
    name: str
    arguments: dict[str, Any]
    description: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an ``ApprovalRequest``.

    Args:
        allowed: whether the call may run.
        reason: why not; the model reads it.
        scope: ``once``, or ``session``: the very same call is not asked for again.
        by: who answered; ``nobody`` when there was no one to ask.
    """

    allowed: bool
    reason: str = ""
    scope: Literal["once", "session"] = "once"
    by: Literal["person", "nobody"] = "person"

    @classmethod
    def allow(cls, scope: Literal["once", "session"] = "once") -> Decision:
        """Let it run."""
        return cls(allowed=True, scope=scope)

    @classmethod
    def deny(cls, reason: str = "") -> Decision:
        """Keep it from running."""
        return cls(allowed=False, reason=reason)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the permissions say about a call.

    Args:
        action: what to do with it.
        reason: why, in one sentence that names the cure where there is one; "" when it is allowed.
    """

    action: Literal["allow", "ask", "deny"]
    reason: str = ""


_ALLOW = Verdict("allow")


class Permissions:
    """The permissions of one session.

    Read-only tools run in every mode, and so do tools that the user handed over themselves (``consent``). The others,
    built-in tools that change something and the tools of MCP servers, are denied in ``read-only``, asked for in
    ``ask``, and run in ``auto``.

    Args:
        mode: one of the three.

    Raises:
        ConfigurationError: there is no such mode.
    """

    def __init__(self, mode: PermissionMode = "ask") -> None:
        if mode not in get_args(PermissionMode):
            raise ConfigurationError(f'there is no permission mode "{mode}"', cure='Use "read-only", "ask" or "auto"')
        self.mode: PermissionMode = mode
        self._remembered: set[tuple[str, str]] = set()

    def judge(self, tool: Tool, arguments: dict[str, Any]) -> Verdict:
        """Decide about one call with validated arguments."""
        if tool.read_only or tool.consent or self.mode == "auto":
            return _ALLOW
        what = f"{tool.name} ({tool.origin})" if tool.origin else tool.name
        if self.mode == "read-only":
            return Verdict(
                "deny",
                f'{what} may change something and permissions are "read-only": use "ask" or "auto" to let it run',
            )
        if _call_key(tool, arguments) in self._remembered:
            return _ALLOW
        return Verdict(
            "ask", f'{what} may change something: permissions "ask" want an approval for it, "auto" lets it run'
        )

    def remember(self, tool: Tool, arguments: dict[str, Any]) -> None:
        """Do not ask again for exactly this call; never for a whole tool."""
        self._remembered.add(_call_key(tool, arguments))


def _call_key(tool: Tool, arguments: dict[str, Any]) -> tuple[str, str]:
    return tool.name, json.dumps(arguments, sort_keys=True, default=repr)
