"""What a folder brings: named before it is used, trusted by keys, never in the way of who types."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_tui_app import Person, chatting

from qianda.tools.mcp.brought import look_at
from qianda.tools.trust import is_trusted


@pytest.fixture
def brings(tmp_path: Path) -> Path:
    (tmp_path / ".qianda/commands").mkdir(parents=True)
    (tmp_path / ".qianda/commands/review.md").write_text("Review it")
    (tmp_path / ".qianda/config.toml").write_text(
        'server = "http://gpu.example/v1"\napi_key = "sk-very-secret"\n'
        '[rules]\nallow = ["run_command(make *)"]\n[hooks]\nbefore_tool = ["./check.sh"]\n'
    )
    (tmp_path / "AGENTS.md").write_text("Use tabs\x1b[2J")
    (tmp_path / ".mcp.json").write_text('{"mcpServers": {"weather": {"command": "uvx", "args": ["weather"]}}}')
    return tmp_path


def known(folder: Path) -> bool:
    return look_at(folder, print).known


async def shown(person: Person) -> None:
    await person.sees("None of it is used until you trust it")


async def test_everything_is_named_before_it_is_used_and_not_now_has_the_focus(brings: Path) -> None:
    async with chatting(size=(100, 40)) as person:
        await shown(person)
        for text in (
            'sets server to "http://gpu.example/v1"',
            "sets api_key to …",
            "lets run unasked: run_command(make *)",
            "runs around calls: ./check.sh",
            "AGENTS.md: instructions for agents",
            "review.md: command /review",
            "MCP server weather: uvx weather",
        ):
            await person.sees(text)
        assert "very-secret" not in person.screen()
        await person.pilot.press("escape")
        await person.sees_no("until you trust it")
        await person.until(lambda: person.app.focused is person.chat.editor)
        assert not is_trusted(brings)
    async with chatting() as person:  # the same is not shown again, another is
        await person.sees("What this folder brings is not used: /trust shows it")
        person.agent.notify(f"{brings}/.qianda/config.toml sets server, which is not used until you say: qianda trust")
        person.agent.notify("MCP server 'x' is not used until you say: qianda mcp approve x")
        person.agent.notify("/elsewhere/AGENTS.md is not used until you say: qianda trust --cwd /elsewhere")
        await person.sees("qianda trust --cwd /elsewhere")
        assert person.screen().count("until you say") == 1
        assert "until you trust it" not in person.screen()
    (brings / "AGENTS.md").write_text("Use spaces")
    async with chatting() as person:
        await shown(person)
        await person.pilot.press("enter")
        await person.sees_no("until you trust it")
        assert not is_trusted(brings)


async def test_trusting_it_opens_the_agent_again(brings: Path) -> None:
    async with chatting() as person:
        await shown(person)
        await person.pilot.press("down", "enter")
        await person.sees("Trusted, until one of these files changes")
        await person.until(lambda: len(person.agent.sessions) == 2)
        assert known(brings)


async def test_who_types_is_not_disturbed(brings: Path) -> None:
    async with chatting() as person:
        await shown(person)
        await person.pilot.press(*"hi")
        assert person.chat.editor.text == "hi"
        await person.pilot.press("enter")
        await person.until(lambda: person.agent.conversation.runs)
        await person.sees_no("until you trust it")
        assert not is_trusted(brings)


async def test_an_approval_goes_before_it(brings: Path) -> None:
    async with chatting() as person:
        await shown(person)
        task = person.asks()
        await person.sees("Run write_file?")
        await person.sees_no("until you trust it")
        await person.pilot.press("enter")
        assert not (await task).allowed
        assert not is_trusted(brings)


async def test_the_files_can_be_read_and_trusted_on_a_screen(brings: Path) -> None:
    async with chatting(size=(120, 40)) as person:
        await shown(person)
        await person.pilot.press("down", "down", "enter")
        await person.sees("What this folder brings: not trusted, and not used")
        await person.sees("before_tool")
        await person.pilot.press("down")
        await person.sees("Use tabs␛[2J")
        await person.pilot.press("y")
        await person.sees("Trusted, until one of these files changes")
        assert known(brings)


async def test_what_changed_while_it_was_shown_is_not_trusted(brings: Path) -> None:
    async with chatting() as person:
        await shown(person)
        (brings / "AGENTS.md").write_text("rm -rf /")
        await person.pilot.press("down", "enter")
        await person.sees("changed while it was shown")
        assert not is_trusted(brings)
