"""The tables of the record, and how those of earlier versions become them."""

from __future__ import annotations

import sqlite3
from typing import Any

import orjson

VERSION = 2
TITLE = 80  # characters

_SCHEMA = """
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    time REAL NOT NULL,
    data BLOB NOT NULL,
    hash TEXT
);
CREATE INDEX record_of_run ON record (run_id, key);
CREATE TABLE content (hash TEXT PRIMARY KEY, data BLOB NOT NULL);
"""
_RUN = """
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL,
    time REAL NOT NULL,
    updated REAL NOT NULL,
    workspace TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    title TEXT NOT NULL DEFAULT '',
    finish TEXT NOT NULL DEFAULT '',
    owner INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX run_of_session ON run (session, id);
"""


def prepare(db: sqlite3.Connection, version: int) -> None:
    """Make the tables, or bring those of an earlier version up to date; inside a transaction.

    Args:
        db: the file.
        version: what it is now; 0 for an empty file.
    """
    if version == 0:
        _execute(db, _SCHEMA + _RUN)
    elif version == 1:
        _from_1(db)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _from_1(db: sqlite3.Connection) -> None:
    """Large content goes in by hash; runs know their folder, title and end, and each has a session."""
    _execute(
        db,
        f"ALTER TABLE record ADD COLUMN hash TEXT; ALTER TABLE run RENAME TO run_1; DROP INDEX run_of_session; {_RUN}",
    )
    _execute(db, "CREATE TABLE content (hash TEXT PRIMARY KEY, data BLOB NOT NULL)")
    for run_id, session, time in db.execute("SELECT run_id, session, time FROM run_1 ORDER BY rowid").fetchall():
        row: dict[str, Any] = {"workspace": "", "model": "", "title": "", "finish": "", "updated": time}
        noted = (
            "SELECT kind, time, data FROM record WHERE run_id = ? AND kind IN ('start', 'input', 'finish') ORDER BY id"
        )
        for kind, row["updated"], data in db.execute(noted, (run_id,)):
            value = orjson.loads(data)
            if kind == "start":
                row["workspace"], row["model"] = value.get("workspace") or "", value.get("model") or ""
            elif kind == "input":
                row["title"] = row["title"] or title_of(value)
            else:
                row["finish"] = value.get("finish") or ""
        values = (run_id, run_id if session is None else session, time, *row.values())
        columns = f"run_id, session, time, {', '.join(row)}"
        db.execute(f"INSERT INTO run ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608 - ours
    db.execute("DROP TABLE run_1")


def _execute(db: sqlite3.Connection, statements: str) -> None:
    # Not executescript(), which would commit.
    for statement in statements.split(";"):
        db.execute(statement)


def title_of(content: Any) -> str:
    """The first words of a prompt, as it is recorded."""
    words = text_of(content)[: 4 * TITLE].split()
    title = " ".join(words)
    return title if len(title) <= TITLE else title[: TITLE - 1].rstrip() + "…"


def text_of(content: Any) -> str:
    """The text of a message's content, as it is recorded."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part["type"] == "text")
