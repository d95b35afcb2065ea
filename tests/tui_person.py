"""Someone at the keyboard of the chat, with a real agent on a scripted model: for the tests of the screens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from qianda import Agent
from qianda.models.config import data_dir
from qianda.testing import ScriptedServer
from qianda.testing.script import Says
from qianda.tui.app import QiandaApp
from qianda.tui.commands import command_named
from qianda.tui.conversation import Approve, Ask, Changes, Notify


class Person:
    """Presses keys and looks at the screen."""

    def __init__(self, app: QiandaApp, pilot: Pilot[int], server: ScriptedServer) -> None:
        self.app, self.pilot, self.server = app, pilot, server
        self.changes: list[Changes] = []

    def screen(self) -> str:
        """What it shows."""
        self.app.chat_screen.transcript.flush()
        return "\n".join(strip.text.rstrip() for strip in self.app.screen._compositor.render_strips())

    def line(self, part: str) -> str:
        """The first line with this in it."""
        return next((line for line in self.screen().splitlines() if part in line), "")

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait."""
        async with asyncio.timeout(50):
            while not condition():
                await self.pilot.pause()

    async def sees(self, *texts: str) -> None:
        """Wait until all these stand on the screen."""
        for text in texts:
            try:
                await self.until(lambda text=text: text in self.screen())
            except TimeoutError:
                pytest.fail(f"{text!r} is not on the screen:\n{self.screen()}")

    async def sees_no(self, text: str) -> None:
        """Wait until it is gone."""
        try:
            await self.until(lambda: text not in self.screen())
        except TimeoutError:
            pytest.fail(f"{text!r} stays on the screen:\n{self.screen()}")

    async def press(self, *keys: str) -> None:
        """Press keys."""
        await self.pilot.press(*keys)

    async def types(self, text: str) -> None:
        """Write into the line that has the focus, at once."""
        focused = self.app.focused
        assert isinstance(focused, Input)
        focused.insert_text_at_cursor(text)
        await self.pilot.pause()

    async def says(self, text: str) -> None:
        """Send a prompt or a command, and wait for the end of its run."""
        self.app.chat_screen.editor.insert(text)
        await self.pilot.press("enter")
        await self.until(lambda: not self.app.chat.busy and self.app.chat.conversation is not None)

    async def does(self, command: str) -> None:
        """A slash command; waits for the end of the run that it begins."""
        found = command_named(command)
        assert found is not None, command
        self.app.do(found)
        await self.pilot.pause()
        await self.until(lambda: not self.app.chat.busy)

    @property
    def in_chat(self) -> bool:
        """Whether no screen is open."""
        return self.app.screen is self.app.chat_screen


@asynccontextmanager
async def chatting(
    *says: Says,
    size: tuple[int, int] = (80, 24),
    session: str | None = None,
    server: ScriptedServer | None = None,
    **options: Any,
) -> AsyncGenerator[Person]:
    """The chat with an agent whose model says these turns.

    Args:
        says: the script.
        size: of the terminal.
        session: to go on with.
        server: in the place of one for this chat alone.
        options: arguments of the agent.
    """
    async with server or ScriptedServer(*says) as model:
        changed: list[Changes] = []

        async def open_agent(approve: Approve, ask: Ask, notify: Notify, changes: Changes) -> Agent:
            del notify
            changed.append(changes)
            given: dict[str, Any] = {
                "permissions": "auto",
                **options,
                **({} if changes.plan is None else {"plan": changes.plan}),
            }
            journal = data_dir() / "journal.db"
            given |= {"server": changes.server or model.url, "model": changes.model}
            return Agent(approve=approve, ask=ask, journal=journal, workspace=Path.cwd(), **given)

        app = QiandaApp(open_agent, session=session)
        async with app.run_test(size=size, notifications=True) as pilot:
            person = Person(app, pilot, model)
            person.changes = changed
            await person.until(lambda: app.chat.conversation is not None)
            yield person
