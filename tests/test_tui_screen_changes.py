"""Changed files, rewinds and the plan, on a real agent that writes real files."""

from __future__ import annotations

from pathlib import Path

from tui_person import Person, chatting

from qianda.testing import Call, Turn
from qianda.tools.builtin import plan, write_file


def write(path: str, content: str) -> Turn:
    return Turn(calls=[Call("write_file", {"path": path, "content": content})])


def text_of(file: str) -> str | None:
    path = Path(file)
    return path.read_text(encoding="utf-8") if path.exists() else None


def put(file: str, text: str) -> None:
    Path(file).write_text(text, encoding="utf-8")


async def two_prompts(person: Person) -> None:
    await person.says("Write a")
    await person.says("Write b, and a again")
    await person.sees("Both are written.")


SCRIPT = (write("a.txt", "one\n"), "Written.", write("b.txt", "b\n"), write("a.txt", "two\n"), "Both are written.")


async def test_changes_are_shown_and_taken_back_and_others_work_is_spared() -> None:
    async with chatting(*SCRIPT, tools=[write_file]) as person:
        await two_prompts(person)
        await person.press("f7")
        await person.sees("conversation: 2 (+2 −0)", "▸ a.txt", "created", "two")
        await person.press("enter")
        await person.sees("Esc closes")
        await person.press("escape")
        await person.press("u")
        await person.sees("Take back what was changed in a.txt?")
        await person.press("enter")
        assert text_of("a.txt") == "two\n"
        await person.press("u")
        await person.sees("Take back")
        await person.press("y")
        await person.sees("Back as before: a.txt", "conversation: 1")
        assert (text_of("a.txt"), text_of("b.txt")) == (None, "b\n")
        put("b.txt", "mine\n")
        await person.press("U")
        await person.sees("b.txt stays as it is")
        assert text_of("b.txt") == "mine\n"


async def test_rewind_with_files_and_without() -> None:
    async with chatting(*SCRIPT, "Again.", tools=[write_file]) as person:
        await two_prompts(person)
        await person.does("rewind")
        await person.sees("▸ 2  Write b, and a again", "With files, this would go back as well", "b.txt")
        await person.press("enter")
        await person.until(lambda: person.in_chat)
        await person.sees("Back to before prompt 2", "~1")
        assert "Both are written." not in person.screen()
        assert person.app.chat_screen.editor.text == "Write b, and a again"
        assert (text_of("a.txt"), text_of("b.txt")) == ("two\n", "b\n")
        person.app.chat_screen.editor.clear()
        await person.press("f2")
        await person.sees("~1", ": 2")
        await person.press("down", "enter")  # as it was before
        await person.sees("Both are written.")
        await person.does("rewind")
        await person.sees("b.txt")
        await person.press("f")
        await person.sees("Back as before: b.txt, a.txt. Go back?", "y yes")
        await person.press("y")
        await person.until(lambda: person.in_chat)
        assert (text_of("a.txt"), text_of("b.txt")) == ("one\n", None)


async def test_the_plan_and_plan_mode() -> None:
    steps = Turn(calls=[Call("plan", {"steps": ["Find the tests", "Move them"]})])
    done = Turn(calls=[Call("plan", {"step": 1, "state": "done", "note": "4 files"})])
    async with chatting(steps, done, "Moved.", tools=[plan]) as person:
        await person.press("f6")
        await person.sees("There is no plan", "plan mode is off")
        await person.press("p")
        await person.sees("plan mode is on")
        await person.until(lambda: person.app.chat.conversation is not None)
        await person.press("p")
        await person.sees("plan mode is off")
        await person.until(lambda: person.app.chat.conversation is not None)
        assert [changes.plan for changes in person.changes] == [None, True, False]
        await person.press("escape")
        await person.says("Move the tests")
        await person.press("f6")
        await person.sees("2 of 2 over", "✓ done", "Find the tests · 4 files")


async def test_a_proposed_plan_waits_for_consent() -> None:
    steps = Turn(calls=[Call("plan", {"steps": ["Find the tests", "Move them"]})])
    async with chatting(steps, "As you wish.", tools=[plan], plan=True) as person:
        person.app.chat_screen.editor.insert("Move the tests")
        await person.press("enter", "f6")
        await person.sees("plan mode is on · it waits for your consent", "○ pending  Move them")
        await person.press("p")
        await person.sees("Stop the run first")
        await person.press("escape", "escape")
        await person.until(lambda: not person.app.chat.busy)
