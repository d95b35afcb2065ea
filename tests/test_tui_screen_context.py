"""The context meter, and a conversation that is made shorter by hand."""

from __future__ import annotations

from pathlib import Path

from tui_person import chatting

from qianda import Agent, tool
from qianda.agents.context_use import context_use
from qianda.agents.loading import load_agent
from qianda.testing import Call, ScriptedServer, Turn


@tool(read_only=True)
async def read(page: int) -> str:
    """Read a page.

    Args:
        page: its number.
    """
    return f"Page {page}. " + "The quick brown fox jumps over the lazy dog. " * 60


def put(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")


async def test_the_meter_names_what_fills_the_window() -> None:
    script = (Turn(reasoning="I should read it. " * 20, calls=[Call("read", {"page": 1})]), "It is about a fox.")
    server = ScriptedServer(*script, window=16_384)
    async with chatting(server=server, tools=[read], instructions="You read pages. " * 10) as person:
        await person.says("Read page 1")
        await person.press("f10")
        await person.sees("by the server", "of 16,384 tokens", "Before the conversation", "Conversation", "free")
        lines = person.screen().splitlines()
        number = {
            name: next(line for line in lines if name in line).split() for name in ("instructions", "results", "free")
        }
        assert "█" in number["results"][-1]
        assert "░" in number["free"][-1]
        assert int(number["free"][-3].replace(",", "")) > 8_000
        await person.press("end", "up", "up", "up")
        await person.sees("read", "▸ results of tools")
        await person.press("c")
        await person.sees("is made shorter before your next prompt")


async def test_what_is_counted() -> None:
    home = Path.home()
    put(home / "AGENTS.md", "Always answer in rhymes.\n" * 20)
    async with ScriptedServer("Hello.") as server:
        agent: Agent[object] = load_agent("assistant", server=server.url, workspace=home / "work")
        async with agent:
            use = await context_use(agent, ())
    portions = {portion.name: portion for portion in use.portions}
    assert use.window
    assert use.tokens + use.free + use.reserve == use.window
    assert portions["tools"].tokens == sum(tokens for _, tokens in portions["tools"].of) > 0
    assert portions["memory"].of == ((str(home / "AGENTS.md"), portions["memory"].of[0][1]),)
    assert portions["memory"].tokens > portions["memory"].of[0][1] > 60
    assert portions["user"].tokens == portions["results"].tokens == 0


async def test_compacted_by_hand() -> None:
    calls = [Turn(calls=[Call("read", {"page": number})]) for number in range(6)]
    async with chatting(*calls, "Read.", "A fox.", tools=[read]) as person:
        await person.says("Read six pages")
        before = len(str(person.server.requests[-1]["messages"]))
        await person.does("compact")
        await person.sees("is made shorter before your next prompt")
        await person.says("What was it about?")
        await person.sees("Context compacted", "A fox.")
        assert len(str(person.server.requests[-1]["messages"])) < before / 1.5
