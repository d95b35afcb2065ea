"""The record: what was committed is never done again, and what was in flight is done at most once if it is not safe."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import orjson
import pytest

from qianda import (
    Agent,
    AssistantMessage,
    Journal,
    JournalError,
    Limits,
    ToolMessage,
    UserMessage,
    open_journal,
    tool,
)
from qianda.agents.conversation import STOPPED, UNKNOWN_OUTCOME, closed, from_records
from qianda.agents.journal import MemoryJournal, OutcomeUnknown, Record
from qianda.models.config import data_dir
from qianda.models.events import RunFinished
from qianda.models.messages import MediaPart, Message, TextPart, ToolCall
from qianda.models.reply import Reply
from qianda.testing import Call, Fault, ScriptedServer, Turn
from qianda.tools.results import ToolResult


@pytest.fixture(params=["memory", "file"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return open_journal(None if request.param == "memory" else tmp_path / "deep" / "journal.db")


async def work(counter: list[int]) -> ToolResult:
    counter.append(1)
    return ToolResult((TextPart("done 好"), MediaPart("image", "data:image/png;base64,AA==")))


async def test_a_finished_step_is_not_done_again(journal: Journal) -> None:
    done: list[int] = []
    first = await journal.step("r", "k", lambda: work(done), kind="tool", repeat="unknown", returns=ToolResult)
    again = await journal.step("r", "k", lambda: work(done), kind="tool", repeat="unknown", returns=ToolResult)
    other = await journal.step("s", "k", lambda: work(done), kind="tool", repeat="unknown", returns=ToolResult)
    assert first == again == other
    assert len(done) == 2


@pytest.mark.parametrize("repeat", ["safe", "unknown"])
async def test_a_started_step_is_done_again_only_if_that_is_safe(journal: Journal, repeat: str) -> None:
    async def dies() -> ToolResult:
        raise asyncio.CancelledError

    done: list[int] = []
    with pytest.raises(asyncio.CancelledError):
        await journal.step("r", "k", dies, kind="tool", repeat="safe", returns=ToolResult)
    if repeat == "unknown":
        with pytest.raises(OutcomeUnknown):
            await journal.step("r", "k", lambda: work(done), kind="tool", repeat="unknown", returns=ToolResult)
        assert done == []
    else:
        await journal.step("r", "k", lambda: work(done), kind="tool", repeat="safe", returns=ToolResult)
        assert done == [1]


async def test_the_record_gives_the_conversation_back(journal: Journal) -> None:
    @tool
    async def look(at: str) -> str:
        """Looks."""
        await asyncio.sleep(0 if at == "b" else 0.01)  # so that the second call ends first
        return f"saw {at}"

    async with ScriptedServer(
        Turn("wait", reasoning="r", calls=[Call("look", {"at": "a"}), Call("look", {"at": "b"})]), "end"
    ) as server:
        result = await Agent(server=server.url, tools=[look], journal=journal).run(
            [TextPart("go"), MediaPart("image", "data:image/png;base64,AA==")]
        )
    assert tuple(from_records(journal.records(result.run_id))) == result.messages


async def test_a_session_remembers_over_processes(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with ScriptedServer("Hello Ann.", "Ann.") as server:
        await Agent(server=server.url, journal=path).session("trip").run("I am Ann.")
        session = Agent(server=server.url, journal=path).session("trip")
        assert [message.role for message in session.messages] == ["user", "assistant"]
        assert (await session.run("Who am I?")).output == "Ann."
        other = Agent(server=server.url, journal=path).session("other")
    assert [message["content"] for message in server.requests[1]["messages"]] == [
        "I am Ann.",
        "Hello Ann.",
        "Who am I?",
    ]
    assert other.messages == ()


async def test_a_cancelled_prompt_does_not_merge_with_the_next() -> None:
    async with ScriptedServer(Turn("It is a long story.", fault=Fault.hang(after=4)), "fine") as server:
        session = Agent(server=server.url, journal=open_journal(None)).session("s")
        async with session.stream("first") as run:
            async for event in run:
                if event.type == "text_delta":
                    run.cancel()
        await session.run("second")
    assert [message["content"] for message in server.requests[-1]["messages"]] == ["first", STOPPED, "second"]


CALL = ToolCall("c", "look", "{}")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([], []),
        ([UserMessage("a")], [UserMessage("a"), AssistantMessage(STOPPED)]),
        (
            [UserMessage("a"), AssistantMessage(tool_calls=(CALL,))],
            [
                UserMessage("a"),
                AssistantMessage(tool_calls=(CALL,)),
                ToolMessage("c", "look", UNKNOWN_OUTCOME, "failed"),
                AssistantMessage(STOPPED),
            ],
        ),
        ([UserMessage("a"), AssistantMessage("b")], [UserMessage("a"), AssistantMessage("b")]),
    ],
)
def test_what_was_left_open_is_closed(left: list[Message], right: list[Message]) -> None:
    assert closed(left) == right


PROGRAM = """
import asyncio, sys
from qianda.agents.journal import open_journal
from qianda.tools.results import ToolResult

async def main(path, count, run_id):
    journal = open_journal(path)
    for n in range(count):
        async def work(n=n):
            with open(path + ".done", "a") as file:
                file.write(f"{n}\\n")
            return ToolResult(str(n))
        await journal.step(run_id, f"turn/{n}", work, kind="tool", repeat="safe", returns=ToolResult)
        print(n, flush=True)
    print("end", flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
"""


def test_a_run_of_a_call_that_was_killed_before_its_prompt_begins_again(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.db")
    for _ in range(2):
        journal.note("r.1-0", "start", {"session": "s"})
    journal.note("r.1-0", "input", "go")
    assert journal.runs("s") == ["r.1-0"]


def test_two_processes_share_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    programs = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM), path, "60", run_id], stdout=subprocess.PIPE)
        for run_id in ("a", "b")
    ]
    outputs = [program.communicate(timeout=30)[0] for program in programs]
    assert all(output.endswith(b"end\n") for output in outputs)
    for run_id in ("a", "b"):
        assert sum(record.state == "finished" for record in open_journal(path).records(run_id)) == 60


def test_a_file_that_is_no_journal_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(JournalError, match=r"journal\.db"):
        open_journal(path)
    with pytest.raises(JournalError, match="opened"):
        open_journal(tmp_path / "journal.db" / "x.db")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    open_journal(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer"):
        open_journal(path)


LIMITED = """
import resource, sys
from qianda import JournalError, open_journal

def disk_of(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

disk_of(int(sys.argv[2]))
try:
    open_journal(sys.argv[1])
    print("opened")
except JournalError as error:
    print(error)
disk_of(resource.RLIM_INFINITY)
journal = open_journal(sys.argv[1])
journal.note("r", "start", {"session": "s"})
print(journal.runs("s"))
"""


@pytest.mark.parametrize("size", [0, 4096, 8192, 12288, 16384])
def test_a_journal_that_a_full_disk_stopped_in_the_making_can_be_made_later(tmp_path: Path, size: int) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "journal.db"), str(size)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    first, second = result.stdout.splitlines()
    assert first == "opened" or "Is the disk full" in first
    assert second == "['r']"


def test_all_files_of_the_record_are_the_owners_alone(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.db")
    journal.note("r", "input", "secret")
    rights = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert "journal.db-wal" in rights
    assert set(rights.values()) == {0o600}
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.note("r", "input", "more")


class Full(MemoryJournal):
    """A record on a disk that is full after so many lines."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.left = lines

    def append(self, record: Record) -> None:
        """Keep a record while there is room."""
        if self.left == 0:
            raise JournalError("The record could not be written", cure="Is the disk full?")
        self.left -= 1
        super().append(record)


@pytest.mark.parametrize("lines", range(12))
async def test_a_disk_that_is_full_ends_the_run_with_one_clear_error(lines: int) -> None:
    @tool
    async def quick() -> str:
        """Quick."""
        return "done"

    @tool
    async def endless() -> str:
        """Endless until it is stopped."""
        await asyncio.Future()
        return ""

    async with ScriptedServer(Turn(calls=[Call("quick"), Call("endless")]), "end") as server:
        limits = Limits(seconds=0.3)  # of a run whose record still had room
        run = Agent(server=server.url, tools=[quick, endless], journal=Full(lines), limits=limits).stream("go")
        async with asyncio.timeout(50), run:
            events = [event async for event in run]
    last = events[-1]
    assert isinstance(last, RunFinished)
    if lines < 7:
        assert (last.reason, last.which) == ("error", "JournalError")
        assert last.message.endswith("Is the disk full?")
        with pytest.raises(JournalError):
            _ = run.result
    else:
        assert (last.reason, last.which) == ("limit", "seconds")


async def test_two_steps_of_one_key_at_the_same_time_are_done_once(journal: Journal) -> None:
    done: list[int] = []
    begun = asyncio.Event()

    async def slow() -> ToolResult:
        begun.set()
        await asyncio.sleep(0)
        return await work(done)

    async def second() -> ToolResult:
        await begun.wait()
        return await journal.step("r", "k", slow, kind="tool", repeat="unknown", returns=ToolResult)

    first = journal.step("r", "k", slow, kind="tool", repeat="unknown", returns=ToolResult)
    results = await asyncio.gather(first, second(), return_exceptions=True)
    assert [type(result) for result in results] == [ToolResult, OutcomeUnknown]
    assert done == [1]


async def test_a_large_picture_comes_back_whole(tmp_path: Path) -> None:
    picture = MediaPart("image", "data:image/png;base64," + "QUFB" * 2_000_000)
    async with ScriptedServer("a cat") as server:
        path = tmp_path / "journal.db"
        await Agent(server=server.url, journal=path).session("s").run([TextPart("what is it?"), picture])
        assert Agent(journal=path).session("s").messages[0] == UserMessage((TextPart("what is it?"), picture))


async def test_a_session_whose_last_run_was_killed_goes_on(tmp_path: Path) -> None:
    def look() -> str:
        """Looks."""
        return "seen"

    path = tmp_path / "journal.db"
    killed = open_journal(path)
    killed.note("r", "start", {"session": "s"})
    killed.note("r", "input", "look twice")
    reply = Reply(calls=(ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}")), finish="tool_calls")
    for key, kind, result in (("turn/0", "model", reply), ("turn/0/call/1", "tool", ToolResult("seen"))):
        killed.append(Record("r", key, kind, "started", 0.0, b"null"))
        killed.append(Record("r", key, kind, "finished", 0.0, orjson.dumps(result)))
    killed.append(Record("r", "turn/0/call/0", "tool", "started", 0.0, b"null"))
    async with ScriptedServer("fine") as server:
        session = Agent(server=server.url, tools=[look], journal=path).session("s")
        assert (await session.run("and?")).output == "fine"
    told = server.requests[0]["messages"]
    assert [message["role"] for message in told] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert {message["tool_call_id"]: message["content"] for message in told[2:4]} == {"a": UNKNOWN_OUTCOME, "b": "seen"}


async def test_a_session_is_kept_beside_an_agent_that_keeps_nothing(tmp_path: Path) -> None:
    async with ScriptedServer("one", "two") as server, Agent(server=server.url) as agent:
        session = agent.session("trip")
        await session.run("first")
        other = await agent.run("not in the record")
    there = Agent(server="http://127.0.0.1:9")
    assert [message.content for message in there.session("trip").messages] == ["first", "one"]
    assert list(open_journal(data_dir() / "journal.db").records(other.run_id)) == []


async def test_the_session_without_a_name_is_one_of_its_own(journal: Journal) -> None:
    async with ScriptedServer("one", "two") as server:
        agent = Agent(server=server.url, journal=journal)
        await agent.run("outside")
        assert agent.session("").messages == ()
        await agent.session("").run("inside")
        assert agent.session("").messages[0] == UserMessage("inside")


def test_a_clock_that_is_set_back_does_not_turn_a_session_around(journal: Journal) -> None:
    for run_id, time in (("first", 100.0), ("second", 50.0), ("third", 75.0)):
        journal.append(Record(run_id, "", "start", "noted", time, b'{"session": "s"}'))
    assert journal.runs("s") == ["first", "second", "third"]


async def test_an_empty_reply_leaves_no_empty_message(journal: Journal) -> None:
    async with ScriptedServer("", "here") as server:
        result = await Agent(server=server.url, journal=journal).run("go")
    assert tuple(from_records(journal.records(result.run_id))) == result.messages
