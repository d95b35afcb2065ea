"""What the list above the prompt offers for a word: commands, files, resources, earlier prompts."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from qianda.models.errors import QiandaError
from qianda.tui.commands import COMMANDS
from qianda.tui.prompt.draft import Draft
from qianda.tui.prompt.files import MOST_FOUND, PathIndex, list_paths, matching, rank
from qianda.tui.prompt.popup import Popup, Suggestion
from qianda.tui.prompt.words_at import NO_NAME, Word
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tools.mcp.offers import Offer
    from qianda.tui.chat import Chat
    from qianda.tui.prompt.editor import PromptArea

FRESH_SECONDS = 10.0
"""How long what was found in folders and at servers counts."""
_QUOTED = re.compile(rf"[{NO_NAME}]")


class Completion:
    """Fills the list.

    Args:
        editor: whose words.
        chat: whose workspace, servers and commands.
    """

    def __init__(self, editor: PromptArea, chat: Chat) -> None:
        self._editor, self._chat = editor, chat
        self._index: PathIndex | None = None
        self._own: list[Suggestion] = []
        self._offers: list[Offer] = []
        self._resources: list[Suggestion] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._read: dict[str, float] = {}
        self._finding: asyncio.Task[None] | None = None

    @property
    def _popup(self) -> Popup:
        return self._editor.popup

    def look(self, word: Word) -> None:
        """Offer what fits a word: at once what is known, then what has to be looked for."""
        match word.kind:
            case "history":
                self._popup.show(self._earlier(word.text), word)
            case "command":
                self._popup.show(fitting(word.text, [*_built_in(), *self._own]), word)
                self._load("prompts", self._load_prompts)
                self._load("own", self._load_own)
            case "argument":
                self._load("prompts", self._load_prompts)
                self._seek(self._find_values(word))
            case "mention":
                self._load("files", self._load_files)
                self._load("resources", self._load_resources)
                if self._index is not None:
                    self._seek(self._find(self._index, word))

    def _seek(self, finding: Coroutine[Any, Any, None]) -> None:
        """Look for what fits the word of now; what fits the one before is not wanted any more."""
        if self._finding is not None:
            self._finding.cancel()
        self._finding = asyncio.create_task(finding)

    def _earlier(self, text: str) -> list[Suggestion]:
        """The prompts that have all the words, the newest first."""
        words = text.lower().split()
        found = [
            draft
            for draft in reversed(self._editor.sent.entries)
            if all(word in draft.text.lower() for word in words) and not draft.text.startswith("/history")
        ]
        return [_earlier(draft, self._editor) for draft in found[:MOST_FOUND]]

    # What has to be looked for

    def _load(self, what: str, load: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Look for something, unless that was done just now."""
        if what in self._tasks or time.monotonic() - self._read.get(what, float("-inf")) < FRESH_SECONDS:
            return

        async def work() -> None:
            try:
                await load()
            except (QiandaError, OSError):
                pass  # what does not answer has nothing to offer; screens and doctor say why
            finally:
                self._read[what] = time.monotonic()
                del self._tasks[what]
            if (word := self._editor.wanted) is not None and word.kind != "history":
                self.look(word)

        self._tasks[what] = asyncio.create_task(work())

    async def _load_own(self) -> None:
        from qianda.agents.custom_commands import list_commands
        from qianda.agents.skills import list_skills

        commands = await asyncio.to_thread(list_commands, self._chat.workspace)
        skills = await asyncio.to_thread(list_skills, self._chat.workspace)
        own = [
            Suggestion(
                _shown(command.name, command.takes), command.description, f"/{command.name} ", sends=not command.takes
            )
            for command in commands
        ]
        own += [
            Suggestion(_shown(skill.name, "[…]"), t("skill: {about}", about=skill.description), f"/{skill.name} ")
            for skill in skills
            if not skill.problem
        ]
        self._own = own + [each for each in self._own if ":" in each.insert]

    async def _load_prompts(self) -> None:
        from qianda.tui.prompt.own_commands import offered_prompts

        prompts: list[Suggestion] = []
        self._offers = await offered_prompts(self._chat)
        for offer in self._offers:
            takes = " ".join(f"{name}=…" if needed else f"[{name}=…]" for name, needed in offer.arguments)
            name = f"{offer.server}:{offer.name}"
            about = ": ".join(filter(None, [offer.title, offer.description]))
            needed = any(needed for _, needed in offer.arguments)
            prompts.append(Suggestion(_shown(name, takes), about, f"/{name} ", sends=not needed))
        self._own = [each for each in self._own if ":" not in each.insert] + prompts

    async def _load_resources(self) -> None:
        from qianda.tui.prompt.own_commands import offered_resources

        self._resources = [
            Suggestion(
                f"{offer.server}:{offer.name}", offer.title or offer.description, f"@{offer.server}:{offer.name} "
            )
            for offer in await offered_resources(self._chat)
        ]

    async def _load_files(self) -> None:
        paths = await list_paths(self._chat.workspace)
        self._index = await asyncio.to_thread(PathIndex, paths)

    async def _find(self, index: PathIndex, word: Word) -> None:
        paths = await asyncio.to_thread(index.find, word.text)
        if self._editor.wanted == word:
            found = [_path(path) for path in paths]
            self._popup.show([*found, *fitting(word.text, self._resources)][:MOST_FOUND], word)

    async def _find_values(self, word: Word) -> None:
        """Names of a prompt's arguments; behind an equals sign what the server says that it could be."""
        command, *given, last = word.text.split(" ")
        offer = next((offer for offer in self._offers if f"{offer.server}:{offer.name}" == command), None)
        if offer is None:
            return
        name, equals, value = last.partition("=")
        pairs = dict(each.split("=", 1) for each in given if "=" in each)
        if equals:
            from qianda.tui.prompt.own_commands import argument_values

            try:
                values = await argument_values(self._chat, offer, name, value, pairs)
            except QiandaError:
                return
            items = [Suggestion(each, "", f"{name}={shlex.quote(each)} ") for each in values]
        else:
            items = [
                Suggestion(f"{each}=", t("needed") if needed else "", f"{each}=")
                for each, needed in offer.arguments
                if each.startswith(name) and each not in pairs
            ]
        if self._editor.wanted == word:
            self._popup.show(items[:MOST_FOUND], word)


def fitting(text: str, offered: Iterable[Suggestion]) -> list[Suggestion]:
    """Those whose names have the letters in order, the best first; all of them for no letters."""
    if not text:
        return list(offered)
    named = {each.insert.strip().lstrip("/@"): each for each in reversed(list(offered))}
    names = matching(text.lower(), list(named), "\n".join(named).lower())
    return [named[name] for name in sorted(names, key=lambda name: rank(text.lower(), name))]


def _built_in() -> list[Suggestion]:
    return [
        Suggestion(
            _shown(command.name, t(command.takes)),
            t(command.text),
            f"/{command.name} ",
            sends=not command.takes or command.takes.startswith("["),
        )
        for command in COMMANDS
        if command.name
    ]


def _shown(name: str, takes: str) -> str:
    return f"/{name} {takes}".strip()


def _path(path: str) -> Suggestion:
    quoted = _QUOTED.search(path) is not None
    insert = f'@"{path}" ' if quoted else f"@{path} "
    inside = (f'@"{path}' if quoted else f"@{path}") if path.endswith("/") else ""
    return Suggestion(path, t("folder") if inside else "", insert, inside)


def _earlier(draft: Draft, editor: PromptArea) -> Suggestion:
    first, _, others = draft.text.partition("\n")
    more = t("+{count} lines", count=others.count("\n") + 1) if others else ""
    return Suggestion(first[:200], more, does=lambda: editor.found(draft))
