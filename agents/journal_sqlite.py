"""The record of runs in one SQLite file, shared by several processes."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import orjson

from qianda.agents.journal import Journal, Record
from qianda.models.errors import JournalError

VERSION = 1

_SCHEMA = """
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    time REAL NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX record_of_run ON record (run_id, key);
CREATE TABLE run (run_id TEXT PRIMARY KEY, session TEXT, time REAL NOT NULL);
CREATE INDEX run_of_session ON run (session, time);
"""


class SQLiteJournal(Journal):
    """Write-ahead log, one small transaction per record: what was appended survives a killed process.

    Args:
        path: the file; its folder is made.

    Raises:
        JournalError: it cannot be opened, or a newer version of this package wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained("opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            # For its owner alone, before there is anything in it: SQLite gives its other files the same rights.
            path.touch(mode=0o600)
            path.chmod(0o600)
            # Autocommit: every statement outside "with" is a transaction of its own.
            self._db = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            self._close = weakref.finalize(self, self._db.close)
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._prepare()
            except BaseException:
                self._close()
                raise

    def _prepare(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._make_tables()
            self._db.execute("COMMIT")
        except BaseException:
            # All or nothing; a full disk may have rolled it back by itself.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _make_tables(self) -> None:
        version: int = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise JournalError(
                f"{self.path} was written by a newer Qianda (format {version}, this one knows {VERSION})",
                cure="Upgrade, or choose another file",
            )
        if version == 0:
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _explained(self, what: str) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"The record {self.path} could not be {what}: {error}",
                cure="Is the disk full, the folder read-only, or another program writing to it?",
            ) from error

    def append(self, record: Record) -> None:
        """Write one record in a transaction of its own."""
        row = (record.run_id, record.key, record.kind, record.state, record.time, record.data)
        with self._explained("written"):
            if record.kind == "start" and not record.key:
                session = orjson.loads(record.data).get("session")
                self._db.execute("INSERT INTO run VALUES (?, ?, ?)", (record.run_id, session, record.time))
            self._db.execute("INSERT INTO record (run_id, key, kind, state, time, data) VALUES (?,?,?,?,?,?)", row)

    def records(self, run_id: str) -> Iterable[Record]:
        """The records of a run."""
        return self._select("WHERE run_id = ? ORDER BY id", run_id)

    def find(self, run_id: str, key: str) -> Record | None:
        """The last record of a step."""
        found = self._select("WHERE run_id = ? AND key = ? ORDER BY state = 'finished' DESC LIMIT 1", run_id, key)
        return found[0] if found else None

    def _select(self, where: str, *values: str) -> list[Record]:
        with self._explained("read"):
            rows = self._db.execute(
                f"SELECT run_id, key, kind, state, time, data FROM record {where}",  # noqa: S608 -- `where` is ours
                values,
            ).fetchall()
        return [Record(*row) for row in rows]

    def runs(self, session: str) -> list[str]:
        """The runs of a session, oldest first."""
        with self._explained("read"):
            rows = self._db.execute("SELECT run_id FROM run WHERE session = ? ORDER BY rowid", (session,))
            return [row[0] for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._close()
