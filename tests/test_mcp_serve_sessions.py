"""Recorded conversations and plans as MCP resources: listed, read, bounded, without secrets, told when they change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import mcp_types as types
import pytest
from mcp import Client, MCPError

from qianda.agents.journal import Journal, open_journal
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.cli.main import main
from qianda.mcp_servers import Offer, recorded_sessions
from qianda.mcp_servers import serving as serving_module
from qianda.mcp_servers.recorded_sessions import LIST, RecordedSessions
from qianda.mcp_servers.server import ToolServer
from qianda.mcp_servers.serving import watch_sessions
from qianda.models.config import data_dir
from qianda.models.errors import ConfigurationError
from qianda.models.plan import Plan, PlanStep
from qianda.models.reply import Reply

Era = Literal["auto", "legacy"]
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
KEY = "sk-abcdefghijklmnop1234567890"


def record(journal: Journal, session: str, *prompts: str, plan: Plan | None = None) -> None:
    for number, prompt in enumerate(prompts):
        run = f"{session}-{number}"
        journal.note(run, "start", {"session": session, "workspace": "/there", "model": "qwen3-8b"})
        journal.note(run, "input", prompt)
        if plan is not None:
            journal.note(run, "plan", plan)
        journal.finish(run, "turn/0", "model", Reply(text=f"Answer to {prompt}", finish="stop"))
        journal.note(run, "finish", {"finish": "done"})


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SQLiteJournal]:
    with closing(SQLiteJournal(tmp_path / "data" / "journal.db")) as journal:
        yield journal


def server_of(journal: SQLiteJournal, tmp_path: Path, **options: Any) -> ToolServer:
    return ToolServer([], workspace=tmp_path, resources=[RecordedSessions(journal.path)], **options)


async def read(client: Client, uri: str) -> tuple[str, str | None]:
    [content] = (await client.read_resource(uri)).contents
    assert isinstance(content, types.TextResourceContents)
    return content.text, content.mime_type


@ERAS
async def test_a_client_lists_and_reads_them(mode: Era, journal: SQLiteJournal, tmp_path: Path) -> None:
    steps = Plan((PlanStep("Look", "done", "4 files"), PlanStep(f"Use {KEY}", "doing")))
    record(journal, "trip/杭州", "Where to?", "And then?", plan=steps)
    record(journal, "other", f"My key is {KEY}")
    async with asyncio.timeout(30), Client(server_of(journal, tmp_path), mode=mode) as client:
        listed = (await client.list_resources()).resources
        assert [item.name for item in listed] == ["sessions", "other", "trip/杭州"]
        assert [item.title for item in listed] == [None, "My key is [secret API key kept out]", "Where to?"]
        templates = (await client.list_resource_templates()).resource_templates
        assert [item.uri_template for item in templates] == [
            "qianda://sessions/{name}",
            "qianda://sessions/{name}/json",
            "qianda://sessions/{name}/plan",
        ]
        text, kind = await read(client, str(listed[2].uri))
        assert kind == "text/markdown"
        assert text.startswith("# trip/杭州\n")
        assert text.index("Where to?") < text.index("Answer to And then?")
        text, kind = await read(client, f"{listed[1].uri}/json")
        assert kind == "application/json"
        whole = json.loads(text)
        assert [message["content"] for message in whole["messages"]] == [
            "My key is [secret API key kept out]",
            "Answer to My key is [secret API key kept out]",
        ]
        assert "left_out" not in whole
        plan, _ = await read(client, f"{listed[2].uri}/plan")
        assert plan == "1. [x] Look (4 files)\n2. [doing] Use [secret API key kept out]\n"
        text, kind = await read(client, LIST)
        assert kind == "application/json"
        assert [session["name"] for session in json.loads(text)] == ["other", "trip/杭州"]
        assert KEY not in text


@ERAS
@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        (f"{LIST}/nobody", "no session nobody"),
        (f"{LIST}/trip/plan", "trip has no plan"),
        (f"{LIST}/trip/secrets", "no resource"),
        (f"{LIST}/trip/json/more", "no resource"),
        ("qianda://elsewhere/trip", "no resource"),
        ("workspace:///trip", r"no resource.*qianda://sessions/\{name\}"),
    ],
)
async def test_what_is_not_there_is_said(
    mode: Era, uri: str, sentence: str, journal: SQLiteJournal, tmp_path: Path
) -> None:
    record(journal, "trip", "Where to?")
    async with asyncio.timeout(30), Client(server_of(journal, tmp_path), mode=mode) as client:
        with pytest.raises(MCPError, match=sentence) as caught:
            await client.read_resource(uri)
    assert caught.value.error.code == (-32002 if mode == "legacy" else types.INVALID_PARAMS)


async def test_they_come_by_page_behind_the_files(
    journal: SQLiteJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_sessions, "PAGE", 3)
    for number in range(7):
        record(journal, f"s{number}", "x")
    (folder := tmp_path / "work").mkdir()
    (folder / "price.txt").write_text("17")
    names: list[str] = []
    async with asyncio.timeout(30), Client(server_of(journal, folder, files=True)) as client:
        found = await client.list_resources()
        while found.next_cursor is not None:
            names += [item.name for item in found.resources]
            record(journal, "s1", "again")  # which moves it to the front, and hides none of the others
            found = await client.list_resources(cursor=found.next_cursor)
        names += [item.name for item in found.resources]
        for cursor in ("1:x", "2:", "sessions"):
            with pytest.raises(MCPError, match="cursor"):
                await client.list_resources(cursor=cursor)
    assert [name for name in names if name != "s1"] == ["price.txt", "sessions", "s6", "s5", "s4", "s3", "s2", "s0"]


async def test_long_conversations_are_given_from_their_end(
    journal: SQLiteJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_sessions, "LARGEST", 5_000)
    record(journal, "long", *(f"{number}:" + "x" * 1_000 for number in range(20)))
    async with asyncio.timeout(30), Client(server_of(journal, tmp_path)) as client:
        text, _ = await read(client, f"{LIST}/long")
        assert len(text) < 6_000
        assert "(36 messages before these are left out)" in text
        assert "19:xxx" in text
        whole = json.loads((await read(client, f"{LIST}/long/json"))[0])
        assert (len(whole["messages"]), whole["left_out"]) == (4, 36)


async def test_without_a_record_there_are_none_and_none_is_made(tmp_path: Path) -> None:
    path = tmp_path / "data" / "journal.db"
    server = ToolServer([], workspace=tmp_path, resources=[RecordedSessions(path)])
    async with asyncio.timeout(30), Client(server) as client:
        assert [item.name for item in (await client.list_resources()).resources] == ["sessions"]
        with pytest.raises(MCPError, match="Nothing was recorded yet"):
            await client.read_resource(LIST)
    assert not path.parent.exists()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "_EVERY", 0.01)


@pytest.mark.usefixtures("quick")
async def test_clients_of_the_older_era_are_told_of_changes(journal: SQLiteJournal, tmp_path: Path) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()

    async def hear(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            told.put_nowait(str(message.params.uri))
        elif isinstance(message, types.ResourceListChangedNotification):
            told.put_nowait("list")

    record(journal, "trip", "Where to?")
    sessions = RecordedSessions(journal.path)
    server = ToolServer([], workspace=tmp_path, resources=[sessions])
    await sessions.changed()
    watching = asyncio.create_task(watch_sessions(sessions, server))
    async with asyncio.timeout(30), Client(server, mode="legacy", message_handler=hear) as client:
        capabilities = client.server_capabilities.resources
        assert capabilities is not None
        assert capabilities.subscribe
        assert capabilities.list_changed
        for uri in (f"{LIST}/trip/plan", f"{LIST}/other"):
            wanted = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=uri))
            await client.session.send_request(wanted, types.EmptyResult)
        await client.list_resources()
        journal.note("trip-0", "plan", Plan((PlanStep("Look"),)))
        assert await told.get() == f"{LIST}/trip/plan"
        unwanted = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=f"{LIST}/trip/plan"))
        await client.session.send_request(unwanted, types.EmptyResult)
        record(journal, "trip", "And then?")
        record(journal, "other", "Begin")
        assert {await told.get(), await told.get()} == {f"{LIST}/other", "list"}
    watching.cancel()


@pytest.mark.usefixtures("quick")
async def test_clients_of_the_newer_era_are_told_of_changes(journal: SQLiteJournal, tmp_path: Path) -> None:
    record(journal, "trip", "Where to?")
    sessions = RecordedSessions(journal.path)
    server = ToolServer([], workspace=tmp_path, resources=[sessions])
    await sessions.changed()
    watching = asyncio.create_task(watch_sessions(sessions, server))
    uri = f"{LIST}/trip"
    async with (
        asyncio.timeout(30),
        Client(server) as client,
        client.listen(resource_subscriptions=[uri]) as events,
    ):
        journal.note("trip-0", "plan", Plan((PlanStep("Look"),)))
        event = await anext(aiter(events))
        assert getattr(event, "uri", "") == uri
    watching.cancel()


def test_only_who_says_so_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert Offer(sessions=data_dir() / "journal.db").tools() == []
    with pytest.raises(ConfigurationError, match="nothing to serve"):
        Offer().tools()
    assert main(["serve", "--sessions", "--config-for", "cursor"]) == 0
    shown = json.loads(capsys.readouterr().out)["mcpServers"]["qianda"]["args"]
    assert "--sessions" in shown
    assert main(["serve", "files", "--config-for", "cursor"]) == 0
    assert "--sessions" not in capsys.readouterr().out
    assert main(["serve", "--help"]) == 0
    assert "all your recorded conversations" in " ".join(capsys.readouterr().out.split())


def test_a_secret_in_a_conversation_is_not_exported(tmp_path: Path) -> None:
    journal = open_journal(data_dir() / "journal.db")
    record(journal, "trip", f"My key is {KEY}")
    journal.close()
    for form in ("markdown", "json", "openai", "sharegpt", "html"):
        out = tmp_path / form
        assert main(["sessions", "export", "trip", "--format", form, "--output", str(out)]) == 0
        assert KEY not in out.read_text()
        assert "kept out" in out.read_text()
