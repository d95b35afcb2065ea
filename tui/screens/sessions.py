"""The sessions: listed, searched, gone on with, forked, renamed, deleted and exported."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from qianda.agents.journal_index import SessionInfo, list_sessions
from qianda.tui.recorded import age, free_file, open_record, short_folder
from qianda.tui.screens.detail import TextBlock
from qianda.tui.screens.items import Column, Item, Tone
from qianda.tui.screens.listing import ListScreen
from qianda.tui.transcript.blocks import Block
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.agents.journal_sqlite import SQLiteJournal
    from qianda.tui.chat import Chat

MADE = re.compile(r"(chat-)?\d{8}-\d{6}(-[0-9a-f]{8})?")
PAUSE = 0.06
"""Seconds without a key before the record is searched."""
SLOW = 0.5
"""Seconds after which a search says that it goes on."""
SHOWN = 24
"""Messages of a preview."""
PLACES = 300
"""Places that a search looks at."""
TONES: dict[str, Tone] = {
    "running": "good",
    "interrupted": "warning",
    "limit": "warning",
    "failed": "error",
    "cancelled": "muted",
}
STOPPED = ("interrupted", "limit", "failed")
"""States in which there is something to go on with."""


class SessionsScreen(ListScreen[SessionInfo]):
    """Those of this folder; a key shows all."""

    COLUMNS = (
        Column(grow=True),
        Column(most=24),
        Column(most=11),
        Column(most=10, right=True),
        Column(most=4, right=True),
    )
    EMPTY = "Nothing was recorded in this folder yet; a shows all folders"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "go on"),
        Binding("f", "fork", "fork"),
        Binding("n", "rename", "rename"),
        Binding("d", "delete", "delete"),
        Binding("e", "export", "export"),
        Binding("a", "all", "all"),
    ]

    def __init__(self, chat: Chat) -> None:
        super().__init__(chat)
        self._everywhere = False
        self._opened: SQLiteJournal | None = None

    @property
    def _journal(self) -> SQLiteJournal:
        if self._opened is None:
            self._opened = open_record()
        return self._opened

    def on_unmount(self) -> None:
        """Close the record."""
        if self._opened is not None:
            self._opened.close()

    def heading(self) -> str:
        """How many, and where."""
        if self._everywhere:
            return t("Sessions of all folders: {count}", count=len(self.items))
        folder = self.chat.workspace.name or "/"  # the whole path would push the number off the screen
        return t("Sessions in {folder}: {count}", folder=folder, count=len(self.items))

    async def load(self) -> Sequence[Item[SessionInfo]]:
        """The newest first."""
        return await asyncio.to_thread(self._items)

    def _items(self) -> list[Item[SessionInfo]]:
        sessions = list_sessions(self._journal, workspace=None if self._everywhere else self.chat.workspace)
        names = {session.workspace for session in sessions} if self._everywhere else ()
        folders = {name: short_folder(name) for name in names}
        return [_item(session, folder=folders.get(session.workspace, "")) for session in sessions]

    async def found(self, words: str) -> Sequence[Item[SessionInfo]]:
        """Those with the words in their title, name or folder, then those with the words in what was said."""
        await asyncio.sleep(PAUSE)
        titled = await super().found(words)
        if max(map(len, words.split())) < 3 and words.isascii():  # any text holds two letters
            return titled
        from qianda.agents.journal_index import search

        folder = None if self._everywhere else self.chat.workspace
        work = asyncio.to_thread(lambda: search(self._journal, words, workspace=folder, limit=PLACES))
        looking = asyncio.ensure_future(work)
        if not (await asyncio.wait([looking], timeout=SLOW))[0]:
            self.say(t("Searching; what is new in the record is read first"))
        places = await looking
        self.say("")
        named, items = {item.key for item in titled}, {item.key: item for item in self.items}
        snippets = {place.session: place.snippet for place in reversed(places)}  # the newest of each
        later = dict.fromkeys(place.session for place in places if place.session not in named)
        return [*titled, *(self._hit(items[name], snippets[name]) for name in later if name in items)]

    def _hit(self, item: Item[SessionInfo], snippet: str) -> Item[SessionInfo]:
        return _item(item.value, snippet, folder=item.cells[1])

    async def detail(self, item: Item[SessionInfo]) -> Sequence[Block]:
        """Where and with what it was, and its last exchanges."""
        await asyncio.sleep(PAUSE)
        session = item.value
        about = f"{session.name} · {session.model} · {short_folder(session.workspace)}"
        blocks = await asyncio.to_thread(_last_exchanges, self._journal, session)
        return [TextBlock(about, "call-note"), *blocks]

    # Going on

    def choose(self, item: Item[SessionInfo]) -> None:
        """Go on with it, in the chat."""
        session = item.value
        folder = self.chat.workspace
        if session.name == self.chat.session:
            self.dismiss()
        elif self.chat.busy:
            self.say(t("Stop the run first: Esc"))
        elif session.state == "running":
            self.say(t("It is going on in another program"))
        elif session.workspace != str(folder):
            where = short_folder(session.workspace)
            self.say(t("It is of {folder}: cd {folder} && qianda --session {name}", folder=where, name=session.name))
        else:
            self.act(self._go_on(session))

    async def _go_on(self, session: SessionInfo) -> None:
        resume = session.state in STOPPED and await self.confirm(
            t("Its last run did not come to its end ({state}). Resume it?", state=t(session.state))
        )
        self.chat.go_to(session.name)
        if resume:
            self.chat.resume()
        self.dismiss()

    # Keys

    def action_all(self) -> None:
        """This folder's, or all."""
        self._everywhere = not self._everywhere
        self.reload()

    def action_fork(self) -> None:
        """Copy its beginning."""
        if self.item is not None:
            self.act(self._fork(self.item.value))

    async def _fork(self, session: SessionInfo) -> None:
        from qianda.agents.journal_forks import fork_session

        point = await self.ask(
            t("How many of its {count} prompts go into the copy?", count=session.prompts), str(session.prompts)
        )
        if not point:
            return

        def fork() -> str:
            new = next(name for number in count(2) if not self._journal.runs(name := f"{session.name}-{number}"))
            fork_session(self._journal, session.name, new, point)
            return new

        name = await asyncio.to_thread(fork)
        await self._reload()
        self.list.go(next(at for at, item in enumerate(self.list.items) if item.key == name))
        self.say(t("Forked as {name}", name=name))

    def action_rename(self) -> None:
        """Call it by another name."""
        if self.item is not None:
            self.act(self._rename(self.item.value))

    async def _rename(self, session: SessionInfo) -> None:
        from qianda.agents.journal_index import rename_session

        if self._in_use(session):
            return
        name = await self.ask(t("Its new name"), session.name)
        if name and name != session.name:
            await asyncio.to_thread(rename_session, self._journal, session.name, name)
            if session.name == self.chat.session:
                self.chat.go_to(name)
            self.reload()

    def _in_use(self, session: SessionInfo) -> bool:
        """Whether a run of it is going on, which is said."""
        used = session.state == "running" or (session.name == self.chat.session and self.chat.busy)
        if used:
            self.say(t("A run of it is going on"))
        return used

    def action_delete(self) -> None:
        """Forget it."""
        if self.item is not None:
            self.act(self._delete(self.item.value))

    async def _delete(self, session: SessionInfo) -> None:
        from qianda.agents.journal_index import remove_sessions

        if session.name == self.chat.session:
            self.say(t("It is the conversation that is open: /clear first"))
        elif self.chat.busy:  # the file is made smaller, which would hold up the run
            self.say(t("Stop the run first: Esc"))
        elif not self._in_use(session) and await self.confirm(t("Delete {title} for good?", title=session.title)):
            await asyncio.to_thread(remove_sessions, self._journal, [session.name])
            self.reload()

    def action_export(self) -> None:
        """Write it to a file."""
        if self.item is not None:
            self.act(self._export(self.item.value))

    async def _export(self, session: SessionInfo) -> None:
        from qianda.agents.export import export_session

        def write() -> str:
            file = free_file(self.chat.workspace, session.name, ".md")
            file.write_text(export_session(self._journal, session.name, "markdown"), encoding="utf-8")
            return str(file)

        self.say(t("Written to {file}", file=short_folder(await asyncio.to_thread(write))))


def _item(session: SessionInfo, snippet: str = "", *, folder: str) -> Item[SessionInfo]:
    made = MADE.match(session.name)  # of a name that nobody gave only what was added to it tells something
    name = session.name[made.end() :] if made else session.name
    title = " · ".join(filter(None, [name, session.title])) + (f" — {snippet}" if snippet else "")
    state = t(session.state)
    return Item(
        session.name,
        (title, folder, state, age(session.updated), str(session.prompts)),
        session,
        TONES.get(session.state, ""),
        words=f"{session.name} {session.workspace} {session.model}",
    )


def _last_exchanges(journal: SQLiteJournal, session: SessionInfo) -> list[Block]:
    from qianda.agents.conversation import from_records
    from qianda.tui.transcript.restored import restored_blocks

    messages = from_records(journal.records(session.last_run))[-SHOWN:]
    return restored_blocks(messages)
