"""Questions of tools: texts, forms whose fields are seen to, and consent to a plan, by keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from test_tui_app import chatting
from textual import events
from textual.widgets import Input, TextArea

from qianda.agents.plan import ACCEPT, ASK, PLAN_ANSWERS
from qianda.tools.questions import Answer, Question

SCHEMA = {
    "type": "object",
    "properties": {
        "seats": {"type": "integer", "title": "Seats", "minimum": 1, "maximum": 9},
        "mail": {"type": "string", "format": "email"},
        "window": {"type": "boolean", "default": True},
        "class": {"oneOf": [{"const": "y", "title": "Economy"}, {"const": "c", "title": "Business"}]},
        "meals": {"type": "array", "items": {"enum": ["a", "b", "c"]}},
        "note": {"type": "string"},
    },
    "required": ["seats", "class"],
}


async def given(task: asyncio.Task[Answer]) -> Answer:
    async with asyncio.timeout(50):
        return await task


async def test_a_form_is_filled_in_and_what_is_wrong_is_said_beside_it() -> None:
    async with chatting(size=(100, 40)) as person:
        question = Question(question="Your flight\x1b[2J", schema=SCHEMA)
        task = person.is_asked(question)
        await person.sees("Your flight␛[2J")
        await person.sees("mail (may be left empty)")
        await person.sees("a whole number from 1 to 9")
        await person.sees("‹ Economy ›")
        await person.pilot.press("up", "enter", *"ab", "enter")  # letters do not get into a number
        await person.until(lambda: person.app.focused is not None and person.app.focused.id == "field-2")
        await person.pilot.press("right", "enter", "left", "enter", *"a, x", "enter", "enter", "enter")
        await person.sees("It has to be filled in")
        await person.sees("It has to be an e-mail address")
        await person.sees("It has to be some of a, b, c, with commas")
        assert not task.done()
        await person.pilot.press("1", "2", "enter")
        person.app.screen.query_one("#field-1", Input).value = "me@example.org"
        person.app.screen.query_one("#field-4", Input).value = "a, c"
        await person.pilot.click("#send")
        await person.sees("It has to be a whole number from 1 to 9")
        await person.pilot.press("1")  # in the place of what is marked
        await person.pilot.click("#send")
        answer = await given(task)
        assert answer == {"seats": 1, "mail": "me@example.org", "window": False, "class": "c", "meals": ["a", "c"]}
        assert question.read(answer) == answer


async def test_a_burst_of_keys_fills_in_a_form() -> None:
    schema = {"type": "object", "properties": {"seats": {"type": "integer"}, "ok": {"type": "boolean"}}}
    async with chatting() as person:
        task = person.is_asked(Question(question="Your flight", schema=schema))
        await person.sees("Your flight")
        for key in ("4", "enter", "right", "enter", "enter"):
            person.app.post_message(events.Key(key, key if len(key) == 1 else None))
        assert await given(task) == {"seats": 4, "ok": False}


async def test_a_form_fits_a_small_terminal_and_can_be_declined() -> None:
    async with chatting() as person:
        task = person.is_asked(Question(question="Your flight", schema=SCHEMA))
        await person.sees("Your flight")
        for _ in range(8):
            await person.pilot.press("down")
        await person.sees("No answer")
        await person.pilot.press("enter")
        assert await given(task) is None


PLAN_KEYS: Sequence[tuple[Sequence[str], Answer]] = (
    (["enter"], None),
    (["down", "enter", *"too", "space", *"long", "enter"], "too long"),
    (["down", "enter", "escape", "enter"], None),
    (["down", "down", "down", "enter"], ACCEPT),
    (["down", "down", "enter", "end", *"!", "ctrl+s"], {"steps": ["Look!", "Change it", "Test it"]}),
    (["down", "down", "enter", "tab", "tab", "enter"], {"steps": ["Look", "Change it", "Test it"]}),
    (["down", "down", "enter", "escape", "enter"], None),
)


async def test_answers_to_a_plan() -> None:
    async with chatting() as person:
        run = await person.says("go")
        plan = "1. [ ] Look\n2. [ ] Change it\n3. [ ] Test it"
        for keys, answer in PLAN_KEYS:
            task = person.is_asked(Question(question=f"{plan}\n{ASK}", options=PLAN_ANSWERS))
            await person.sees("Carry out this plan?")
            await person.sees("3. [ ] Test it")
            assert ASK not in person.screen()
            await person.pilot.press(*keys)
            assert await given(task) == answer
            await person.until(lambda: person.app.focused is person.chat.editor)
        assert not run.cancelled


async def test_a_long_option_is_shown_whole() -> None:
    async with chatting() as person:
        task = person.is_asked(
            Question(question="Which?", options=("short", f"{'long ' * 30}the end", "two\nlines\x1b"))
        )
        await person.sees("the end")
        await person.sees("lines␛")
        await person.pilot.press("down", "enter")
        assert str(await given(task)).endswith("the end")


async def test_no_steps_are_no_plan_and_an_editor_that_is_not_set_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    async with chatting() as person:
        task = person.is_asked(Question(question=f"1. [ ] Look\n{ASK}", options=PLAN_ANSWERS))
        await person.sees("Carry out this plan?")
        await person.pilot.press("down", "down", "enter")
        await person.pilot.press("ctrl+g")
        await person.sees("Set $VISUAL or $EDITOR")
        person.app.screen.query_one("#steps", TextArea).text = ""
        await person.pilot.press("ctrl+s")
        await person.pilot.pause()
        assert not task.done()
        task.cancel()
