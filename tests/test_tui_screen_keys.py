"""Every key in the help does what the help says: each is pressed, and its effect is seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from tui_person import Person, chatting

from qianda.testing import Call, Turn
from qianda.tools.builtin import read_file
from qianda.tui.commands import COMMANDS, EDITOR_KEYS
from qianda.tui.transcript.answer import answer_blocks

Effect = Callable[[Person], Awaitable[Any]]


def put(name: str, text: str) -> Path:
    file = Path.cwd() / name
    file.write_text(text, encoding="utf-8")
    return file


def editor(person: Person) -> Any:
    return person.app.chat_screen.editor


async def stops(person: Person) -> None:
    person.server.add(Turn("slow " * 50, delay=0.05))
    editor(person).insert("Go slowly")
    await person.press("enter")
    await person.sees("slow slow")
    await person.press("escape")
    await person.sees("Stopped")
    assert editor(person).text == "Go slowly"
    editor(person).clear()


async def searches_the_history(person: Person) -> None:
    await person.press("ctrl+f")
    await person.press(*"read")
    await person.sees("Read it")
    await person.press("escape")
    editor(person).clear()


async def edits_outside(person: Person) -> None:
    editor(person).insert("draft")
    await person.press("ctrl+g")
    await person.until(lambda: editor(person).text == "edited")
    editor(person).clear()


async def queues(person: Person) -> None:
    person.server.add(Turn("slow " * 20, delay=0.02), "Later.")
    editor(person).insert("Go slowly")
    await person.press("enter")
    editor(person).insert("and then this")
    await person.press("ctrl+q")
    assert editor(person).text == ""
    await person.sees("Later.")
    assert person.server.requests[-1]["messages"][-1]["content"] == "and then this"
    await person.until(lambda: not person.app.chat.busy)


async def folds_thinking(person: Person) -> None:
    assert "I should read" not in person.screen()
    await person.press("ctrl+t")
    await person.sees("I should read")
    await person.press("ctrl+t")
    await person.sees_no("I should read")


async def folds_results(person: Person) -> None:
    await person.press("ctrl+o")
    await person.sees("third line")
    await person.press("ctrl+o")
    await person.sees_no("third line")


async def folds_a_card(person: Person) -> None:
    await person.press("f8")
    await person.sees("third line")
    await person.press("f8")
    await person.sees_no("third line")


async def copies(person: Person) -> None:
    editor(person).insert("copied text")
    editor(person).select_all()
    await person.press("ctrl+c")
    assert person.app.clipboard == "copied text"
    editor(person).clear()


async def copies_code(person: Person) -> None:
    await person.press("ctrl+l")
    await person.sees("There is no code yet")
    person.app.chat_screen.transcript.add(*answer_blocks("```\ncode\n```"))
    await person.press("ctrl+l")
    assert person.app.clipboard == "code\n"


async def finds(person: Person) -> None:
    search = person.app.chat_screen.transcript.search
    person.app.action_find("read")
    first = search.place
    await person.press("ctrl+n")
    assert search.place != first
    await person.press("alt+n")
    assert search.place == first
    person.app.action_find()


async def looks_for_a_model(person: Person) -> None:
    await person.press("ctrl+r")
    await person.until(lambda: person.app.chat.conversation is not None)


async def suspends(person: Person) -> None:
    await person.press("ctrl+z")
    await person.sees("There is no shell to go back to")


ACTIONS: dict[str, Effect] = {
    "ctrl+t": folds_thinking,
    "ctrl+o": folds_results,
    "f8": folds_a_card,
    "ctrl+f": searches_the_history,
    "ctrl+g": edits_outside,
    "ctrl+c": copies,
    "ctrl+l": copies_code,
    "ctrl+n": finds,
    "alt+n": finds,
    "ctrl+r": looks_for_a_model,
    "escape": stops,
    "ctrl+q": queues,
    "ctrl+z": suspends,
}
"""In an order in which each finds what it needs."""


async def sends(person: Person) -> None:
    await person.says("hello")
    assert person.server.requests[-1]["messages"][-1]["content"] == "hello"


async def breaks_the_line(person: Person) -> None:
    await person.press("a", "shift+enter", "b", "ctrl+j", "c")
    assert editor(person).text == "a\nb\nc"
    editor(person).clear()


async def goes_through_the_history(person: Person) -> None:
    await person.press("up")
    assert editor(person).text == "hello"
    await person.press("down")
    assert editor(person).text == ""


async def offers(person: Person, key: str, text: str) -> None:
    await person.press(key)
    await person.sees(text)
    await person.press("escape", "backspace")


async def runs_a_shell_command(person: Person) -> None:
    editor(person).insert("!!echo $((40 + 2))")
    await person.press("enter")
    await person.sees("42")


async def scrolls(person: Person) -> None:
    await person.says("count")
    await person.sees("line 99")
    await person.press("pageup")
    await person.sees_no("line 99")
    await person.press("pagedown")
    await person.sees("line 99")


async def follows_the_mouse(person: Person) -> None:
    pilot: Pilot[int] = person.pilot
    await pilot.mouse_down(offset=(2, 5))
    await pilot.hover(offset=(9, 5))
    await pilot.mouse_up(offset=(9, 5))
    await person.until(person.app.screen.get_selected_text)


async def undoes(person: Person) -> None:
    await person.press("x", "ctrl+underscore")
    assert editor(person).text == ""
    await person.press("ctrl+y")
    assert editor(person).text == "x"
    editor(person).clear()


async def leaves(person: Person) -> None:
    await person.press("ctrl+d")
    await person.until(lambda: person.app.return_code is not None)


PROMPT_KEYS: dict[str, Effect] = {
    "Enter": sends,
    "Shift+Enter, Ctrl+J": breaks_the_line,
    "Up, Down": goes_through_the_history,
    "@": lambda person: offers(person, "@", "notes.txt"),
    "/": lambda person: offers(person, "slash", "/clear"),
    "!": runs_a_shell_command,
    "PageUp, PageDown": scrolls,
    "Mouse": follows_the_mouse,
    "Ctrl+_, Ctrl+Y": undoes,
    "Ctrl+D": leaves,
}


def test_no_key_is_forgotten() -> None:
    keys = {key for command in COMMANDS if command.does.startswith("action:") for key in command.keys}
    assert keys == set(ACTIONS)
    assert {shown for shown, _ in EDITOR_KEYS} == set(PROMPT_KEYS)
    assert all(command.shown for command in COMMANDS if command.keys)


async def test_keys_open_screens_and_esc_closes_them() -> None:
    opening = {key: command.does.partition(":")[2] for command in COMMANDS for key in command.keys}
    async with chatting() as person:
        for key, name in opening.items():
            if key in ACTIONS:
                continue
            await person.press(key)
            await person.until(lambda name=name: type(person.app.screen).__name__ == name)
            await person.press("escape")
            await person.until(lambda: person.in_chat)


async def test_keys_do_things(monkeypatch: pytest.MonkeyPatch) -> None:
    script = put("editor.sh", '#!/bin/sh\nprintf edited > "$1"\n')
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    put("notes.txt", "first line\nsecond line\nthird line\n")
    reads = Turn(reasoning="I should read the notes.", calls=[Call("read_file", {"path": "notes.txt"})])
    async with chatting(reads, "It has three lines.", tools=[read_file]) as person:
        monkeypatch.setattr(person.app, "suspend", nullcontext)  # there is no terminal to give away
        await person.says("Read it")
        await person.sees("It has three lines.")
        for effect in ACTIONS.values():
            await effect(person)


async def test_keys_of_the_prompt() -> None:
    put("notes.txt", "some notes")
    lines = "".join(f"- line {number}\n" for number in range(100))
    async with chatting("Hello yourself.", lines) as person:
        for effect in PROMPT_KEYS.values():
            await effect(person)
