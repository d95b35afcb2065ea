"""Forks and rewinds of recorded sessions: what is copied, what is left out, and which files go back with it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count

import orjson

from qianda.agents.journal import Journal, Record, new_run_id
from qianda.models.errors import ConfigurationError
from qianda.tools.undo import Undone, undo_steps

Point = int | str


@dataclass(frozen=True, slots=True)
class Rewound:
    """What a rewind did.

    Args:
        kept_as: the session that holds the conversation as it was before.
        files: what became of the files, or None when they were left alone.
    """

    kept_as: str
    files: Undone | None


def parse_point(point: Point) -> tuple[int, int | None]:
    """How many prompts are kept whole and, for ``"PROMPTS.REPLIES"``, how many replies of the last one.

    Raises:
        ConfigurationError: it is no point.
    """
    if isinstance(point, int) and point >= 0:
        return point, None
    if match := re.fullmatch(r"(\d+)(?:\.(\d+))?", str(point)):
        prompts, replies = int(match[1]), match[2]
        if replies is None or prompts:
            return prompts, None if replies is None else int(replies)
    raise ConfigurationError(
        f"{point!r} is no point of a session",
        cure="Say how many prompts are kept: 2, or 2.5 for five replies of the second",
    )


def fork_session(journal: Journal, session: str, name: str, at: Point | None = None) -> None:
    """Copy a session, or its beginning.

    Args:
        journal: the record.
        session: what is copied.
        name: the new one.
        at: how much of it: ``2`` for the first two prompts with their answers, ``"2.5"`` for the first prompt and five
            replies to the second; None for all.

    Raises:
        ConfigurationError: the name is taken, or there is no such point.
    """
    if journal.runs(name):
        raise ConfigurationError(f"There is a session {name!r} already", cure="Choose another name")
    kept, _ = _parted(journal, session, at)
    with journal.batch():
        for records in kept:
            copy_run(journal, records, name)


def rewind_session(journal: Journal, session: str, to: Point, *, files: bool = False) -> Rewound:
    """Take a session back to a point; as it was it stays under another name.

    Args:
        journal: the record.
        session: its name.
        to: what is kept of it, as in ``fork_session``.
        files: also take back what the rest of it changed in files, as far as nobody else changed them since.

    Raises:
        ConfigurationError: there is no such point.
        JournalError: it is going on.
    """
    kept, dropped = _parted(journal, session, to)
    runs = journal.runs(session)
    name = next(name for number in count(1) if not journal.runs(name := f"{session}~{number}"))
    with journal.batch():
        for run_id in runs:
            journal.move(run_id, name)
        for records in kept:
            copy_run(journal, records, session)
    return Rewound(name, _undo(dropped) if files else None)


def files_of_rewind(journal: Journal, session: str, to: Point) -> Undone:
    """What ``rewind_session`` with files would do to them.

    Raises:
        ConfigurationError: there is no such point.
    """
    return _undo(_parted(journal, session, to)[1], dry=True)


def copy_run(journal: Journal, records: Iterable[Record], session: str | None) -> str:
    """Copy a run under a new id; the new id."""
    run_id = new_run_id()
    for record in records:
        if record.kind == "start":
            start = orjson.loads(record.data) | {"session": session, "forked_from": record.run_id}
            record = replace(record, time=time.time(), data=orjson.dumps(start))  # noqa: PLW2901 - the changed copy
        journal.append(replace(record, run_id=run_id))
    return run_id


def cut(records: Sequence[Record], replies: int) -> tuple[list[Record], list[Record]]:
    """The records of a run up to so many replies of the model and the results of their calls, and the rest.

    Raises:
        ConfigurationError: there were not so many.
    """
    turns = [index for index, record in enumerate(records) if record.kind == "model" and record.state == "started"]
    ends = {int(records[index].key.rpartition("/")[2]): index for index in reversed(turns)}
    if replies > len(ends):
        raise ConfigurationError(f"There are {len(ends)} replies, not {replies}", cure="Choose an earlier point")
    end = ends.get(replies, len(records))
    # What was said after the last reply that is kept, but for the prompt.
    inputs = [index for index, record in enumerate(records[:end]) if record.kind == "input"]
    last = ends[replies - 1] if replies else -1
    while inputs[1:] and inputs[-1] > last:
        end = inputs.pop()
    # A conversation that was made shorter for the next reply is whole again at this point.
    shortened = f"turn/{replies}/compaction/"
    # Steering that was read is an input; what was not is said after this point.
    left_out = ("finish", "steering")
    kept = [one for one in records[:end] if one.kind not in left_out and not one.key.startswith(shortened)]
    return kept, list(records[end:])


def _parted(journal: Journal, session: str, point: Point | None) -> tuple[list[list[Record]], list[Record]]:
    """The records of the runs that are kept, and all records that are not."""
    runs = [list(journal.records(run_id)) for run_id in journal.runs(session)]
    if not runs:
        raise ConfigurationError(f"There is no session {session!r}", cure="See them: qianda sessions list")
    prompts, replies = (len(runs), None) if point is None else parse_point(point)
    if prompts > len(runs):
        raise ConfigurationError(f"{session} has {len(runs)} prompts, not {prompts}", cure="Choose an earlier point")
    kept, rest = runs[:prompts], runs[prompts:]
    dropped = [record for records in rest for record in records]
    if replies is not None:
        kept[-1], after = cut(kept[-1], replies)
        dropped = after + dropped
    return kept, dropped


def session_steps(journal: Journal, session: str) -> list[tuple[str, int | None]]:
    """The steps of a session that may have changed files, as ``undo_steps`` takes them."""
    return _steps(record for run_id in journal.runs(session) for record in journal.records(run_id))


def _steps(records: Iterable[Record]) -> list[tuple[str, int | None]]:
    noted = (orjson.loads(record.data) for record in records if record.kind == "files")
    return [(files["run"], files["step"]) for files in noted]


def _undo(dropped: Sequence[Record], *, dry: bool = False) -> Undone:
    """Take back what the steps in these records changed."""
    return undo_steps(_steps(dropped), dry=dry)
