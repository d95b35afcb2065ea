"""The record of a run: append-only, written before and after every step that must not be repeated."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson

from qianda.models.errors import JournalError

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
        kind: ``start``, ``input``, ``model``, ``tool``, ``approval``, ``answer`` or ``finish``.
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
    """

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
        """The runs of a session, oldest first."""

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
        self.append(Record(run_id, key, kind, "finished", time.time(), orjson.dumps(result)))
        return result

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
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(returns).validate_json(data)
    except ValidationError as error:
        raise JournalError(f"The record does not hold a {returns.__name__}: {error.errors()[0]['msg']}") from error


class MemoryJournal(Journal):
    """Forgets everything with the process; the default for library users."""

    def __init__(self) -> None:
        self._runs: dict[str, list[Record]] = {}
        self._steps: dict[tuple[str, str], Record] = {}
        self._sessions: dict[str | None, list[str]] = {}

    def append(self, record: Record) -> None:
        """Keep a record."""
        # What orjson gives holds 4 KB, however short it is: a copy holds its length.
        data = bytes(memoryview(record.data))
        record = Record(record.run_id, record.key, record.kind, record.state, record.time, data)
        self._runs.setdefault(record.run_id, []).append(record)
        if record.key:
            self._steps[record.run_id, record.key] = record
        elif record.kind == "start":
            self._sessions.setdefault(orjson.loads(record.data).get("session"), []).append(record.run_id)

    def records(self, run_id: str) -> Iterable[Record]:
        """The records of a run."""
        return list(self._runs.get(run_id, ()))

    def runs(self, session: str) -> list[str]:
        """The runs of a session, oldest first."""
        return list(self._sessions.get(session, ()))

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
