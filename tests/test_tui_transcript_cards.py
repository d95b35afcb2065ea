"""The cards in the real chat: an agent that changes files, the keys, and a session that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tui_person import chatting

from qianda.testing import Call, Turn
from qianda.tools import edit_file, write_file


def numbered(step: int) -> str:
    return "".join(f"line {number * step}\n" for number in range(40))


@pytest.fixture
def old_file() -> None:
    Path("old.txt").write_text(numbered(1))


@pytest.mark.usefixtures("old_file")
async def test_a_file_is_changed_before_your_eyes_and_the_card_opens_by_a_key() -> None:
    calls = [
        Call("write_file", {"path": "old.txt", "content": numbered(2)}),
        Call("edit_file", {"path": "old.txt", "old_text": "nowhere", "new_text": "here"}),
    ]
    says = [*(Turn(reasoning="So it is.", calls=[call]) for call in calls), "All is done."]
    tools = [edit_file, write_file]
    async with chatting(*says, tools=tools, size=(120, 40)) as person:
        await person.says("go")
        await person.sees("write_file old.txt · +20 −20", "✗ failed   edit_file old.txt")
        await person.sees("48 lines more", "old_text does not occur", "▸ Thought", "All is done.")
        assert "line 78" not in person.screen()
        await person.press("f8")  # the failure, which is whole anyway
        await person.press("ctrl+o")
        await person.press("ctrl+t")
        await person.sees("▾ Thought", "So it is.")
        await person.sees_no("lines more")
        await person.says("/columns")
        await person.sees("│")
        session = person.app.chat.session
    async with chatting(tools=tools, size=(120, 40), session=session) as person:
        await person.sees("▾ Thought", "write_file old.txt", "✗ failed   edit_file", "All is done.")
        assert person.app.chat_screen.transcript.stack.look.split
