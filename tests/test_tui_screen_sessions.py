"""The sessions: listed, searched, gone on with, resumed, forked, renamed, exported and deleted, on a real record."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tui_person import chatting

from qianda import Agent, LimitReached, Limits, tool
from qianda.agents.journal_index import list_sessions
from qianda.models.config import data_dir
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tui.recorded import open_record


@tool(idempotent=True)
async def build(part: str) -> str:
    """Build a part.

    Args:
        part: its name.
    """
    return f"{part} is built"


def names() -> list[str]:
    with closing(open_record()) as journal:
        return [session.name for session in list_sessions(journal)]


def text_of(file: str) -> str:
    return Path(file).read_text(encoding="utf-8")


async def record(session: str, *exchanges: tuple[str, str], workspace: str = ".") -> None:
    async with ScriptedServer(*(answer for _, answer in exchanges)) as server:
        agent = Agent(server=server.url, journal=data_dir() / "journal.db", workspace=workspace)
        conversation = agent.session(session)
        for prompt, _ in exchanges:
            await conversation.run(prompt)


async def test_listed_searched_and_gone_on_with(tmp_path_factory: pytest.TempPathFactory) -> None:
    await record("trip", ("Where to go?", "To **Hangzhou**."), ("And then?", "天气很好 in Berlin."))
    await record("chat-1", ("Count to three", "1 2 3"))
    await record("far", ("Something else", "Yes."), workspace=str(tmp_path_factory.mktemp("elsewhere")))
    async with chatting("Paris.") as person:
        await person.press("f2")
        await person.sees("Sessions in", ": 2", "▸ chat-1 · Count to three", "trip · Where to go?", "1 2 3")
        assert "Something else" not in person.screen()
        await person.press("down")
        await person.sees("› And then?", "天气很好 in Berlin.")
        await person.press("slash")
        await person.types("hangzhou")
        await person.sees_no("Count to three")
        await person.sees("▸ trip · Where to go?", "Hangzhou")
        await person.press("escape", "a")
        await person.sees("all folders: 3", "Something else")
        await person.press("home", "enter")
        await person.sees("qianda --session far")
        assert not person.in_chat
        await person.press("slash")
        await person.types("berlin")
        await person.press("enter")
        await person.until(lambda: person.in_chat)
        await person.sees("› Where to go?", "To Hangzhou.", "天气很好 in Berlin.")
        await person.says("More?")
        await person.sees("Paris.")
        asked = person.server.requests[-1]["messages"]
        assert [message["role"] for message in asked][-5:] == ["user", "assistant", "user", "assistant", "user"]


async def test_what_was_interrupted_is_resumed() -> None:
    async with ScriptedServer(Turn(calls=[Call("build", {"part": "wall"})])) as server:
        agent = Agent(server=server.url, journal=data_dir() / "journal.db", tools=[build], limits=Limits(turns=1))
        with pytest.raises(LimitReached):
            await agent.session("house").run("Build a house.")
    async with chatting("The house is built.", tools=[build]) as person:
        await person.press("f2")
        await person.sees("house · Build a house.", "limit")
        await person.press("enter")
        await person.sees("Resume it?", "y yes · n no")
        await person.press("n")
        await person.until(lambda: person.in_chat)
        await person.sees("› Build a house.", "wall is built")
        assert "The house is built." not in person.screen()
        await person.does("resume")
        await person.sees("The house is built.")
        assert person.screen().count("Build a house.") == 1
        await person.does("resume")
        await person.sees("is done")


async def test_forked_renamed_exported_and_deleted() -> None:
    await record("trip", ("Where to go?", "To Hangzhou."), ("And then?", "To Berlin."))
    async with chatting() as person:
        await person.press("f2")
        await person.sees("▸ trip")
        await person.press("f")
        await person.sees("How many of its 2 prompts")
        await person.press("backspace", "1", "enter")
        await person.sees("Forked as trip-2", "▸ trip-2")
        await person.press("n")
        await person.sees("Its new name")
        await person.press("ctrl+u")
        await person.types("walk")
        await person.press("enter")
        await person.sees("walk · Where to go?")
        await person.press("n")
        await person.press("ctrl+u")
        await person.types("trip")
        await person.press("enter")
        await person.sees("There is a session 'trip' already")
        assert sorted(names()) == ["trip", "walk"]
        await person.press("e")
        await person.sees("Written to")
        assert "Hangzhou" in text_of("walk.md")
        assert "Berlin" not in text_of("walk.md")
        await person.press("d", "enter")
        assert sorted(names()) == ["trip", "walk"]
        await person.press("d")
        await person.sees("Delete")
        await person.press("y")
        await person.sees_no("walk ·")
        assert names() == ["trip"]
        await person.press("escape")
        await person.until(lambda: person.in_chat)
