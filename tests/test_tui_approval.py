"""The approval: what it shows of a call, each answer, the queue, and that nothing is answered by accident."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_tui_app import Person, answer, chatting
from textual.widgets import Input

from qianda.models.config import saved_rules_path
from qianda.tools.effects import Effects
from qianda.tools.permissions import ApprovalRequest, Decision

CALL = ApprovalRequest(
    request_id="q1",
    run_id="run",
    call_id="c1",
    name="run_command",
    arguments={"command": "make clean", "timeout": 5},
    description="",
    reason='run_command: make is asked for: permissions "ask" want an approval for it, "auto" lets it run',
    rule="run_command(=make clean)",
    effects=Effects(command="make clean"),
)


def asked(person: Person, request: ApprovalRequest = CALL) -> asyncio.Task[Decision]:
    async def ask() -> Decision:
        return await person.agent.approve(request)

    return asyncio.create_task(ask())


def changing(path: str, **arguments: Any) -> ApprovalRequest:
    return replace(
        CALL, name="edit_file", rule="", arguments={"path": path, **arguments}, effects=Effects(writes=(path,))
    )


async def test_every_answer_by_keys_and_the_rule_is_shown_whole_before_it_is_saved() -> None:
    async with chatting() as person:
        for keys, decision in (
            (("enter",), Decision.deny()),
            (("down", "enter", *"use ", "enter"), Decision.deny("use")),
            (("down", "down", "enter"), Decision.allow()),
            (("down", "down", "down", "enter"), Decision.allow("session")),
        ):
            task = asked(person)
            await person.sees("$ make clean")
            await person.pilot.press(*("space" if key == " " else key for key in keys))
            assert await task == decision
        task = asked(person)
        await person.sees("timeout: 5")
        await person.sees("make is asked for")
        assert "permissions" not in person.screen()  # which is for programmers
        await person.pilot.press("down", "down", "down", "down", "enter")
        await person.sees("Save this rule?")
        await person.sees("run_command(=make clean)")
        whole = person.screen().replace("\n", "").replace(" ", "")
        assert f"savedin{saved_rules_path()}:" in whole
        assert not task.done()
        await person.pilot.press("enter")  # Back has the focus
        await person.sees("$ make clean")
        await person.pilot.press("down", "down", "down", "down", "enter")
        await person.pilot.press("escape")
        await person.sees("Run run_command?")
        await person.pilot.press("down", "down", "down", "down", "enter", "down", "enter")
        assert await task == Decision.allow("rule")


async def test_a_click_is_an_answer_and_esc_comes_back_from_the_reason() -> None:
    async with chatting() as person:
        run = await person.says("go")
        task = asked(person)
        await person.sees("Run run_command?")
        await person.pilot.click("#tell")
        await person.until(lambda: isinstance(person.app.focused, Input))
        await person.sees("Esc goes back")
        await person.pilot.press("escape")
        assert not run.cancelled
        await person.pilot.click("#session")
        assert await task == Decision.allow("session")


async def test_what_was_being_typed_answers_nothing_and_is_not_lost() -> None:
    async with chatting() as person:
        await person.types("half a tho")
        task = asked(person)
        await person.sees("Run run_command?")
        await person.pilot.press(*"ught", "enter", "enter")
        assert not task.done()
        assert person.chat.editor.text == "half a thought"
        await person.pilot.press("down", "up", "enter")  # keys of the pane are meant
        assert await task == Decision.deny()


async def test_a_long_command_scrolls_and_the_rest_is_counted_and_the_transcript_scrolls_too() -> None:
    async with chatting() as person:
        run = await person.says("go")
        answer(run, "".join(f"- line {number}\n" for number in range(60)))
        await person.sees("line 59")
        command = "\n".join(f"echo {number}" for number in range(50))
        task = asked(person, replace(CALL, arguments={"command": command}))
        await person.sees("$ echo 0")
        await person.sees("… 43 more lines below")
        await person.pilot.press("pagedown")
        await person.sees("↑ 6 more lines above · … 37 more lines below")
        await person.pilot.press("ctrl+up")
        await person.sees_no("line 59")
        assert "line 5" in person.screen()
        for _ in range(10):
            await person.pilot.press("pagedown")
        await person.sees("echo 49")
        await person.sees_no("more lines below")
        task.cancel()


async def test_several_wait_and_say_so_and_no_to_all() -> None:
    async with chatting() as person:
        tasks = [asked(person, replace(CALL, arguments={"command": f"step {number}"})) for number in range(4)]
        await person.sees("$ step 0")
        await person.sees("Run run_command? · 1 of 4")
        await person.sees("No to all 4 that wait")
        await person.pilot.press("enter")
        await person.sees("Run run_command? · 2 of 4")
        assert await tasks[0] == Decision.deny()
        await person.pilot.press("down", "down", "down", "enter")
        assert await tasks[1] == Decision.allow()
        await person.sees("No to all 2 that wait")
        await person.pilot.press("down", "down", "enter")
        assert await asyncio.gather(*tasks[2:]) == [Decision.deny(), Decision.deny()]
        await person.until(lambda: person.app.focused is person.chat.editor)
        last = asked(person)
        await person.sees("$ make clean")
        assert " of " not in person.line("Run run_command?")
        last.cancel()


async def test_it_says_which_agent_asks_and_where_it_goes() -> None:
    async with chatting() as person:
        request = replace(
            CALL,
            name="post",
            agent="boss › scout",
            reason="the agent boss: the agent scout: it changes something",
            arguments={"text": "hi\x1b[2J"},
            effects=Effects(urls=("https://docs.python.org@example.org/x",)),
        )
        task = asked(person, request)
        await person.sees("Run post for the agent boss › scout?")
        await person.sees("text: hi␛[2J")
        assert "the agent scout: it" not in person.screen()
        await person.sees("goes to example.org")
        task.cancel()
        task = asked(person, replace(CALL, effects=Effects(command="cd sub/dir && make clean", keeps_folder=True)))
        await person.sees("runs in sub/dir")
        task.cancel()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_change_is_a_difference_and_whole_on_a_key(size: tuple[int, int], tmp_path: Path) -> None:
    lines = [f"line {number}" for number in range(200)]
    (tmp_path / "a.py").write_text("\n".join(lines))
    async with chatting(size=size) as person:
        request = replace(changing("a.py", old_text="line 100", new_text="def f():"), workspace=tmp_path)
        task = asked(person, request)
        await person.sees("a.py")
        await person.sees("line 99")
        assert "101 - line 100" in person.screen()
        assert "101 + def f():" in person.screen()
        assert "old_text" not in person.screen()
        await person.sees("Ctrl+F")
        await person.pilot.press("ctrl+f")
        await person.sees("change 1 of 1")
        beside = "line 100" in person.line("def f():")
        assert beside == (size[0] >= 100)
        await person.pilot.press("s", "n", "p")
        assert "line 100" not in person.line("def f():")
        await person.pilot.press("escape")
        await person.sees("Run edit_file?")
        await person.pilot.press("enter")
        assert await task == Decision.deny()


async def test_a_new_file_and_what_a_difference_does_not_say_are_shown(tmp_path: Path) -> None:
    async with chatting() as person:
        request = replace(
            changing("new.txt", content="one\ntwo", mode="0755"), name="mcp__fs__write", workspace=tmp_path
        )
        task = asked(person, request)
        await person.sees("+ one")
        await person.sees("mode: 0755")
        assert "content:" not in person.screen()
        task.cancel()


async def test_a_very_long_file_is_laid_out_where_it_is_seen(tmp_path: Path) -> None:
    content = "\n".join(f"x = {number}" for number in range(50_000))
    async with chatting() as person:
        task = asked(person, replace(changing("big.py", content=content), name="write_file", workspace=tmp_path))
        await person.sees("+50000 −0")
        await person.sees("… 49994 more lines below")
        await person.pilot.press("pagedown")
        await person.sees("x = 11")
        await person.pilot.press("ctrl+f", "end")
        await person.sees("x = 49999")
        await person.pilot.press("q")
        task.cancel()


async def test_changes_far_apart_are_walked_through(tmp_path: Path) -> None:
    before = [f"x = {number}" for number in range(300)]
    after = ["x = -1" if number % 100 == 50 else line for number, line in enumerate(before)]
    (tmp_path / "b.py").write_text("\n".join(before))
    async with chatting() as person:
        task = asked(person, replace(changing("b.py", content="\n".join(after)), name="write_file", workspace=tmp_path))
        await person.sees("+3 −3")
        await person.pilot.press("ctrl+f")
        await person.sees("change 1 of 3")
        await person.pilot.press("n", "n")
        await person.sees("change 3 of 3")
        await person.sees("x = 250")
        await person.pilot.press("p", "p", "p")
        await person.sees("change 1 of 3")
        await person.pilot.press("q")
        task.cancel()
