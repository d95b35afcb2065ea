"""Takes back what a run changed, wholly or step by step, without touching what others changed since."""

from __future__ import annotations

import difflib
import os
import secrets
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qianda.tools.undo_store import Changed, UndoError, UndoStore
from qianda.tools.workspace import is_inside

_LARGEST_DIFFED = 1_000_000  # bytes


@dataclass(frozen=True, slots=True)
class Change:
    """A file that a run changed.

    Args:
        path: relative to the workspace.
        kind: ``created``, ``changed`` or ``deleted``.
        diff: a unified diff, or "" for what is not text.
    """

    path: str
    kind: str
    diff: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A file that was left as it is.

    Args:
        path: relative to the workspace.
        reason: why, in one sentence.
        diff: from what the run left to what is there now.
    """

    path: str
    reason: str
    diff: str


@dataclass(frozen=True, slots=True)
class Undone:
    """What taking back did.

    Args:
        restored: the changes that were made for it, a file each.
        conflicts: what was left as it is.
    """

    restored: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]


def list_changes(run_id: str) -> list[Change]:
    """What a run changed, a file each, from before its first step to after its last."""
    return changes_of_steps([(run_id, None)])


def changes_of_steps(steps: Iterable[tuple[str, int | None]]) -> list[Change]:
    """What steps of several runs changed, a file each, from before the first of them to after the last.

    Args:
        steps: run and number of each step; None in the place of a number for all of the run.
    """
    store = UndoStore()
    files = by_path(_changes(store, steps))
    return [
        _change(store, path, changes[0].before, changes[-1].after or "")
        for path, changes in files.items()
        if changes[0].before != changes[-1].after
    ]


def undo(run_id: str, step: int | None = None, *, dry: bool = False, store: UndoStore | None = None) -> Undone:
    """Take back a run, or one step of it.

    Args:
        run_id: the run.
        step: its number, from 1; None for all.
        dry: only say what would be done.
        store: where changes are kept; the user's own by default.

    Raises:
        UndoError: nothing is kept of it, or the step does not exist.
    """
    store = store or UndoStore()
    workspace = store.workspace(run_id)
    changes = [changed for changed in store.changes(run_id) if step in (None, changed.step)]
    if not changes:
        what = f"Step {step} of run {run_id}" if step else f"Run {run_id}"
        raise UndoError(f"{what} changed nothing that is left to undo", cure="See the steps: qianda undo RUN --list")
    return _take_back(store, workspace, changes, dry=dry)


def undo_steps(
    steps: Iterable[tuple[str, int | None]], *, paths: Collection[str] | None = None, dry: bool = False
) -> Undone:
    """Take back steps of several runs in one folder; a file goes back to what it was before all of them, or stays.

    Args:
        steps: run and number of each step; None in the place of a number for all of the run.
        paths: only these files; all by default.
        dry: only say what would be done.
    """
    store, steps = UndoStore(), list(steps)
    changes = [changed for changed in _changes(store, steps) if paths is None or changed.path in paths]
    if not changes:
        return Undone((), ())
    workspace = next(store.workspace(run_id) for run_id, _ in steps if store.changes(run_id))
    return _take_back(store, workspace, changes, dry=dry)


def _changes(store: UndoStore, steps: Iterable[tuple[str, int | None]]) -> list[Changed]:
    """What the steps changed, in the order in which they did."""
    wanted: dict[str, set[int | None]] = {}
    for run_id, step in steps:
        wanted.setdefault(run_id, set()).add(step)
    found = [
        changed
        for run_id, numbers in wanted.items()
        for changed in store.changes(run_id)
        if None in numbers or changed.step in numbers
    ]
    return sorted(found, key=lambda changed: changed.number)


def _take_back(store: UndoStore, workspace: Path, changes: Sequence[Changed], *, dry: bool) -> Undone:
    restored: list[Change] = []
    conflicts: list[Conflict] = []
    for path, of_file in by_path(changes).items():
        try:
            now, wanted = _wanted(store, workspace, path, of_file)
        except _Conflict as conflict:
            conflicts.append(Conflict(path, str(conflict), conflict.diff))
            continue
        if now != wanted:
            restored.append(Change(path, _kind(now, wanted), _diff(path, now.data, wanted.data)))
        if not dry:
            if now != wanted:
                _restore(workspace, path, wanted, of_file[0].folder)
            store.mark_undone(of_file)
    return Undone(tuple(restored), tuple(conflicts))


def by_path(changes: Sequence[Changed]) -> dict[str, list[Changed]]:
    """The changes of each file, in their order."""
    files: dict[str, list[Changed]] = {}
    for changed in changes:
        files.setdefault(changed.path, []).append(changed)
    return files


@dataclass(frozen=True, slots=True)
class _State:
    """A file's mode and content; mode 0 when there is none."""

    mode: int
    data: bytes


class _Conflict(Exception):
    def __init__(self, reason: str, diff: str = "") -> None:
        super().__init__(reason)
        self.diff = diff


def _wanted(store: UndoStore, workspace: Path, path: str, changes: Sequence[Changed]) -> tuple[_State, _State]:
    """What the file is and what it should become, its changes taken back from the last to the first."""
    now = state = _current(workspace, path)
    for changed in reversed(changes):
        before = _kept(store, changed.before)
        if state == before:
            continue
        if changed.after is None:
            raise _Conflict(
                "the step was interrupted, so it is not known who changed it", _diff(path, before.data, now.data)
            )
        after = _kept(store, changed.after)
        if state == after:
            state = before
        elif state.mode and after.mode and before.mode:
            state = _State(state.mode, _merged(path, state.data, after.data, before.data))
        else:
            raise _Conflict(
                "it was changed since" if state.mode else "it was deleted since", _diff(path, after.data, now.data)
            )
    return now, state


def _merged(path: str, now: bytes, after: bytes, before: bytes) -> bytes:
    """The content of now without the step from before to after: what others changed elsewhere in the file stays."""
    conflict = _Conflict("the same lines were changed since", _diff(path, after, now))
    if shutil.which("git") is None or b"\0" in now + after + before:
        raise conflict
    with tempfile.TemporaryDirectory(prefix="qianda-") as folder:
        names = ("now", "after", "before")
        for name, data in zip(names, (now, after, before), strict=True):
            Path(folder, name).write_bytes(data)
        command = ["git", "merge-file", "-p", "--quiet", *names]
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)  # noqa: S603 - ours
    if done.returncode != 0:
        raise conflict
    return done.stdout


def _current(workspace: Path, path: str) -> _State:
    place = workspace / path
    if not is_inside(workspace, place.parent):
        raise _Conflict("its folder now leads out of the workspace")
    try:
        mode = place.lstat().st_mode
        if stat.S_ISLNK(mode):
            return _State(mode, os.fsencode(place.readlink()))
        if not stat.S_ISREG(mode):
            raise _Conflict("it is not a file any more")
        return _State(mode, place.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return _State(0, b"")
    except OSError as error:
        raise _Conflict(f"it cannot be read: {error.strerror}") from None


def _kept(store: UndoStore, state: str) -> _State:
    try:
        return _State(int(state.partition(" ")[0], 8) if state else 0, store.content(state))
    except UndoError as error:
        raise _Conflict(str(error)) from None


def _restore(workspace: Path, path: str, wanted: _State, folder: str) -> None:
    """Put a file into a state, at once: whoever reads it sees the one or the other."""
    place = workspace / path
    if not wanted.mode:
        place.unlink()
        stays = workspace / folder
        for parent in place.parents:  # folders that the run made for it, when they are empty
            if parent == stays or stays not in parent.parents:
                break
            with suppress(OSError):
                parent.rmdir()
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".qianda-{secrets.token_hex(8)}")
    if stat.S_ISLNK(wanted.mode):
        beside.symlink_to(os.fsdecode(wanted.data))
    else:
        with beside.open("xb") as file:
            file.write(wanted.data)
        beside.chmod(stat.S_IMODE(wanted.mode))
    beside.replace(place)


def _change(store: UndoStore, path: str, before: str, after: str) -> Change:
    try:
        old, new = _kept(store, before), _kept(store, after)
    except _Conflict:
        old, new = _State(bool(before), b""), _State(bool(after), b"")
    return Change(path, _kind(old, new), _diff(path, old.data, new.data))


def _kind(before: _State, after: _State) -> str:
    return "created" if not before.mode else "changed" if after.mode else "deleted"


def _diff(path: str, before: bytes, after: bytes) -> str:
    """A unified diff of two texts; "" for what is not text, or too long."""
    if len(before) + len(after) > _LARGEST_DIFFED or b"\0" in before + after:
        return ""
    old, new = (data.decode("utf-8", "replace").splitlines() for data in (before, after))
    return "\n".join(_lines(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="")))


def _lines(diff: Iterator[str]) -> Iterator[str]:
    """The lines of a diff without characters that steer a terminal."""
    return ("".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in line) for line in diff)
