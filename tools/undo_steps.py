"""Notes, around each call of a tool, what it changes: named files before they are touched, all around a command."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from qianda.models.config import data_dir
from qianda.models.errors import ToolError
from qianda.tools.undo_store import Changed, UndoError, UndoStore
from qianda.tools.workspace import is_inside

MOST_FILES = 20_000
LARGEST_FILE = 5_000_000  # bytes
LARGEST_WORKSPACE = 200_000_000  # bytes
# Made by programs and made again by them, or with a history of their own.
_LEFT_OUT = frozenset(
    (".git", ".hg", ".svn", "node_modules", ".venv", "venv", "__pycache__", ".tox", ".nox", ".mypy_cache",
     ".pytest_cache", ".ruff_cache", ".hypothesis", ".gradle", "target", ".next", ".cache")
)  # fmt: skip


class Steps:
    """The steps of one run.

    Args:
        run_id: the run.
        workspace: the folder that it works in.
        notice: told, once, what cannot be undone.
        store: where changes are kept.
    """

    def __init__(
        self, run_id: str, workspace: Path, notice: Callable[[str], None], store: UndoStore | None = None
    ) -> None:
        self.run_id = run_id
        self._folder = workspace
        self._store = store
        self._notice = notice
        self.count = 0
        self._said: set[str] = set()
        self._begun = False
        self._lock = threading.Lock()

    # Found out at the first change: most runs make none.

    @cached_property
    def workspace(self) -> Path:
        """The folder's real path."""
        return Path(os.path.realpath(self._folder))

    @cached_property
    def store(self) -> UndoStore:
        """Where changes are kept."""
        return self._store or UndoStore()

    def begin(self, tool: str, *, scanned: bool) -> Step:
        """Before a call; reads the workspace when a command may change any file of it.

        Args:
            tool: its name.
            scanned: whether it runs commands.
        """
        with self._lock:
            self.count += 1
            step = Step(self, tool, self.count)
        if scanned:
            step.scan()
        return step

    def opened(self) -> UndoStore:
        """The store, with this run in it."""
        with self._lock:
            if not self._begun:
                self.store.begin(self.run_id, self.workspace)
                self._begun = True
        return self.store

    def say(self, text: str) -> None:
        """Tell the person, the same thing once."""
        if text not in self._said:
            self._said.add(text)
            self._notice(text)


class Step:
    """One call."""

    def __init__(self, steps: Steps, tool: str, number: int) -> None:
        self._steps = steps
        self._tool = tool
        self.number = number
        self._named: dict[str, tuple[int, str]] = {}
        self._before: dict[str, str] | None = None
        self._folders: set[str] = set()
        self._whole = True

    def changing(self, path: Path) -> None:
        """Keep a file before it is touched; ``Context.changing``."""
        place = Path(os.path.realpath(path.parent)) / path.name
        if not is_inside(self._steps.workspace, place.parent) or place == self._steps.workspace:
            return
        name = place.relative_to(self._steps.workspace).as_posix()
        if name in self._named or self._before is not None:
            return
        if not _storable(name):
            raise ToolError(f"{name!a} is not changed, as that could not be undone: its name is no UTF-8")
        try:
            store = self._steps.opened()
            with store.used() as db:
                state = _state(store, db, place)
                changed = Changed(0, self.number, self._tool, name, self._folder_of(place), state, None)
                self._named[name] = store.add(db, self._steps.run_id, changed), state
        except (UndoError, OSError) as error:
            raise ToolError(f'"{name}" is not changed, as that could not be undone: {error}') from None

    def scan(self) -> None:
        """Keep every file of the workspace before a command runs, as far as the bounds go."""
        try:
            self._before = self._states()
        except UndoError as error:
            self._steps.say(f"What commands change cannot be undone: {error}")

    def end(self) -> None:
        """After the call: keep what it made of the files."""
        try:
            if self._before is not None:
                self._compare(self._before)
            elif self._named:
                store = self._steps.store
                with store.used() as db:
                    for name, (number, before) in self._named.items():
                        after = _state(store, db, self._steps.workspace / name)
                        if after == before:
                            db.execute("DELETE FROM change WHERE id = ?", (number,))
                        else:
                            db.execute("UPDATE change SET after = ? WHERE id = ?", (after, number))
        except (UndoError, OSError) as error:
            self._steps.say(f"Some changes cannot be undone: {error}")

    def _compare(self, before: dict[str, str]) -> None:
        folders = self._folders
        covered = self._whole
        after = self._states()
        if not covered:  # what was not seen before is not known to be new
            after = {name: state for name, state in after.items() if name in before}
        store = self._steps.store
        names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        with store.used() as db:
            for name in names:
                old, new = before.get(name, ""), after.get(name, "")
                if not new and not self._whole and os.path.lexists(self._steps.workspace / name):
                    continue
                if "?" in old + new:
                    self._steps.say(f"{name} is too large to be undone")
                    continue
                parent = Path(name).parent
                while parent.as_posix() not in folders and parent != Path():
                    parent = parent.parent
                store.add(
                    db,
                    self._steps.run_id,
                    Changed(0, self.number, self._tool, name, parent.as_posix(), old, new),
                )

    def _states(self) -> dict[str, str]:
        """The state of every file; ``?`` for one whose content is not kept."""
        root = self._steps.workspace
        found: dict[str, str] = {}
        size = 0
        self._folders, self._whole = {"."}, True
        store = self._steps.opened()
        with store.used() as db:
            for place, state in _files(root, self._folders):
                name = place.relative_to(root).as_posix()
                if not _storable(name):
                    self._steps.say(f"{name!a} is not covered by undo: its name is no UTF-8")
                    continue
                size += state.st_size
                if len(found) >= MOST_FILES or size > LARGEST_WORKSPACE:
                    self._whole = False
                    self._steps.say(
                        f"This folder holds too much to undo all that commands change: only its first {len(found):,} "
                        "files are covered"
                    )
                    break
                if state.st_size > LARGEST_FILE:
                    found[name] = f"?{state.st_size} {state.st_mtime_ns}"
                    continue
                try:
                    found[name] = store.keep(db, place, state)
                except OSError:  # gone meanwhile, or not to be read
                    continue
        return found

    def _folder_of(self, place: Path) -> str:
        folder = place.parent
        while not folder.is_dir():
            folder = folder.parent
        return folder.relative_to(self._steps.workspace).as_posix()


def _state(store: UndoStore, db: object, place: Path) -> str:
    """A file's state, its content kept; "" when there is none."""
    import sqlite3

    assert isinstance(db, sqlite3.Connection)
    try:
        state = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if not stat.S_ISREG(state.st_mode) and not stat.S_ISLNK(state.st_mode):
        return ""
    return store.keep(db, place, state)


def _storable(name: str) -> bool:
    """Whether a name is text; to the system it is any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _files(root: Path, folders: set[str]) -> Iterator[tuple[Path, os.stat_result]]:
    """Files and links below a folder, those at the top first; adds the folders that it comes by."""
    waiting = [root]
    ours = os.path.realpath(data_dir())  # where this is kept too
    for folder in waiting:  # grows meanwhile
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in _LEFT_OUT and entry.path != ours:
                        waiting.append(Path(entry.path))
                        folders.add(Path(entry.path).relative_to(root).as_posix())
                elif entry.is_file(follow_symlinks=False) or entry.is_symlink():
                    yield Path(entry.path), entry.stat(follow_symlinks=False)
            except OSError:
                continue
