"""The help screen and the palette: filtered, done by Enter and by the mouse, closed by their keys."""

from __future__ import annotations

from tui_person import chatting


async def test_help_and_palette_by_keys() -> None:
    async with chatting() as person:
        await person.press("f1")
        await person.sees("In the prompt", "stop the run")
        await person.press("slash")
        await person.types("conver")
        await person.sees_no("In the prompt")
        await person.sees("stop the run")
        await person.press("escape")
        await person.sees("In the prompt")
        await person.press("ctrl+p")
        await person.sees("What is to be done?")
        assert len(person.app.screen_stack) == 2  # it took the place of the help
        await person.press("ctrl+p")
        await person.until(lambda: person.in_chat)
        await person.press("ctrl+p")
        await person.types("hlp")
        await person.sees("▸ /help")
        await person.press("enter")
        await person.sees("In the prompt")
        await person.press("escape")
        await person.until(lambda: person.in_chat)


async def test_the_palette_by_mouse() -> None:
    async with chatting() as person:
        await person.press("ctrl+p")
        await person.types("prompt")
        await person.sees("▸ ", "/rewind")
        y = next(at for at, line in enumerate(person.screen().splitlines()) if "/rewind" in line)
        await person.press("end")
        await person.pilot.click(offset=(5, y))
        await person.sees("▸ /rewind")
        await person.pilot.click(offset=(5, y))
        await person.sees("Back to before which prompt?")
        last = person.screen().splitlines()[-1]
        await person.pilot.click(offset=(last.index("close"), 23))
        await person.until(lambda: person.in_chat)
