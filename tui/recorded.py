"""The user's record, for screens: opened for as long as one is, and how its places and times are said."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.agents.journal_sqlite import SQLiteJournal

AGES = ((86400, "{n} d"), (3600, "{n} h"), (60, "{n} min"))
"""Units of an age: seconds, and how it is said."""


def open_record() -> SQLiteJournal:
    """The record, by a connection of its own: a long search must not hold up the run that writes to it.

    Raises:
        JournalError: it cannot be opened.
    """
    from qianda.agents.journal_sqlite import SQLiteJournal
    from qianda.models.config import data_dir

    return SQLiteJournal(data_dir() / "journal.db")


def age(then: float) -> str:
    """How long ago that was, in few characters; the date when it is long."""
    seconds = max(time.time() - then, 0.0)
    if seconds >= 30 * 86400:
        return time.strftime("%Y-%m-%d", time.localtime(then))
    for size, text in AGES:
        if seconds >= size:
            return t(text, n=int(seconds // size))
    return t("now")


def short_folder(path: str) -> str:
    """A folder as people write it."""
    home = str(Path.home())
    return f"~{path.removeprefix(home)}" if path == home or path.startswith(f"{home}/") else path


def free_file(folder: Path, name: str, ending: str) -> Path:
    """A file that is not there yet, named after something."""
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "session"
    names = (folder / f"{stem}{f'-{number}' if number else ''}{ending}" for number in range(10_000))
    return next(path for path in names if not path.exists())
