"""The screen of MCP servers: states, what they offer, logs, approval, login, restart, on and off."""

from __future__ import annotations

import asyncio
import json
import sys
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from test_mcp_features import lively
from test_mcp_oauth import Provider, served
from tui_person import chatting

from qianda.models.config import user_config_path
from qianda.testing import Turn
from qianda.tools.mcp import MCPServer
from qianda.tools.mcp.approvals import usable_servers
from qianda.tools.mcp.logins import login_needed

FIXTURE = Path(__file__).parent / "fixtures/mcp/server.py"


def started(mode: str, name: str = "") -> MCPServer:
    return MCPServer(name or mode, (sys.executable, "-S", str(FIXTURE), mode))


async def test_what_a_server_offers_is_listed_and_goes_into_the_prompt() -> None:
    made, server = lively("echo", "grow")
    made.server.instructions = "Ask me about notes."
    async with chatting(Turn("Hi."), size=(120, 40), mcp_servers=[server], permissions="ask") as person:
        await person.press("f4")
        await person.sees(
            "MCP servers: 1 of 1 ready", "2 tools · 4 resources", "Ask me about notes.", "in this process · lively"
        )
        await person.press("enter")
        await person.sees("· echo", "tool, asks", "· note://1", "resource", "template", "· review", "Review code")
        await person.press("down")
        await person.sees("mcp__lively__echo", "may change something")
        await person.press("slash", *"review", "enter")
        await person.until(lambda: person.in_chat)
        assert person.app.chat_screen.editor.text == "/lively:review "
        person.app.chat_screen.editor.text = "see "
        await person.press("f4")
        await person.sees("2 tools · 4 resources")
        await person.press("enter")
        await person.sees("· note://1")
        await person.press("slash", *"note://1", "enter")
        assert "@lively:note://1 " in person.app.chat_screen.editor.text
        agent: Any = person.app.chat.agent
        toolset = agent.resources.mcp
        await person.press("f4")
        await person.sees("2 tools · 4 resources")
        grow = next(tool for tool in toolset.tools if tool.name.endswith("grow"))
        await grow.connection.ask("grow", lambda client: client.call_tool("grow", {}))
        await person.sees("3 tools")


async def test_servers_that_hang_fail_or_log_never_hold_the_screen_up() -> None:
    servers = [started("hang"), started("crash"), started("good")]
    async with chatting(Turn("Hi."), size=(120, 40), mcp_servers=servers) as person:
        await person.press("f4")
        await person.sees("1 of 3 ready")
        assert "connecting" in person.line(" hang ")
        assert "did not start" in person.line("crash ")
        assert "stdio · fixture 1" in person.line("good ")
        await person.press("down")
        await person.sees("crash: failed", "its last words: ImportError: cannot import name")
        await person.press("down", "e")
        await person.sees("0 of 3 ready", "good   off")
        assert person.app.chat.changes.mcp_switched == {"good": False}
        await person.press("home", "e")
        await person.sees("good   ready", "1 of 3 ready")
        await person.press("home", "r")  # a server that hangs ends at once
        await person.sees("1 of 3 ready")


async def test_a_projects_server_is_shown_as_it_would_run_before_it_is_approved() -> None:
    entry = {"command": sys.executable, "args": ["-S", str(FIXTURE), "good"]}
    Path(".mcp.json").write_text(json.dumps({"mcpServers": {"files": entry}}))  # noqa: ASYNC240 - a test may wait
    async with chatting(Turn("Hi."), size=(110, 30), mcp_servers=[started("empty")]) as person:
        await person.press("f4")
        await person.sees("files", "not approved", "1 of 2 ready")
        await person.press("end", "a")
        await person.sees("runs", "this:", f"{FIXTURE.name} good", "Let it be used in this folder")
        await person.press("n")
        assert usable_servers(Path.cwd(), lambda _: None) == []
        await person.press("end", "a")
        await person.sees("Let it be used in this folder")
        await person.press("y")
        await person.sees("2 of 2 ready")
        assert [server.name for server in usable_servers(Path.cwd(), lambda _: None)] == ["files"]
        await person.press("end", "e")
        await person.sees("files is off. In later sessions too?")
        await person.press("y")
        await person.sees("disabled")
        assert usable_servers(Path.cwd(), lambda _: None) == []
        await person.press("end", "e")
        await person.sees("Let it be used in this folder")
        await person.press("y")
        await person.sees("2 of 2 ready")


async def test_a_server_of_the_settings_is_switched_on_for_this_session_alone() -> None:
    path = user_config_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    command = f'command = "{sys.executable}"\nargs = ["-S", "{FIXTURE}", "good"]'
    path.write_text(f"[mcp_servers.mine]\n{command}\nenabled = false\n")
    async with chatting(Turn("Hi."), size=(110, 30), mcp_servers=[started("empty")]) as person:
        await person.press("f4")
        await person.sees("mine", "disabled")
        await person.press("end", "e")
        await person.sees("mine is on. In later sessions too?")
        await person.press("n")
        await person.sees("2 of 2 ready")
    assert usable_servers(Path.cwd(), lambda _: None) == []
    now = usable_servers(Path.cwd(), lambda _: None, switched=person.app.chat.changes.mcp_switched)
    assert [server.name for server in now] == ["mine"]


async def test_a_login_is_shown_made_in_the_browser_and_used(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("qianda.tools.mcp.logins.has_browser", lambda: True)
    async with served(Provider()) as server:
        login_needed(server.url)
        async with chatting(Turn("Hi."), size=(110, 30), mcp_servers=[server]) as person:
            await person.press("f4")
            await person.sees("needs login", "It wants a login: l")
            await person.press("l")
            await person.until(lambda: opened)
            await person.sees("Log in at notes here")
            import httpx2

            async with httpx2.AsyncClient(follow_redirects=True) as http, asyncio.timeout(10):
                await http.get(opened[0])
            await person.sees("Logged in at notes", "1 of 1 ready")
