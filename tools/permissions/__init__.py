"""Decides whether a tool call may run: allowed, denied, or someone has to be asked."""

from __future__ import annotations

from qianda.models.config import PermissionMode
from qianda.tools.permissions.decisions import ApprovalRequest, Decision, Verdict
from qianda.tools.permissions.judge import Permissions
from qianda.tools.permissions.rules import Rule, Rules

__all__ = ["ApprovalRequest", "Decision", "PermissionMode", "Permissions", "Rule", "Rules", "Verdict"]
