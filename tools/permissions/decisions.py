"""What is asked about a call, what the answer is, and what the permissions say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from qianda.tools.effects import NO_EFFECTS, Effects

Scope = Literal["once", "session", "rule"]


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
        rule: the allow rule that ``Decision.allow("rule")`` saves for this workspace, or "" when there is none to save.
        effects: what the call would touch, as far as the tool says.
        workspace: the folder that its paths are relative to.
        agent: the inner agent that asks, with those between, or "" for the run's own.
    """

    request_id: str
    run_id: str
    call_id: str
    name: str
    arguments: dict[str, Any]
    description: str
    reason: str
    rule: str = ""
    effects: Effects = NO_EFFECTS
    workspace: Path = Path()
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to an ``ApprovalRequest``.

    Args:
        allowed: whether the call may run.
        reason: why not; the model reads it.
        scope: ``once``; ``session``: the very same call is not asked for again; or ``rule``: the request's ``rule`` is
            saved, and holds in this workspace from now on.
        by: who answered; ``nobody`` when there was no one to ask.
    """

    allowed: bool
    reason: str = ""
    scope: Scope = "once"
    by: Literal["person", "nobody"] = "person"

    @classmethod
    def allow(cls, scope: Scope = "once") -> Decision:
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
        rule: what decided: a rule, with the file that it stands in, or the mode.
    """

    action: Literal["allow", "ask", "deny"]
    reason: str = ""
    rule: str = ""
