"""Sessions of a record: brought up to date, resumed, forked, rewound, searched, exported."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from qianda import Agent, Context, Decision, JournalError, Limits, UserMessage, files, open_journal, tool
from qianda.agents.conversation import UNKNOWN_OUTCOME, from_records
from qianda.agents.export import ExportFormat, export_session
from qianda.agents.journal import Journal, Record
from qianda.agents.journal_index import find_session, list_sessions, remove_sessions, search
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.models.errors import ConfigurationError, LimitReached
from qianda.models.events import CallFinished, Event, Notice
from qianda.models.messages import ToolCall
from qianda.models.reply import Reply
from qianda.testing import Call, Fault, ScriptedServer, Turn
from qianda.tools.permissions import ApprovalRequest
from qianda.tools.results import ToolResult

FIRST_FORMAT = """
CREATE TABLE record (id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL,
    state TEXT NOT NULL, time REAL NOT NULL, data BLOB NOT NULL);
CREATE INDEX record_of_run ON record (run_id, key);
CREATE TABLE run (run_id TEXT PRIMARY KEY, session TEXT, time REAL NOT NULL);
CREATE INDEX run_of_session ON run (session, time);
INSERT INTO run VALUES ('r1', 'trip', 10.0), ('r2', NULL, 20.0);
INSERT INTO record (run_id, key, kind, state, time, data) VALUES
    ('r1', '', 'start', 'noted', 10.0, '{"session": "trip", "model": "qwen3-8b", "workspace": "/home/me"}'),
    ('r1', '', 'input', 'noted', 11.0, '"Where is   it warm?"'),
    ('r1', 'turn/0', 'model', 'started', 12.0, 'null'),
    ('r1', 'turn/0', 'model', 'finished', 13.0, '{"text":"In Haikou.","finish":"stop"}'),
    ('r1', '', 'finish', 'noted', 14.0, '{"finish": "done", "message": ""}'),
    ('r2', '', 'start', 'noted', 20.0, '{"session": null, "model": "qwen3-8b", "workspace": "/home/me"}'),
    ('r2', '', 'input', 'noted', 21.0, '[{"type": "text", "text": "Look"}, {"type": "image", "url": "data:"}]');
PRAGMA user_version = 1;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_a_file_of_the_first_format_is_brought_up_to_date(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.executescript(FIRST_FORMAT)
    db.close()
    journal = SQLiteJournal(path)
    trip, other = sorted(list_sessions(journal), key=lambda session: session.began)
    assert (trip.name, trip.title, trip.model, trip.workspace) == ("trip", "Where is it warm?", "qwen3-8b", "/home/me")
    assert (trip.state, trip.prompts, trip.updated) == ("done", 1, 14.0)
    assert (other.name, other.title, other.state) == ("r2", "Look", "interrupted")
    messages = Agent(journal=path).session("trip").messages
    assert [message.content for message in messages] == ["Where is   it warm?", "In Haikou."]
    journal.close()
    assert SQLiteJournal(path).runs("trip") == ["r1"]


def test_large_content_is_kept_once(path: Path) -> None:
    journal = SQLiteJournal(path)
    for number in range(20):
        journal.note("r", "output", "x" * 100_000)
        assert list(journal.records("r"))[number].data == orjson.dumps("x" * 100_000)
    assert sqlite3.connect(path).execute("SELECT sum(length(data)) FROM content").fetchone()[0] < 110_000


@pytest.fixture(params=["memory", "file"])
def journal(request: pytest.FixtureRequest, path: Path) -> Journal:
    return open_journal(None if request.param == "memory" else path)


@tool
async def count(number: int, context: Context) -> str:
    """Count."""
    context.value.append(number)
    return f"counted {number}"


def counting(times: int) -> list[Turn | str]:
    return [*(Turn(calls=[Call("count", {"number": number})]) for number in range(times)), "counted all"]


async def cancel_after(run: Any, content: str) -> list[Event]:
    events: list[Event] = []
    async with run:
        async for event in run:
            events.append(event)
            if isinstance(event, CallFinished) and event.content == content:
                run.cancel()
    return events


async def test_a_cancelled_run_goes_on(journal: Journal) -> None:
    done: list[int] = []
    async with ScriptedServer(*counting(5)) as server:
        agent = Agent(server=server.url, tools=[count], journal=journal)
        run = agent.stream("count", context=done)
        await cancel_after(run, "counted 2")
        again = agent.resume(run.id, context=done)
        async with again:
            events = [event async for event in again]
        assert again.result.output == "counted all"
        assert len(server.requests) == 6
    assert done == [0, 1, 2, 3, 4]
    assert [event.content for event in events if isinstance(event, CallFinished)] == [
        f"counted {number}" for number in (2, 3, 4)
    ]
    assert any(isinstance(event, Notice) and "3 replies and 3 calls" in event.text for event in events)
    assert tuple(from_records(journal.records(run.id))) == again.result.messages
    assert again.result.usage.requests == 6
    with pytest.raises(ConfigurationError, match="is done"):
        agent.resume(run.id)
    with pytest.raises(ConfigurationError, match="no run"):
        agent.resume("nothing")


async def test_what_was_said_meanwhile_and_the_history_are_there_again(path: Path) -> None:
    done: list[int] = []
    async with ScriptedServer("", *counting(2), model="qwen3-8b") as server:
        agent = Agent(server=server.url, tools=[count], journal=path)
        run = agent.stream("count", history=[UserMessage("before")], context=done)
        async with run:
            async for event in run:
                if isinstance(event, CallFinished) and event.content == "counted 0":
                    run.steer("and mind the step")
                elif isinstance(event, CallFinished):
                    run.cancel()
        noted = len([record for record in open_journal(path).records(run.id) if record.kind == "input"])
        async with Agent(server=server.url, tools=[count], journal=path).resume(run.id, context=done) as again:
            result = await again.wait()
    users = [message.content for message in result.messages if isinstance(message, UserMessage)]
    assert users[:2] == ["before", "count"]
    assert users[-1] == "and mind the step"
    assert len(users) == noted + 1 == 4
    assert tuple(from_records(open_journal(path).records(run.id))) == result.messages


async def test_a_run_that_a_server_or_a_limit_ended_goes_on(journal: Journal) -> None:
    done: list[int] = []
    async with ScriptedServer(*counting(2)[:1], Fault.status(401), *counting(2)[1:]) as server:
        agent = Agent(server=server.url, tools=[count], journal=journal, limits=Limits(turns=2))
        run = agent.stream("count", context=done)
        async with run:
            with pytest.raises(Exception, match="401"):
                await run.wait()
        async with agent.resume(run.id, context=done) as again:
            with pytest.raises(LimitReached):
                await again.wait()
        agent.limits = Limits()
        async with Agent(server=server.url, tools=[count], journal=journal).resume(run.id, context=done) as last:
            assert (await last.wait()).output == "counted all"
    assert done == [0, 1]


async def test_an_approval_is_not_asked_for_again(path: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    async def approve(request: ApprovalRequest) -> Decision:
        asked.append(request.name)
        return Decision.allow()

    turns = [Turn(calls=[Call("write_file", {"path": "a", "content": "1"})]), Fault.status(401), "written"]
    async with ScriptedServer(*turns) as server:
        agent = Agent(server=server.url, tools=files(), journal=path, workspace=tmp_path, approve=approve)
        run = agent.stream("write")
        async with run:
            with pytest.raises(Exception, match="401"):
                await run.wait()
        strict = Agent(server=server.url, tools=files(), journal=path, workspace=tmp_path, permissions="read-only")
        async with strict.resume(run.id) as again:
            result = await again.wait()
    assert asked == ["write_file"]
    assert "Wrote" in str(result.messages[2].content)


async def test_an_approval_for_the_session_counts_after_a_resume(path: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    async def approve(request: ApprovalRequest) -> Decision:
        asked.append(request.name)
        return Decision.allow(scope="session")

    write = Turn(calls=[Call("write_file", {"path": "a", "content": "1"})])
    async with ScriptedServer(write, Fault.status(401), write, "written") as server:

        def agent() -> Agent:
            return Agent(server=server.url, tools=files(), journal=path, workspace=tmp_path, approve=approve)

        run = agent().stream("write")
        async with run:
            with pytest.raises(Exception, match="401"):
                await run.wait()
        async with agent().resume(run.id) as again:
            assert (await again.wait()).output == "written"
    assert asked == ["write_file"]


async def test_a_call_in_flight_whose_approval_was_given_is_not_repeated(path: Path) -> None:
    killed = open_journal(path)
    killed.note("r", "start", {"session": None})
    killed.note("r", "input", "count")
    killed.finish("r", "turn/0", "model", Reply(calls=(ToolCall("a", "count", '{"number": 1}'),), finish="tool_calls"))
    killed.append(Record("r", "turn/0/call/0", "tool", "started", 0.0, b"null"))
    with pytest.raises(JournalError, match="still going on"):
        killed.claim("r")
    killed.close()
    done: list[int] = []
    async with ScriptedServer("checked", model="qwen3-8b") as server:
        async with Agent(server=server.url, tools=[count], journal=path).resume("r", context=done) as run:
            assert (await run.wait()).output == "checked"
        assert [message["content"] for message in server.requests[0]["messages"]][-1] == UNKNOWN_OUTCOME
    assert done == []
    assert [record.state for record in open_journal(path).records("r") if record.kind == "tool"] == [
        "started",
        "finished",
    ]


HOLD = """
import sys
from qianda import open_journal
journal = open_journal(sys.argv[1])
journal.note("r", "start", {"session": "s"})
journal.note("r", "input", "hi")
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_run_of_another_process_is_left_alone_until_that_dies(path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        journal = SQLiteJournal(path)
        assert list_sessions(journal)[0].state == "running"
        with pytest.raises(JournalError, match="still going on"):
            journal.claim("r")
        process.kill()
        process.wait()
        assert list_sessions(journal)[0].state == "interrupted"
        journal.claim("r")
        with pytest.raises(JournalError, match="still going on"):
            journal.claim("r")


async def test_forks_share_a_beginning_and_go_their_own_way(journal: Journal) -> None:
    done: list[int] = []
    async with ScriptedServer(*counting(3), Turn(calls=[Call("count", {"number": 9})]), "other end") as server:
        agent = Agent(server=server.url, tools=[count], journal=journal)
        run = agent.stream("count", context=done)
        async with run:
            await run.wait()
        fork = run.fork(at=2)
        async with fork:
            result = await fork.wait()
    assert done == [0, 1, 2, 9]
    assert result.output == "other end"
    assert result.messages[:5] == run.result.messages[:5]
    assert tuple(from_records(journal.records(run.id))) == run.result.messages
    with pytest.raises(ConfigurationError, match="4 replies"):
        run.fork(at=5)


async def test_a_session_is_rewound_with_its_files_and_nothing_is_lost(journal: Journal, tmp_path: Path) -> None:
    def write(name: str, content: str) -> Turn:
        return Turn(calls=[Call("write_file", {"path": name, "content": content})])

    turns = [write("a", "1"), "one", write("b", "1"), write("c", "1"), "two", "again"]
    async with ScriptedServer(*turns) as server:
        folder = tmp_path / "work"
        folder.mkdir()
        agent = Agent(server=server.url, tools=files(), journal=journal, workspace=folder, permissions="auto")
        session = agent.session("trip")
        await session.run("first")
        await session.run("second")
        before = session.messages
        copy = session.fork(at=1)
        assert (copy.name, copy.messages) == ("trip-2", before[:4])
        (folder / "b").write_text("by hand")
        rewound = session.rewind(to="2.1", files=True)
        assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
        assert session.messages[:7] == before[:7]
        assert agent.session(rewound.kept_as).messages == before
        rewound = session.rewind(to=1, files=True)
        assert rewound.files is not None
        assert [conflict.path for conflict in rewound.files.conflicts] == ["b"]
        assert session.messages == before[:4]
        assert (await session.run("third")).output == "again"
    for point in (3, "0.1", "x", "1.9", -1):
        with pytest.raises(ConfigurationError):
            session.rewind(to=point)
    with pytest.raises(ConfigurationError, match="already"):
        session.fork("trip-2")


@pytest.fixture
async def talked(path: Path) -> SQLiteJournal:
    """Two sessions: one with a call, one in Chinese that tries to be HTML."""
    thinking = Turn("", reasoning="let me <i>think</i>", calls=[Call("count", {"number": 7})])
    async with ScriptedServer(thinking, "seven <b>ducks</b>", "杭州今天天气很好。", model="qwen3-8b") as server:
        agent = Agent(server=server.url, tools=[count], journal=path, instructions="Count.")
        async with agent.session("ducks").stream("How many <script>alert(1)</script> ducks?") as run:
            run.context = []
            await run.wait()
        await agent.session("旅行").run("杭州天气怎么样？")
    return SQLiteJournal(path)


def test_search_finds_words_of_any_length_and_language(talked: SQLiteJournal) -> None:
    def found(words: str) -> list[tuple[str, str]]:
        return [(place.session, place.kind) for place in search(talked, words)]

    assert found("天气") == [("旅行", "model"), ("旅行", "input")]
    assert found("天气很好") == [("旅行", "model")]
    assert found("DUCKS seven") == [("ducks", "model")]
    assert found("counted") == [("ducks", "tool")]
    assert found('"ducks"') == found("7 horses") == found("") == []
    assert search(talked, "今天")[0].snippet == "杭州今天天气很好。"


def test_sessions_are_found_by_a_part_of_their_name(talked: SQLiteJournal) -> None:
    assert find_session(talked, "du").name == find_session(talked, "cks").name == "ducks"
    assert find_session(talked, "last").name == "旅行"
    assert find_session(talked, talked.runs("ducks")[0][-8:]).name == "ducks"
    for name in ("20", "none", "%", ""):
        with pytest.raises(ConfigurationError):
            find_session(talked, name)


def test_what_is_removed_is_gone(talked: SQLiteJournal, path: Path) -> None:
    assert search(talked, "ducks")
    remove_sessions(talked, ["ducks"])
    assert [session.name for session in list_sessions(talked)] == ["旅行"]
    assert search(talked, "ducks") == []
    talked.close()
    assert b"ducks" not in path.read_bytes()


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_exports_to_be_read(talked: SQLiteJournal, form: ExportFormat) -> None:
    text = export_session(talked, "ducks", form)
    for part in ("How many", "ducks", "count", "counted 7", "qwen3-8b"):
        assert part in text
    assert ("<script>" in text) == (form == "markdown")
    assert ("let me &lt;i&gt;think" in text) == (form == "html")


def test_exports_for_programs(talked: SQLiteJournal) -> None:
    whole = json.loads(export_session(talked, "ducks", "json"))
    assert (whole["format"], whole["instructions"], whole["tools"][0]["name"]) == ("qianda-session", "Count.", "count")
    assert [message["role"] for message in whole["messages"]] == ["user", "assistant", "tool", "assistant"]
    openai = json.loads(export_session(talked, "ducks", "openai"))
    assert [message["role"] for message in openai["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert openai["messages"][2]["tool_calls"][0]["function"] == {"name": "count", "arguments": '{"number": 7}'}
    assert openai["messages"][2]["reasoning_content"] == "let me <i>think</i>"
    assert openai["tools"][0]["function"]["name"] == "count"
    turns = json.loads(export_session(talked, "ducks", "sharegpt"))["conversations"]
    assert [turn["from"] for turn in turns] == ["system", "human", "gpt", "tool", "gpt"]
    assert turns[0]["value"].startswith("Count.\n\n# Tools\n")
    call = '<tool_call>\n{"name": "count", "arguments": {"number": 7}}\n</tool_call>'
    assert turns[2]["value"] == f"<think>\nlet me <i>think</i>\n</think>\n\n{call}"
    assert turns[3]["value"] == "<tool_response>\ncounted 7\n</tool_response>"


def test_a_full_disk_leaves_a_whole_record(path: Path) -> None:
    journal = SQLiteJournal(path)
    with journal.reading() as db:
        db.execute("PRAGMA max_page_count = 40")
    written = 0
    with suppress(JournalError):
        while written < 10_000:
            journal.finish("r", f"turn/{written}", "tool", ToolResult("x" * 500 * (written % 7)))
            written += 1
    assert 5 < written < 10_000
    with pytest.raises(JournalError, match="full"):
        journal.finish("r", "turn/x", "tool", ToolResult("x" * 100_000))
    with journal.reading() as db:
        db.execute("PRAGMA max_page_count = 100000")
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(list(journal.records("r"))) == written
    journal.note("r", "input", "room again")
