"""Where undo keeps what files held: contents by hash and changes by run, in one SQLite file of the data folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from qianda.models.config import data_dir
from qianda.models.errors import QiandaError

if TYPE_CHECKING:
    import sqlite3

LARGEST = 500_000_000  # bytes of contents that are kept; the oldest runs go first
_SCHEMA = """
CREATE TABLE IF NOT EXISTS blob (hash TEXT PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS run (run_id TEXT PRIMARY KEY, workspace TEXT NOT NULL, time REAL NOT NULL);
CREATE TABLE IF NOT EXISTS change (
    id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, step INTEGER NOT NULL, tool TEXT NOT NULL, path TEXT NOT NULL,
    folder TEXT NOT NULL, before TEXT NOT NULL, after TEXT, undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS change_of_run ON change (run_id);
CREATE TABLE IF NOT EXISTS seen (path TEXT PRIMARY KEY, signature TEXT NOT NULL, state TEXT NOT NULL);
"""


class UndoError(QiandaError):
    """Changes cannot be kept, or not be taken back."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One file that one step changed.

    Args:
        number: of this line in the store.
        step: which call of the run, counted from 1.
        tool: the tool's name.
        path: relative to the workspace.
        folder: the deepest of its folders that was there before.
        before: the state (mode and hash) before the step; "" when there was no file.
        after: the one after it; "" when it was deleted, None when the step never ended.
    """

    number: int
    step: int
    tool: str
    path: str
    folder: str
    before: str
    after: str | None


class UndoStore:
    """Contents and changes; several processes may use it.

    Args:
        path: the file; by default the user's own.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or data_dir() / "undo.db"
        self._lock = threading.RLock()

    @cached_property
    def _db(self) -> sqlite3.Connection:
        import sqlite3

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        # Autocommit; what was written survives a killed process.
        db = sqlite3.connect(self.path, timeout=10.0, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_SCHEMA)
        return db

    @contextlib.contextmanager
    def used(self) -> Generator[sqlite3.Connection]:
        """One transaction.

        Raises:
            UndoError: the file cannot be used.
        """
        import sqlite3

        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
            except (sqlite3.Error, OSError) as error:
                raise UndoError(f"{self.path} cannot be used: {error}", cure="Is the disk full?") from error

    def begin(self, run_id: str, workspace: Path) -> None:
        """Note a run, and make room for what it will change."""
        with self.used() as db:
            db.execute("INSERT OR IGNORE INTO run VALUES (?, ?, ?)", (run_id, str(workspace), time.time()))
            self._prune(db, run_id)

    def add(self, db: sqlite3.Connection, run_id: str, changed: Changed) -> int:
        """Note a change; its number."""
        row = (run_id, changed.step, changed.tool, changed.path, changed.folder, changed.before, changed.after)
        columns = "run_id, step, tool, path, folder, before, after"
        cursor = db.execute(f"INSERT INTO change ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608 - ours
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def changes(self, run_id: str) -> list[Changed]:
        """What a run changed and nobody took back, in the order in which it did."""
        columns = "id, step, tool, path, folder, before, after"
        with self.used() as db:
            query = f"SELECT {columns} FROM change WHERE run_id = ? AND NOT undone ORDER BY id"  # noqa: S608 - ours
            return [Changed(*row) for row in db.execute(query, (run_id,))]

    def runs(self, workspace: Path) -> list[tuple[str, float]]:
        """The runs that changed something in a folder, and when; the newest first."""
        query = (
            "SELECT run_id, time FROM run WHERE workspace = ? AND EXISTS "
            "(SELECT 1 FROM change WHERE change.run_id = run.run_id AND NOT undone) ORDER BY time DESC"
        )
        with self.used() as db:
            return list(db.execute(query, (str(workspace),)))

    def workspace(self, run_id: str) -> Path:
        """The folder that a run worked in.

        Raises:
            UndoError: nothing is known of that run.
        """
        with self.used() as db:
            row = db.execute("SELECT workspace FROM run WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise UndoError(f"Nothing is kept of a run {run_id}", cure="See the runs of a folder: qianda undo --list")
        return Path(row[0])

    def keep(self, db: sqlite3.Connection, path: Path, state: os.stat_result) -> str:
        """Keep a file's or link's content; its state, from what was seen before where nothing about it changed."""
        signature = f"{state.st_mode} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} {state.st_ino}"
        found = db.execute("SELECT state FROM seen WHERE path = ? AND signature = ?", (str(path), signature)).fetchone()
        if found is not None:
            return found[0]
        data = os.fsencode(path.readlink()) if stat.S_ISLNK(state.st_mode) else read_plain(path)
        digest = hashlib.sha256(data).hexdigest()
        db.execute("INSERT OR IGNORE INTO blob VALUES (?, ?)", (digest, data))
        kept = f"{state.st_mode:o} {digest}"
        # A file written within the clock's resolution may change again without looking different.
        if time.time_ns() - state.st_mtime_ns > 50_000_000:
            db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (str(path), signature, kept))
        return kept

    def content(self, state: str) -> bytes:
        """What a file held; nothing for one that was not there."""
        if not state:
            return b""
        with self.used() as db:
            row = db.execute("SELECT data FROM blob WHERE hash = ?", (state.partition(" ")[2],)).fetchone()
        if row is None:
            raise UndoError("What the file held is not kept any more")
        return row[0]

    def mark_undone(self, changes: Iterable[Changed]) -> None:
        """These changes are taken back."""
        with self.used() as db:
            db.executemany("UPDATE change SET undone = 1 WHERE id = ?", [(changed.number,) for changed in changes])

    def _prune(self, db: sqlite3.Connection, current: str) -> None:
        """Forget the oldest runs while there is too much, and contents that nothing refers to."""
        size = "SELECT coalesce(sum(length(data)), 0) FROM blob"
        if db.execute(size).fetchone()[0] <= LARGEST:
            return
        db.execute("DELETE FROM seen")
        for (run_id,) in db.execute("SELECT run_id FROM run WHERE run_id != ? ORDER BY time", (current,)).fetchall():
            db.execute(
                "DELETE FROM blob WHERE hash NOT IN (SELECT substr(before, instr(before, ' ') + 1) FROM change "
                "UNION SELECT substr(after, instr(after, ' ') + 1) FROM change WHERE after IS NOT NULL)"
            )
            if db.execute(size).fetchone()[0] <= LARGEST:
                break
            db.execute("DELETE FROM change WHERE run_id = ?", (run_id,))
            db.execute("DELETE FROM run WHERE run_id = ?", (run_id,))


def read_plain(path: Path) -> bytes:
    """A regular file's content, never that of what a link leads to."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read()
