"""Rules by tool, path and address; the mode ``edits``; what is saved; the rule in events and record."""

from __future__ import annotations

from pathlib import Path

import pytest

from qianda import Agent
from qianda.models.config import load_config, user_config_path
from qianda.models.errors import ConfigurationError
from qianda.models.events import ApprovalAsked, CallDenied, CallFinished
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools import (
    ApprovalRequest,
    Decision,
    Permissions,
    Rules,
    Tool,
    edit_file,
    read_file,
    run_command,
    tool,
    write_file,
)
from qianda.tools.effects import Effects
from qianda.tools.permissions import Rule


@tool(read_only=True, open_world=True, consent=False, effects=lambda given: Effects(urls=(given["url"],)))
def fetch(url: str) -> str:
    """Fetch a page."""
    return url


@tool
def own(path: str) -> str:
    """The user's own."""
    return path


@tool(consent=False)
def remote_write(path: str) -> str:
    """A tool that does not say what it touches."""
    return path


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("docs/a.md", "allow"), ("docs/b/c.md", "allow"), ("./docs/../docs/a.md", "allow"), ("docs/../a.md", "ask"),
        ("docs/link/a.md", "ask"), ("docsx/a.md", "ask"), ("/etc/docs/a.md", "ask"), ("docs/secret.md", "deny"),
        ("docs/.git/hooks/pre-commit", "ask"), ("docs/b/ask.md", "ask"),
    ],
)  # fmt: skip
def test_rules_for_paths(path: str, action: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/link").symlink_to("/etc")
    rules = Rules(allow=["write_file(docs/**)"], ask=["*(**/ask.md)"], deny=["write_*(SECRET.md)"])
    assert Permissions(rules, workspace=tmp_path).judge(write_file, {"path": path, "content": ""}).action == action


@pytest.mark.parametrize(
    ("url", "action"),
    [
        ("https://docs.python.org/3/", "allow"), ("https://docs.python.org:443/3/", "ask"),
        ("http://docs.python.org/", "ask"),
        ("https://docs.python.org.evil.com/", "ask"), ("https://docs.python.org@evil.com/", "ask"),
        ("https://evil.com/https://docs.python.org/", "ask"), ("https://docs.python.org\\@evil.com/", "ask"),
        ("https://x.pypi.org/a", "allow"), ("https://pypi.org/a", "ask"), ("https://a.b/ok/x", "allow"),
        ("https://a.b/ok/../x", "ask"), ("https://a.b/ok/%2e%2e/x", "ask"), ("https://bad.pypi.org/", "deny"),
        ("https://BAD.pypi.org./", "deny"),
    ],
)  # fmt: skip
def test_rules_for_addresses(url: str, action: str, tmp_path: Path) -> None:
    allow = ["fetch(https://docs.python.org/*)", "fetch(*.pypi.org)", "fetch(https://a.b/ok/*)"]
    permissions = Permissions(Rules(allow=allow, deny=["fetch(bad.pypi.org)"]), workspace=tmp_path)
    assert permissions.judge(fetch, {"url": url}).action == action


def test_deny_beats_ask_beats_allow_and_the_most_specific_is_named(tmp_path: Path) -> None:
    rules = Rules("auto", allow=["*"], ask=["write_file(a/**)"], deny=["write_file(a/b/**)", "write_file(a/b/c.md)"])
    permissions = Permissions(rules, workspace=tmp_path)
    verdict = permissions.judge(write_file, {"path": "a/b/c.md"})
    assert (verdict.action, verdict.rule) == ("deny", "deny write_file(a/b/c.md)")
    assert permissions.judge(write_file, {"path": "a/x"}).rule == "ask write_file(a/**)"
    assert permissions.judge(write_file, {"path": "x"}).rule == "allow *"


def test_rules_hold_for_the_users_own_and_for_silent_tools(tmp_path: Path) -> None:
    rules = Rules("auto", ask=["own"], deny=["remote_write(**/.env)"])
    permissions = Permissions(rules, workspace=tmp_path)
    assert permissions.judge(own, {"path": "x"}).action == "ask"
    assert permissions.judge(remote_write, {"path": "sub/.env"}).action == "deny"
    assert permissions.judge(remote_write, {"path": "sub/x"}).action == "allow"


@pytest.mark.parametrize(
    ("path", "action"),
    [("a.txt", "allow"), ("sub/new.txt", "allow"), ("/etc/x", "ask"), ("../x", "ask"), ("link/x", "ask"),
     (".env", "ask"),
     (".git/config", "ask"), (".qianda/config.toml", "ask"), (".mcp.json", "ask")],
)  # fmt: skip
def test_edits_lets_files_of_the_workspace_be_changed(path: str, action: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    permissions = Permissions("edits", workspace=tmp_path)
    for item in (write_file, edit_file):
        assert permissions.judge(item, {"path": path}).action == action
    assert permissions.judge(run_command, {"command": "make"}).action == "ask"
    assert permissions.judge(remote_write, {"path": path}).action == "ask"


def test_allow_rules_do_not_loosen_read_only(tmp_path: Path) -> None:
    permissions = Permissions(Rules("read-only", allow=["*", "run_command(=make)"]), workspace=tmp_path)
    assert permissions.judge(run_command, {"command": "make"}).action == "deny"
    assert permissions.judge(write_file, {"path": "a"}).action == "deny"


def test_secrets_are_asked_for(tmp_path: Path) -> None:
    permissions = Permissions("ask", workspace=tmp_path)
    assert permissions.judge(read_file, {"path": ".env"}).action == "ask"
    assert permissions.judge(read_file, {"path": ".env.example"}).action == "allow"


@pytest.mark.parametrize("text", ["", "run command", "run_command(", "run_command()", "fetch(https://docs.*)", "a(b"])
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Rules(allow=[text])


@pytest.mark.parametrize(
    ("chosen", "arguments", "rule"),
    [
        (run_command, {"command": "make *.c | tee 'x y'"}, "run_command(=make *.c | tee 'x y')"),
        (run_command, {"command": "cat <<E\n$(rm x)\nE"}, "run_command(=cat <<E\n$(rm x)\nE)"),
        (write_file, {"path": "./docs/a[1].md"}, "write_file(=docs/a[1].md)"),
        (fetch, {"url": "https://a.b/c?d=*"}, "fetch(=https://a.b/c?d=*)"),
        (fetch, {"url": "https://a@b/"}, ""),
        (remote_write, {"path": "x"}, ""),
    ],
)
def test_the_offered_rule_allows_this_call_and_no_other(
    chosen: Tool, arguments: dict[str, str], rule: str, tmp_path: Path
) -> None:
    store = tmp_path / "rules.toml"
    permissions = Permissions(Rules(store=store), workspace=tmp_path)
    assert permissions.rule_for(chosen, chosen.effects(arguments)) == rule
    if not rule:
        return
    permissions.remember(chosen, arguments, "rule", rule)
    again = Permissions(Rules(store=store), workspace=tmp_path)
    assert again.judge(chosen, arguments).rule == f"allow {rule} in {store}"
    assert store.stat().st_mode & 0o077 == 0
    other = {key: value + "x" for key, value in arguments.items()}
    assert again.judge(chosen, other).action == "ask"
    assert Permissions(Rules(store=store), workspace=tmp_path / "else").judge(chosen, arguments).action == "ask"


def test_a_broken_file_of_saved_rules_is_named(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text('["/x"]\nallow = 3\n')
    with pytest.raises(ConfigurationError, match=r"rules\.toml"):
        Permissions(Rules(store=tmp_path / "rules.toml"), workspace=tmp_path)


RULES = '[rules]\nallow = ["run_command(make *)"]\ndeny = ["run_command(rm *)"]\nask = ["fetch"]\n'


def test_rules_of_the_user_and_of_a_folder(tmp_path: Path) -> None:
    user_config_path().parent.mkdir(parents=True)
    user_config_path().write_text('[rules]\nallow = ["run_command(ls *)"]\n')
    (tmp_path / ".qianda").mkdir()
    project = tmp_path / ".qianda/config.toml"
    project.write_text(RULES)
    untrusted, trusted = load_config(tmp_path), load_config(tmp_path, trusted=True)
    assert [(rule.action, rule.text) for rule in untrusted.rules] == [
        ("allow", "run_command(ls *)"), ("deny", "run_command(rm *)"), ("ask", "fetch"),
    ]  # fmt: skip
    assert untrusted.ignored == (f"{project} allows run_command(make *)",)
    assert ("allow", "run_command(make *)", str(project)) in [(r.action, r.text, r.origin) for r in trusted.rules]
    project.write_text('[rules]\nallows = ["x"]\n')
    with pytest.raises(ConfigurationError, match="rules"):
        load_config(tmp_path)


async def test_the_rule_is_in_the_events_and_in_the_record(tmp_path: Path) -> None:
    writes = [Call("write_file", {"path": path, "content": "x"}) for path in ("a.txt", "b/a.txt", "c.txt")]
    asked: list[ApprovalRequest] = []

    async def approve(request: ApprovalRequest) -> Decision:
        asked.append(request)
        return Decision.allow("rule")

    store = tmp_path / "rules.toml"
    rules = Rules(allow=["write_file(a.txt)"], deny=["write_file(b/**)"], store=store)
    async with ScriptedServer(Turn(calls=writes), "done") as server:
        agent = Agent(
            server=server.url,
            model="qwen3-8b",
            tools=[write_file],
            permissions=rules,
            approve=approve,
            workspace=tmp_path,
        )
        async with agent.stream("go") as run:
            events = [event async for event in run]
    finished = [event.rule for event in events if isinstance(event, CallFinished)]
    assert finished == ["allow write_file(a.txt)", "approved by a person (rule)"]
    assert [event.rule for event in events if isinstance(event, CallDenied)] == ["deny write_file(b/**)"]
    assert [event.rule for event in events if isinstance(event, ApprovalAsked)] == ["write_file(=c.txt)"]
    assert asked[0].rule == "write_file(=c.txt)"
    assert "write_file(=c.txt)" in store.read_text()


def test_a_rule_says_what_it_is() -> None:
    assert Rule.parse("deny", " read_file(**/.env) ", "x.toml").described == "deny read_file(**/.env) in x.toml"
