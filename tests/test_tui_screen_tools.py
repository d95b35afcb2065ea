"""The screen of tools, rules and permissions, and the modes by key and command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tui_person import chatting

from qianda import tool
from qianda.models.config import saved_rules_path
from qianda.testing import Call, Turn
from qianda.tools import files
from qianda.tools.permissions import Rules
from qianda.tools.permissions.saved import read_saved, save_rule


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return city


def rules() -> Rules:
    save_rule(saved_rules_path(), Path.cwd(), "run_command(=make)")
    return Rules("ask", allow=["write_file(docs/**)"], store=saved_rules_path())


async def test_tools_rules_and_what_runs_are_listed_and_a_saved_rule_can_be_deleted() -> None:
    async with chatting(size=(100, 40), tools=[weather, *files()], permissions=rules()) as person:
        await person.press("f5")
        await person.sees("Permissions: ask · you are asked", "Your own tools", "Rules", "run_command(=make)")
        assert "runs" in person.line("weather")
        assert "asks" in person.line(" write_file ")
        assert "runs" in person.line(" read_file ")
        await person.press("slash", *"weather", "enter")
        await person.sees("The weather of a city", '"city"')
        await person.press("escape", "escape")
        await person.press("end", "d")
        await person.sees("Only rules that were saved")
        await person.press("up", "d")
        await person.sees("Delete the rule run_command(=make)?")
        await person.press("y")
        await person.sees_no("run_command(=make)")
        assert read_saved(saved_rules_path(), Path.cwd()) == []
        await person.press("m")
        await person.sees("Permissions: edits")
        await person.press("m")
        await person.sees("Let every tool run unasked")
        await person.press("n")
        await person.sees("Permissions: read-only")
        await person.press("escape")
        await person.until(lambda: person.in_chat)
        await person.sees(" read-only ")


async def test_shift_tab_goes_through_the_modes_but_never_to_the_loosest_which_has_to_be_named() -> None:
    write = Turn(calls=[Call("write_file", {"path": "a.txt", "content": "x"})])
    async with chatting(write, Turn("Written."), tools=files(), permissions="ask") as person:
        agent: Any = person.app.chat.agent
        seen: list[str] = []
        for _ in range(3):
            await person.press("shift+tab")
            seen.append(agent.permissions.mode)
        assert seen == ["edits", "read-only", "ask"]
        await person.says("/mode nonsense")
        await person.sees("There is no mode nonsense; there are read-only, ask, edits, auto")
        await person.says("/mode auto")
        await person.says("write it")
        await person.sees("Written.")
    written = Path("a.txt")
    assert written.read_text() == "x"  # noqa: ASYNC240 - a test may wait for the disk
