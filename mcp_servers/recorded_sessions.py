"""Recorded conversations and their plans as MCP resources: ``qianda://sessions/NAME``, as Markdown or JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit

import mcp_types as types
import orjson

from qianda.agents.export import export_session
from qianda.agents.journal_index import SessionInfo, changes_since, find_session, list_sessions
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.agents.plan import latest_plan
from qianda.mcp_servers.resources import LARGEST
from qianda.mcp_servers.serving import stamp
from qianda.models.errors import ToolError
from qianda.models.plan import plan_text
from qianda.tools.secrets import know_secrets, redact

T = TypeVar("T")
LIST = "qianda://sessions"
PAGE = 100  # sessions of one answer
_JSON, _MARKDOWN = "application/json", "text/markdown"


class RecordedSessions:
    """The sessions of a record; what Qianda knows as a secret is kept out of them.

    Args:
        path: the record; without it there are none.
    """

    scheme = "qianda"
    templates = (
        types.ResourceTemplate(
            name="session", uri_template=f"{LIST}/{{name}}", mime_type=_MARKDOWN, description="A recorded conversation"
        ),
        types.ResourceTemplate(
            name="session as JSON",
            uri_template=f"{LIST}/{{name}}/json",
            mime_type=_JSON,
            description="All that is in it",
        ),
        types.ResourceTemplate(
            name="plan",
            uri_template=f"{LIST}/{{name}}/plan",
            mime_type=_MARKDOWN,
            description="Its plan, if it has one",
        ),
    )

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    async def page(self, cursor: str | None) -> types.ListResourcesResult:
        """The sessions behind a cursor, the newest first; before them the list of all.

        Args:
            cursor: when the last one before them was used, and its name.

        Raises:
            ToolError: it is none.
        """
        know_secrets()
        found = await self._read(list_sessions) or []
        if cursor is None:
            rest = found
        else:
            time, _, name = cursor.partition(" ")
            last = (-_seconds(time), name)
            rest = [session for session in found if (-session.updated, session.name) > last]
        rest = sorted(rest, key=lambda session: (-session.updated, session.name))
        listed = [types.Resource(name="sessions", uri=LIST, mime_type=_JSON, description="The newest, as a list")]
        listed = [*(listed if cursor is None else ()), *map(_listed, rest[:PAGE])]
        following = f"{rest[PAGE - 1].updated!r} {rest[PAGE - 1].name}" if len(rest) > PAGE else None
        return types.ListResourcesResult(resources=listed, next_cursor=following)

    async def read(self, uri: str) -> types.ReadResourceResult:
        """A session, its plan, or the list.

        Raises:
            ToolError: there is no such resource.
        """
        parts = urlsplit(uri)
        words = [unquote(word) for word in parts.path.split("/")[1:]]
        kind = words[1] if len(words) > 1 else ""
        if parts.netloc != "sessions" or len(words) > 2 or kind not in ("", "json", "plan"):
            raise ToolError(f"There is no resource {uri}; there are {LIST}, {LIST}/NAME, …/json and …/plan")
        name = words[0] if words else ""
        text = await self._read(lambda journal: _text(journal, name, kind))
        if text is None:
            raise ToolError("Nothing was recorded yet")
        mime = _JSON if kind == "json" or not name else _MARKDOWN
        return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, mime_type=mime, text=text)])

    def stamp(self) -> object:
        """Another value whenever something was recorded."""
        return [stamp(self._path.with_name(self._path.name + end)) for end in ("", "-wal")]

    async def changed(self) -> tuple[list[str], bool]:
        """The addresses whose content is another since the last call, and whether there are other sessions now."""
        seen = self._seen
        found = await self._read(lambda journal: changes_since(journal, seen[0] if seen else None))
        if found is None:
            return [], False
        last, count, names = found
        self._seen = last, count
        addresses = [f"{LIST}/{quote(name, safe='')}{part}" for name in names for part in ("", "/json", "/plan")]
        return [*([LIST] if names else ()), *addresses], seen is not None and seen[1] != count

    async def _read(self, work: Callable[[SQLiteJournal], T]) -> T | None:
        def read() -> T | None:
            if not self._path.exists():  # to look is no reason to make one
                return None
            with closing(SQLiteJournal(self._path)) as journal:
                return work(journal)

        return await asyncio.to_thread(read)


def _text(journal: SQLiteJournal, name: str, kind: str) -> str:
    if not name:
        know_secrets()
        found = list_sessions(journal, limit=PAGE)
        return redact(orjson.dumps([asdict(session) for session in found], option=orjson.OPT_INDENT_2).decode())
    session = find_session(journal, name)
    know_secrets(Path(session.workspace))
    if kind != "plan":
        return export_session(journal, session.name, "json" if kind else "markdown", most=LARGEST)
    plans = (latest_plan(journal.records(run_id)) for run_id in reversed(journal.runs(session.name)))
    plan = next(filter(None, plans), None)
    if plan is None:
        raise ToolError(f"The session {session.name} has no plan")
    return redact(plan_text(plan)) + "\n"


def _listed(session: SessionInfo) -> types.Resource:
    prompts = f"{session.prompts} prompt{'s' if session.prompts > 1 else ''}"
    about = f"{session.state}, {prompts}, {session.model}, in {session.workspace}"
    uri = f"{LIST}/{quote(session.name, safe='')}"
    title = redact(session.title) or session.name
    return types.Resource(name=session.name, title=title, uri=uri, mime_type=_MARKDOWN, description=about)


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ToolError(f"{text!r} is no cursor") from None
