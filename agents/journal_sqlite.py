"""The record of runs in one SQLite file, shared by several processes."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
import weakref
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import orjson

from qianda.agents.journal import Journal, Record
from qianda.agents.journal_owner import is_alive, own_number
from qianda.agents.journal_schema import VERSION, prepare, title_of
from qianda.models.errors import JournalError

LARGE = 2_000  # bytes; longer content is kept by its hash, once
BUSY = 10.0  # seconds; transactions of other processes take milliseconds

_INSERT = "INSERT INTO record (run_id, key, kind, state, time, data, hash) VALUES (?,?,?,?,?,?,?)"
_SELECT = (
    "SELECT run_id, key, kind, state, time, coalesce(content.data, record.data) "
    "FROM record LEFT JOIN content ON content.hash = record.hash "
)


class SQLiteJournal(Journal):
    """Write-ahead log, one small transaction per record: what was appended survives a killed process.

    Args:
        path: the file; its folder is made.

    Raises:
        JournalError: it cannot be opened, or a newer version of this package wrote it.
    """

    lasting = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._batched = False
        self._untitled: set[str] = set()
        self._going: set[str] = set()
        with self._explained("opened"):
            path.parent.mkdir(parents=True, exist_ok=True)
            # For its owner alone, before there is anything in it: SQLite gives its other files the same rights.
            path.touch(mode=0o600)
            path.chmod(0o600)
            # Autocommit: every statement outside "with" is a transaction of its own.
            self._db = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
            self._close = weakref.finalize(self, self._db.close)
            try:
                self._write_ahead()
                self._db.execute("PRAGMA synchronous = NORMAL")
                self._prepare()
            except BaseException:
                self._close()
                raise

    def _write_ahead(self) -> None:
        # Where another process switches the same new file, SQLite fails at once, whatever the timeout.
        until = time.monotonic() + BUSY
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

    def _prepare(self) -> None:
        if self._version() == VERSION:  # without waiting for who writes
            return
        with self._transaction():
            version = self._version()
            if version > VERSION:
                raise JournalError(
                    f"{self.path} was written by a newer Qianda (format {version}, this one knows {VERSION})",
                    cure="Upgrade, or choose another file",
                )
            prepare(self._db, version)

    def _version(self) -> int:
        return self._db.execute("PRAGMA user_version").fetchone()[0]

    @contextmanager
    def _explained(self, what: str) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"The record {self.path} could not be {what}: {error}",
                cure="Is the disk full, the folder read-only, or another program writing to it?",
            ) from error

    @contextmanager
    def _transaction(self) -> Generator[None]:
        with self._lock:
            if self._batched:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._batched = True
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # All or nothing; a full disk may have rolled it back by itself.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._batched = False

    @contextmanager
    def batch(self) -> Generator[None]:
        """All that is written inside is written, or nothing."""
        with self._explained("written"), self._transaction():
            yield

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """The database, for lists and searches.

        Raises:
            JournalError: it cannot be read.
        """
        with self._lock, self._explained("read"):
            yield self._db

    def append(self, record: Record) -> None:
        """Write one record in a transaction of its own."""
        with self._lock, self._explained("written"):
            if record.key and len(record.data) <= LARGE:  # the usual case
                self._insert(record, record.data, None)
                return
            with self._transaction():
                if len(record.data) <= LARGE:
                    self._insert(record, record.data, None)
                else:
                    digest = hashlib.sha256(record.data).hexdigest()
                    self._db.execute("INSERT OR IGNORE INTO content VALUES (?, ?)", (digest, record.data))
                    self._insert(record, b"", digest)
                if not record.key:
                    self._note_of_run(record)

    def _insert(self, record: Record, data: bytes, digest: str | None) -> None:
        row = (record.run_id, record.key, record.kind, record.state, record.time, data, digest)
        self._db.execute(_INSERT, row)

    def _note_of_run(self, record: Record) -> None:
        """Keep what lists show of a run beside the records that it is from."""
        run_id = record.run_id
        if record.kind == "start":
            data = orjson.loads(record.data)
            session = data.get("session")
            row = (run_id, run_id if session is None else session, record.time, record.time)
            copied = "forked_from" in data
            row += (data.get("workspace") or "", data.get("model") or "", 0 if copied else own_number(self.path))
            columns = "run_id, session, time, updated, workspace, model, owner"
            # One that was killed before its prompt was recorded begins again, if it is a call's, under the same name.
            again = "ON CONFLICT (run_id) DO UPDATE SET owner = excluded.owner"
            self._db.execute(f"INSERT INTO run ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?) {again}", row)  # noqa: S608 -- ours
            self._untitled.add(run_id)
            if not copied:
                self._going.add(run_id)
        elif record.kind == "input" and run_id in self._untitled:
            self._untitled.discard(run_id)
            title = title_of(orjson.loads(record.data))
            self._db.execute("UPDATE run SET title = ? WHERE run_id = ?", (title, run_id))
        elif record.kind == "finish":
            self._going.discard(run_id)
            finish = orjson.loads(record.data).get("finish") or ""
            self._db.execute(
                "UPDATE run SET finish = ?, updated = max(updated, ?), owner = 0 WHERE run_id = ?",
                (finish, record.time, run_id),
            )

    def records(self, run_id: str) -> Iterable[Record]:
        """The records of a run."""
        return self._select("WHERE run_id = ? ORDER BY id", run_id)

    def find(self, run_id: str, key: str) -> Record | None:
        """The last record of a step."""
        found = self._select("WHERE run_id = ? AND key = ? ORDER BY state = 'finished' DESC LIMIT 1", run_id, key)
        return found[0] if found else None

    def _select(self, where: str, *values: str) -> list[Record]:
        with self.reading() as db:
            return [Record(*row) for row in db.execute(_SELECT + where, values)]

    def runs(self, session: str) -> list[str]:
        """The runs of a session, oldest first."""
        with self.reading() as db:
            rows = db.execute("SELECT run_id FROM run WHERE session = ? ORDER BY id", (session,))
            return [row[0] for row in rows]

    def session_of(self, run_id: str) -> str | None:
        """The session that a run is in."""
        with self.reading() as db:
            row = db.execute("SELECT session FROM run WHERE run_id = ?", (run_id,)).fetchone()
            return row and row[0]

    def move(self, run_id: str, session: str) -> None:
        """Put a run into another session."""
        with self.batch():
            self._db.execute("UPDATE run SET session = ? WHERE run_id = ?", (session, run_id))

    def claim(self, run_id: str) -> None:
        """Take over a run whose process is gone."""
        going = JournalError(f"The run {run_id} is still going on", cure="Wait for its end, or stop it")
        with self.batch():
            row = self._db.execute("SELECT owner FROM run WHERE run_id = ?", (run_id,)).fetchone()
            if run_id in self._going or (row and row[0] != own_number(self.path) and is_alive(self.path, row[0])):
                raise going
            self._db.execute("UPDATE run SET owner = ?, finish = '' WHERE run_id = ?", (own_number(self.path), run_id))
            self._going.add(run_id)

    def close(self) -> None:
        """Close the file."""
        self._close()
