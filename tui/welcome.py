"""What a person is told as the chat begins: what was found, what the folder brings, what to do without a model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from qianda.models.errors import NoServer, QiandaError
from qianda.tui.words import t

if TYPE_CHECKING:
    from textual.app import App

    from qianda.models.resolve import Endpoint
    from qianda.tools.mcp.brought import Brought
    from qianda.tui.chat import Chat
    from qianda.tui.panes.trust import TrustPane
    from qianda.tui.screen import ChatScreen

_GONE = ("ServerUnreachable", "NoServer")
"""Errors that end a run because the server is not there any more."""


class Welcome:
    """Says it in the transcript, in a pane above the prompt, and on a screen of its own.

    Args:
        chat: the conversation.
        screen: where it shows.
    """

    def __init__(self, chat: Chat, screen: ChatScreen) -> None:
        self._chat = chat
        self._screen = screen
        self._looking: asyncio.Task[None] | None = None

    @property
    def _program(self) -> App[int]:
        return cast("App[int]", self._screen.app)  # pyright: ignore[reportUnknownMemberType] -- Textual's type has a parameter

    def look(self) -> None:
        """See, once, what the folder brings."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        from qianda.tools.mcp.brought import look_at

        try:
            brought = await asyncio.to_thread(look_at, self._chat.workspace, lambda _: None)
            if not await asyncio.to_thread(lambda: brought.asks):
                if brought.lines and not brought.known:
                    self._chat.say(t("What this folder brings is not used: /trust shows it"))
                return
            self._chat.panes.show_beside(self._pane(brought))
            await asyncio.to_thread(brought.shown)
        except QiandaError as error:
            self._chat.say(str(error))

    def _pane(self, brought: Brought) -> TrustPane:
        from qianda.tui.panes.trust import TrustPane

        def decide(answer: str) -> None:
            if answer == "trust":
                self._screen.call_later(self.trust, brought)
            elif answer == "show":
                from qianda.tui.screens.trust import TrustScreen

                self._program.push_screen(TrustScreen(self._chat))

        return TrustPane(brought, decide)

    def notice(self, text: str) -> None:
        """Say what the agent says as it opens, but for what the pane names, or the line in its place."""
        _, _, command = text.partition(" until you say: qianda ")
        here = ("trust", f"trust --cwd {self._chat.workspace}")
        if not (command in here or command.startswith("mcp approve ")):
            self._chat.say(text)

    async def trust(self, brought: Brought) -> None:
        """Trust what the folder brings, and open the agent again, with it."""
        self._chat.panes.hide_beside()
        try:
            await asyncio.to_thread(brought.trust)
        except QiandaError as error:
            self._chat.say(str(error))
            return
        if self._chat.busy:
            self._chat.say(t("Trusted, until one of these files changes. Ctrl+R after this run uses it"))
            return
        self._chat.say(t("Trusted, until one of these files changes"))
        await self._chat.open_again()

    def opened(self, endpoint: Endpoint) -> None:
        """There is a model; what was found without being named is said."""
        if endpoint.demo:
            self._chat.say(
                t(
                    "This is a demo model, not a Qwen: fine for a first look, and often wrong. "
                    "/connect finds or names a real one"
                )
            )
        elif endpoint.found:
            self._chat.say(t("Found {model}, {server}: ready", model=endpoint.model, server=endpoint.title))

    def failed(self, error: Exception) -> str:
        """There is no model: what to do about it. Where no server was named, a screen helps to find one."""
        waits = f". {t('Your prompt waits for one, Esc takes it back')}" if self._chat.outbox.early_blocks else ""
        if not isinstance(error, NoServer):
            return t("Ctrl+R tries again, /connect names another") + waits
        if self._program.screen is self._screen and not self._screen.editor.text:
            from qianda.tui.screens.first_run import ConnectScreen

            self._program.push_screen(ConnectScreen(self._chat))
        return t("/connect helps, Ctrl+R looks again") + waits

    def ended(self, which: str) -> None:
        """A run ended with an error of this kind."""
        if which in _GONE:
            self._chat.say(
                t("The server does not answer any more. Start it again, then send again; Ctrl+R looks for another")
            )
