"""The sessions of a record: listed, found, searched, removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from qianda.agents.journal_owner import is_alive
from qianda.agents.journal_schema import text_of
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.models.errors import ConfigurationError, JournalError

_INDEXED = 20_000  # characters of one record; longer results are outputs of programs
_BATCH = 2_000  # records; other processes write in between
_OUTERMOST = "run_id NOT LIKE '%.%'"  # no runs of agents that worked for another run
_LIST = """
WITH ends AS (SELECT session, min(id) AS first, max(id) AS last, count(*) AS prompts FROM run {where} GROUP BY session)
SELECT ends.session, first.title, last.workspace, last.model, ends.prompts, first.time,
    CASE WHEN last.finish = '' THEN coalesce((SELECT max(time) FROM record WHERE run_id = last.run_id), last.updated)
        ELSE last.updated END AS updated,
    last.finish, last.owner, last.run_id
FROM ends JOIN run AS first ON first.id = ends.first JOIN run AS last ON last.id = ends.last
ORDER BY updated DESC
"""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as lists show it.

    Args:
        name: what it is called; the id of its first run when it was given no name.
        title: the first words of its first prompt.
        workspace: the folder of its last run.
        model: of its last run.
        prompts: how many there were.
        began: seconds since the epoch.
        updated: when its last run ended or, for one that did not, last wrote.
        state: ``done``, ``running``, ``interrupted``, ``cancelled``, ``limit`` or ``failed``.
        last_run: the id of its last run.
    """

    name: str
    title: str
    workspace: str
    model: str
    prompts: int
    began: float
    updated: float
    state: str
    last_run: str


@dataclass(frozen=True, slots=True)
class Found:
    """A place where a search found its words.

    Args:
        session: name.
        run_id: the run.
        kind: ``input``, ``model`` or ``tool``.
        time: seconds since the epoch.
        snippet: the words with what is around them, on one line.
    """

    session: str
    run_id: str
    kind: str
    time: float
    snippet: str


def list_sessions(
    journal: SQLiteJournal, *, workspace: Path | None = None, name: str | None = None, limit: int = -1
) -> list[SessionInfo]:
    """The sessions, the newest first.

    Args:
        journal: the record.
        workspace: only those that have a run in this folder.
        name: only this one.
        limit: how many at most; all by default.
    """
    conditions = {
        "workspace = ?": None if workspace is None else str(workspace),
        "session = ?": name,
    }
    given = {condition: value for condition, value in conditions.items() if value is not None}
    where = f"WHERE {' AND '.join([*given, *([] if name else [_OUTERMOST])])}"
    with journal.reading() as db:
        rows = db.execute(f"{_LIST.format(where=where)} LIMIT ?", (*given.values(), limit)).fetchall()
    return [
        SessionInfo(*about, state=_state(journal, finish, owner), last_run=last_run)
        for *about, finish, owner, last_run in rows
    ]


def _state(journal: SQLiteJournal, finish: str, owner: int) -> str:
    match finish:
        case "":
            return "running" if is_alive(journal.path, owner) else "interrupted"
        case "done" | "length" | "plan":
            return "done"
        case "cancelled" | "limit":
            return finish
        case _:
            return "failed"


def find_session(journal: SQLiteJournal, name: str, workspace: Path | None = None) -> SessionInfo:
    """The session of a name, of the beginning or end of one, or of a run in it; ``last`` is the newest.

    Raises:
        ConfigurationError: there is none, or there are several.
    """
    if exact := list_sessions(journal, name=name):
        return exact[0]
    if name == "last":
        if newest := list_sessions(journal, workspace=workspace, limit=1):
            return newest[0]
        raise ConfigurationError("Nothing was recorded here yet", cure="Begin: qianda run PROMPT")
    pattern = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    query = (
        f"SELECT DISTINCT session FROM run WHERE {_OUTERMOST} AND (session LIKE ?1 || '%' ESCAPE '\\' "  # noqa: S608 -- ours
        "OR session LIKE '%' || ?1 ESCAPE '\\' "
        "OR run_id LIKE ?1 || '%' ESCAPE '\\' OR run_id LIKE '%' || ?1 ESCAPE '\\')"
    )
    with journal.reading() as db:
        found: list[str] = [row[0] for row in db.execute(query, (pattern,))] if name else []
    if len(found) == 1:
        return list_sessions(journal, name=found[0])[0]
    if found:
        raise ConfigurationError(
            f"{name} may be {', '.join(found[:5])}{' …' if len(found) > 5 else ''}", cure="Write more of the name"
        )
    raise ConfigurationError(f"There is no session {name}", cure="See them: qianda sessions list")


def changes_since(journal: SQLiteJournal, last: int | None) -> tuple[int, int, list[str]]:
    """What was recorded since the last look: where it ends now, how many sessions there are, and those that changed.

    Args:
        journal: the record.
        last: where it ended at the last look; None at the first, which finds no session changed.
    """
    query = f"SELECT DISTINCT session FROM run JOIN record USING (run_id) WHERE record.id > ? AND {_OUTERMOST}"  # noqa: S608 -- ours
    with journal.reading() as db:
        (end,) = db.execute("SELECT coalesce(max(id), 0) FROM record").fetchone()
        (count,) = db.execute(f"SELECT count(DISTINCT session) FROM run WHERE {_OUTERMOST}").fetchone()  # noqa: S608 -- ours
        names = [] if last is None else [row[0] for row in db.execute(query, (last,))]
    return end, count, names


def rename_session(journal: SQLiteJournal, name: str, new: str) -> None:
    """Call a session by another name.

    Raises:
        ConfigurationError: the name is taken.
        JournalError: the record cannot be written.
    """
    if journal.runs(new):
        raise ConfigurationError(f"There is a session {new!r} already", cure="Choose another name")
    with journal.batch(), journal.reading() as db:
        db.execute("UPDATE run SET session = ? WHERE session = ?", (new, name))


def search(journal: SQLiteJournal, words: str, *, workspace: Path | None = None, limit: int = 20) -> list[Found]:
    """Where all these words occur in a prompt, a reply or a result, the newest first; any language.

    Args:
        journal: the record.
        words: what is looked for.
        workspace: only in runs in this folder.
        limit: how many places at most.

    Raises:
        JournalError: the SQLite of this Python has no full-text search.
    """
    terms = words.split()
    if not terms:
        return []
    index_text(journal)
    # The index knows three characters and more; shorter words, two Chinese characters say, are looked for in the text.
    long = " AND ".join('"{}"'.format(term.replace('"', '""')) for term in terms if len(term) > 2)
    short = [term for term in terms if len(term) <= 2]
    conditions = ["found MATCH ?"] * bool(long) + ["found_content.c0 LIKE '%' || ? || '%'"] * len(short)
    conditions += ["run.workspace = ?"] * bool(workspace)
    place = "found.rowid" if long else "found_content.id"  # the index gives its rows in this order, and stops
    query = (
        "SELECT run.session, record.run_id, record.kind, record.time, found_content.c0 FROM "  # noqa: S608 -- ours
        f"{'found JOIN found_content ON found.rowid = found_content.id' if long else 'found_content'} "
        "JOIN record ON record.id = found_content.id JOIN run ON run.run_id = record.run_id "
        f"WHERE {' AND '.join(conditions)} ORDER BY {place} DESC LIMIT ?"
    )
    with journal.reading() as db:
        given = (*filter(None, [long]), *short, *([str(workspace)] if workspace else []), limit)
        rows = db.execute(query, given).fetchall()
    return [Found(*where, snippet=_snippet(text, terms[0])) for *where, text in rows]


def _snippet(text: str, term: str) -> str:
    at = max(text.lower().find(term.lower()), 0)
    begin, end = max(at - 40, 0), at + len(term) + 80
    return "…" * (begin > 0) + " ".join(text[begin:end].split()) + "…" * (end < len(text))


def index_text(journal: SQLiteJournal) -> None:
    """Take what was recorded since the last search into the index: runs do not wait for that.

    Raises:
        JournalError: there is no full-text search, or the record cannot be written.
    """
    try:
        with journal.batch(), journal.reading() as db:
            db.execute("CREATE VIRTUAL TABLE IF NOT EXISTS found USING fts5(text, tokenize='trigram')")
    except JournalError as error:
        if isinstance(error.__cause__, sqlite3.OperationalError) and "fts5" in str(error) + "trigram":
            raise JournalError(
                f"There is no full-text search here: {error.message}", cure="Use a Python with SQLite 3.34"
            ) from error
        raise
    last = _BATCH
    while last == _BATCH:
        with journal.batch(), journal.reading() as db:
            query = (
                "SELECT record.id, kind, coalesce(content.data, record.data) FROM record "
                "LEFT JOIN content ON content.hash = record.hash WHERE record.id > "
                "(SELECT coalesce(max(id), 0) FROM found_content) AND kind IN ('input', 'model', 'tool') "
                "AND state != 'started' ORDER BY record.id LIMIT ?"
            )
            rows = db.execute(query, (_BATCH,)).fetchall()
            texts = [(number, _text(kind, orjson.loads(data))) for number, kind, data in rows]
            db.executemany("INSERT INTO found (rowid, text) VALUES (?, ?)", texts)
        last = len(rows)


def _text(kind: str, value: Any) -> str:
    if kind == "input":
        text = text_of(value)
    elif kind == "model":
        text = "\n".join([value["text"], *(f"{call['name']} {call['arguments']}" for call in value["calls"])])
    else:
        text = text_of(value["content"])
    return text[:_INDEXED]


def remove_sessions(journal: SQLiteJournal, names: Sequence[str]) -> None:
    """Forget sessions, with all that only they held.

    Raises:
        JournalError: the record cannot be written.
    """
    within = (
        "SELECT inside.session FROM run JOIN run AS inside "
        "ON inside.run_id > run.run_id || '.' AND inside.run_id < run.run_id || '/' WHERE run.session = ?"
    )
    with journal.reading() as db:
        inside = [row[0] for name in names for row in db.execute(within, (name,))]
    for name in (*names, *inside):
        with journal.batch(), journal.reading() as db:
            records = "SELECT id FROM record WHERE run_id IN (SELECT run_id FROM run WHERE session = ?)"
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'found'").fetchone():
                db.execute(f"DELETE FROM found WHERE rowid IN ({records})", (name,))  # noqa: S608 -- ours
            db.execute(f"DELETE FROM record WHERE id IN ({records})", (name,))  # noqa: S608 -- ours
            db.execute("DELETE FROM run WHERE session = ?", (name,))
    with journal.batch(), journal.reading() as db:
        db.execute("DELETE FROM content WHERE hash NOT IN (SELECT hash FROM record WHERE hash IS NOT NULL)")
    with journal.reading() as db:
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
