"""Which calls run, which are asked for, which are denied."""

from __future__ import annotations

from typing import cast, get_args

import pytest

from qianda.models.errors import ConfigurationError
from qianda.tools import Decision, PermissionMode, Permissions, Tool, files, read_file, run_command, tool, write_file


@tool
def own() -> None:
    """A user's tool."""


@pytest.mark.parametrize("mode", get_args(PermissionMode))
@pytest.mark.parametrize("item", [own, read_file, *files(write=False)])
def test_read_only_tools_and_those_of_the_user_always_run(mode: PermissionMode, item: Tool) -> None:
    assert Permissions(mode).judge(item, {"path": "a"}).action == "allow"


@pytest.mark.parametrize(("mode", "action"), [("read-only", "deny"), ("ask", "ask"), ("auto", "allow")])
@pytest.mark.parametrize("item", [write_file, run_command])
def test_tools_that_change_something(mode: PermissionMode, action: str, item: Tool) -> None:
    verdict = Permissions(mode).judge(item, {"path": "a", "command": "make"})
    assert verdict.action == action
    if action != "allow":
        assert item.name in verdict.reason
        assert '"auto"' in verdict.reason


def test_only_the_very_same_call_is_remembered() -> None:
    permissions = Permissions("ask")
    permissions.remember(run_command, {"command": "make", "timeout": 5})
    assert permissions.judge(run_command, {"timeout": 5, "command": "make"}).action == "allow"
    assert permissions.judge(run_command, {"command": "make; rm x", "timeout": 5}).action == "ask"
    assert permissions.judge(write_file, {"command": "make", "timeout": 5, "path": "a"}).action == "ask"


def test_what_is_remembered_does_not_loosen_read_only() -> None:
    permissions = Permissions("read-only")
    permissions.remember(run_command, {"command": "make"})
    assert permissions.judge(run_command, {"command": "make"}).action == "deny"


def test_decisions() -> None:
    assert Decision.allow() == Decision(allowed=True)
    assert Decision.allow("session").scope == "session"
    assert Decision.deny("not now") == Decision(allowed=False, reason="not now")


def test_an_unknown_mode() -> None:
    with pytest.raises(ConfigurationError, match=r'no permission mode "yolo".*"read-only", "ask", "edits" or "auto"'):
        Permissions(cast("PermissionMode", "yolo"))
