"""The record of a run: append-only, written before and after every step that must not be repeated."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import orjson

from qianda.models.errors import JournalError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
Repeat = Literal["safe", "unknown"]


class OutcomeUnknown(JournalError):
    """A step was started, did not finish, and is not safe to repeat: whether it took effect is unknown."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the record.

    Args:
        run_id: the run.
        key: for a step, its place in the run (``turn/3`` or ``turn/3/call/0``); else "".
        kind: what it is of: ``start``, ``setup``, ``history``, ``input``, ``steering``, ``model``, ``tool``,
            ``approval``, ``compaction``, ``question``, ``output``, ``files``, ``plan``, ``usage``, ``answer``,
            ``resume``, ``finish``. Readers pass over kinds that they do not know.
        state: ``started`` and ``finished`` for a step, ``noted`` for everything else.
        time: seconds since the epoch.
        data: JSON text.
    """

    run_id: str
    key: str
    kind: str
    state: Literal["started", "finished", "noted"]
    time: float
    data: bytes


class Journal(ABC):
    """Where runs are recorded; safe for many runs at once within one event loop.

    ``open_journal`` makes one: in memory, or in an SQLite file that outlives the process.

    Attributes:
        lasting: it outlives the process, so that what only later processes need is worth writing.
    """

    lasting: ClassVar[bool] = False

    @abstractmethod
    def append(self, record: Record) -> None:
        """Write one record; it is durable against a killed process when this returns.

        Raises:
            JournalError: it could not be written.
        """

    @abstractmethod
    def records(self, run_id: str) -> Iterable[Record]:
        """The records of a run, in the order in which they were written."""

    @abstractmethod
    def runs(self, session: str) -> list[str]:
        """The runs of a session, oldest first; a run without one is a session of its own name."""

    @abstractmethod
    def session_of(self, run_id: str) -> str | None:
        """The session that a run is in; None when there is no such run."""

    @abstractmethod
    def move(self, run_id: str, session: str) -> None:
        """Put a run into another session."""

    @abstractmethod
    def claim(self, run_id: str) -> None:
        """Take over a run that was interrupted, so that nobody else does.

        Raises:
            JournalError: it is going on, in this process or another.
        """

    def batch(self) -> AbstractContextManager[None]:
        """All that is written inside is written, or nothing, where the journal can do that."""
        return nullcontext()

    @abstractmethod
    def close(self) -> None:
        """Release the file."""

    def note(self, run_id: str, kind: str, data: Any) -> None:
        """Record something that is no step: a start, an input, an approval, the end.

        Raises:
            JournalError: it could not be written.
        """
        self.append(Record(run_id, "", kind, "noted", time.time(), orjson.dumps(data)))

    async def step(
        self,
        run_id: str,
        key: str,
        work: Callable[[], Awaitable[T]],
        *,
        kind: str,
        repeat: Repeat,
        returns: type[T],
    ) -> T:
        """Do a piece of work at most once per committed result.

        Args:
            run_id: the run that it belongs to.
            key: its place in the run; the same key is the same step, also after a crash.
            work: what to do.
            kind: ``model`` or ``tool``.
            repeat: whether it may be done again when it was started and did not finish.
            returns: the type of the result, a dataclass; needed to read it back.

        Returns:
            The result of the work, or the recorded one when there is one.

        Raises:
            OutcomeUnknown: it was started before, did not finish, and is not safe to repeat.
            JournalError: the record could not be written.
        """
        earlier = self.find(run_id, key)
        if earlier is not None and earlier.state == "finished":
            return read_back(earlier.data, returns)
        if earlier is not None and repeat == "unknown":
            raise OutcomeUnknown(f"Step {key} was started before and did not finish; whether it took effect is unknown")
        self.append(Record(run_id, key, kind, "started", time.time(), b"null"))
        result = await work()
        self.finish(run_id, key, kind, result)
        return result

    def finish(self, run_id: str, key: str, kind: str, result: Any) -> None:
        """Commit the result of a step.

        Raises:
            JournalError: it could not be written.
        """
        self.append(Record(run_id, key, kind, "finished", time.time(), orjson.dumps(result)))

    def find(self, run_id: str, key: str) -> Record | None:
        """The last record of a step: ``finished`` if it has finished, else ``started``, or None."""
        last = None
        for record in self.records(run_id):
            if record.key == key and (last is None or record.state == "finished"):
                last = record
        return last


def read_back(data: bytes, returns: type[T]) -> T:
    """A recorded result as the dataclass that it was.

    Raises:
        JournalError: the record does not hold one.
    """
    from pydantic import ValidationError

    try:
        return _adapter(returns).validate_json(data)
    except ValidationError as error:
        raise JournalError(f"The record does not hold a {returns.__name__}: {error.errors()[0]['msg']}") from error


@cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def new_run_id() -> str:
    """A name for a run that sorts by time and is safe in file names."""
    return time.strftime("%Y%m%d-%H%M%S-") + os.urandom(4).hex()


class MemoryJournal(Journal):
    """Forgets everything with the process; the default for library users."""

    def __init__(self) -> None:
        self._runs: dict[str, list[Record]] = {}
        self._steps: dict[tuple[str, str], Record] = {}
        self._sessions: dict[str, list[str]] = {}
        self._going: set[str] = set()

    def append(self, record: Record) -> None:
        """Keep a record."""
        # What orjson gives holds 4 KB, however short it is: a copy holds its length.
        data = bytes(memoryview(record.data))
        record = Record(record.run_id, record.key, record.kind, record.state, record.time, data)
        self._runs.setdefault(record.run_id, []).append(record)
        if record.key:
            self._steps[record.run_id, record.key] = record
        elif record.kind == "start":
            start = orjson.loads(record.data)
            session = record.run_id if start.get("session") is None else start["session"]
            self._sessions.setdefault(session, []).append(record.run_id)
            if "forked_from" not in start:
                self._going.add(record.run_id)
        elif record.kind == "finish":
            self._going.discard(record.run_id)

    def records(self, run_id: str) -> Iterable[Record]:
        """The records of a run."""
        return list(self._runs.get(run_id, ()))

    def runs(self, session: str) -> list[str]:
        """The runs of a session, oldest first."""
        return list(self._sessions.get(session, ()))

    def session_of(self, run_id: str) -> str | None:
        """The session that a run is in."""
        return next((session for session, runs in self._sessions.items() if run_id in runs), None)

    def move(self, run_id: str, session: str) -> None:
        """Put a run into another session."""
        self._sessions[self.session_of(run_id) or ""].remove(run_id)
        self._sessions.setdefault(session, []).append(run_id)

    def claim(self, run_id: str) -> None:
        """Take over a run."""
        if run_id in self._going:
            raise JournalError(f"The run {run_id} is still going on", cure="Wait for its end, or stop it")
        self._going.add(run_id)

    def find(self, run_id: str, key: str) -> Record | None:
        """The last record of a step."""
        return self._steps.get((run_id, key))

    def close(self) -> None:
        """Nothing to release."""


def open_journal(where: str | Path | Journal | None) -> Journal:
    """A journal: None is in memory, a path is an SQLite file (made when it is not there).

    Raises:
        JournalError: the file cannot be opened or is not a journal.
    """
    if isinstance(where, Journal):
        return where
    if where is None:
        return MemoryJournal()
    from qianda.agents.journal_sqlite import SQLiteJournal

    return SQLiteJournal(Path(where))
