"""Hooks: what they are told, what they may keep from happening, what they add, and what comes of those that fail."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent, Hooks, tool
from qianda.agents import hooks as hooks_module
from qianda.cli.main import main
from qianda.models.config import user_config_path
from qianda.models.errors import PermissionDenied
from qianda.testing import Call, ScriptedServer, Turn, serving
from qianda.tools.trust import trust, what_folder_brings

done: list[str] = []


@tool
def greet(name: str) -> str:
    """Greet somebody."""
    done.append(name)
    return f"Hello {name}"


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    done.clear()


async def greeted(hooks: Hooks) -> str:
    async with ScriptedServer(Turn(calls=[Call("greet", {"name": "Ann"})]), "ok") as server:
        await Agent(server=server.url, tools=[greet], hooks=hooks).run("go")
    return server.requests[1]["messages"][-1]["content"]


async def test_functions_are_told_of_everything_in_order() -> None:
    heard: list[dict[str, Any]] = []

    async def also(event: dict[str, Any]) -> None:
        heard.append(event)

    def hear(event: dict[str, Any]) -> None:
        heard.append(event)

    hooks = Hooks(before_tool=[hear], after_tool=[also], run_start=[hear], run_end=[also])
    assert await greeted(hooks) == "Hello Ann"
    assert [event["event"] for event in heard] == ["run_start", "before_tool", "after_tool", "run_end"]
    assert heard[1]["arguments"] == {"name": "Ann"}
    assert (heard[2]["tool"], heard[2]["result"], heard[2]["failed"]) == ("greet", "Hello Ann", False)
    assert heard[3]["finish"] == "done"


async def test_a_function_denies_a_call() -> None:
    assert await greeted(Hooks(before_tool=[lambda _: {"deny": "not Ann"}])) == "Denied by a hook: not Ann"
    assert done == []


async def test_notes_are_added_to_what_the_model_reads() -> None:
    hooks = Hooks(before_tool=[lambda _: {"note": "one"}], after_tool=[lambda _: {"note": "two"}])
    assert await greeted(hooks) == "Hello Ann\n[a hook notes: one]\n[a hook notes: two]"


@pytest.mark.parametrize(
    ("command", "said", "ran"),
    [
        ("cat > event.json", "Hello Ann", True),
        ("echo no Ann today >&2; exit 2", "Denied by a hook: no Ann today", False),
        ("""echo '{"deny": "by JSON"}'""", "Denied by a hook: by JSON", False),
        ("""echo '{"note": "by JSON"}'""", "Hello Ann\n[a hook notes: by JSON]", True),
        ("exit 3", "Denied by a hook: exit 3 ended with exit code 3", False),
        ("echo '{broken'", "Denied by a hook: echo '{broken' failed: JSONDecodeError", False),
    ],
)
async def test_commands(command: str, said: str, ran: bool) -> None:
    assert (await greeted(Hooks(before_tool=[command]))).startswith(said)
    assert done == ["Ann"] * ran


async def test_a_command_gets_json() -> None:
    await greeted(Hooks(before_tool=["cat > event.json"]))
    event = json.loads(await asyncio.to_thread(Path("event.json").read_text))
    assert (event["event"], event["tool"], event["arguments"]) == ("before_tool", "greet", {"name": "Ann"})
    assert event["workspace"] == str(Path.cwd())


async def test_one_that_hangs_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_module, "SECONDS", 0.01)

    async def hang(_: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    assert "hang took longer than 0.01 s" in await greeted(Hooks(before_tool=[hang]))
    assert "took longer" in await greeted(Hooks(before_tool=["cat /dev/zero > /dev/null"]))
    assert done == []


async def test_a_hook_keeps_a_run_from_beginning() -> None:
    async with ScriptedServer("never") as server:
        with pytest.raises(PermissionDenied, match="not now"):
            await Agent(server=server.url, hooks=Hooks(run_start=[lambda _: {"deny": "not now"}])).run("go")
    assert server.requests == []


async def test_hooks_hold_for_agents_within() -> None:
    hooks = Hooks(before_tool=[lambda event: {"deny": "no"} if event["tool"] == "greet" else None])
    inner = Agent(tools=[greet]).as_tool("inner", "Greets")
    calls = [Turn(calls=[Call("inner", {"task": "x"})]), Turn(calls=[Call("greet", {"name": "Ann"})])]
    async with ScriptedServer(*calls, "could not", "ok") as server:
        await Agent(server=server.url, tools=[inner], hooks=hooks).run("go")
    assert server.requests[2]["messages"][-1]["content"] == "Denied by a hook: no"
    assert done == []


def config(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('[hooks]\nbefore_tool = ["echo nothing is listed here >&2; exit 1"]\n')


@pytest.mark.parametrize("whose", ["user", "project", "untrusted"])
def test_commands_of_the_configuration(whose: str, capsys: pytest.CaptureFixture[str]) -> None:
    config(user_config_path() if whose == "user" else Path.cwd() / ".qianda/config.toml")
    if whose != "user":
        assert any("runs around calls: echo" in line for line in what_folder_brings(Path.cwd()))
    if whose == "project":
        trust(Path.cwd())
    with serving(ScriptedServer(Turn(calls=[Call("list_files", {"path": "."})]), "ok")) as server:
        main(["run", "--server", server.url, "Look"])
    said = server.requests[1]["messages"][-1]["content"]
    assert ("Denied by a hook: nothing is listed here" in said) is (whose != "untrusted")
    capsys.readouterr()
    main(["config", "get", "hooks"])
    assert ("before_tool echo" in capsys.readouterr().out) is (whose != "untrusted")
