"""The built-in tool ``move_file``: moves and renames, and moves what is not wanted any more to a trash of our own."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from qianda.models.config import data_dir
from qianda.models.errors import ToolError
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.function_tool import tool
from qianda.tools.workspace import explained, missing, resolve, shown

KEPT_DAYS = 30
_MOST_FILES = 2_000
_LARGEST_KEPT = 50_000_000  # bytes; undo holds a file's content in memory


@tool(
    parallel=False,
    consent=False,
    origin="built-in",
    effects=lambda given: _effects(given["path"], given.get("to", "").strip()),
)
def move_file(path: str, context: Context, to: str = "") -> str:
    """Move or rename a file; without `to` it goes to the trash.

    Args:
        path: file or folder
        context: says where the workspace is
        to: new path
    """
    place = _place(context.workspace, path)
    name = shown(context.workspace, place)
    if not os.path.lexists(place):
        raise missing(context.workspace, place)
    target = _target(context.workspace, place, to) if to.strip() else None
    with explained(context.workspace, place, "move"):
        large = _keep(context, place, target)
        if target is None:
            target = _trash() / place.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(place, target)
    if to.strip():
        return f"Moved {name} to {shown(context.workspace, target)}"
    return f"Moved {name} to the trash ({f'too large for undo: it is {target}' if large else 'undo brings it back'})"


def _effects(path: str, to: str) -> Effects:
    """What is moved can be read under its new name; where that is a folder, it lies in it."""
    return Effects(reads=(path,), writes=(path, to, f"{to}/{Path(path).name}") if to else (path,))


def _place(workspace: Path, path: str) -> Path:
    """What a path names: a link itself, not what it leads to."""
    root = resolve(workspace, ".")
    place = Path(os.path.normpath(root / path.strip()))
    if place != root:
        return resolve(workspace, str(place.parent)) / place.name
    raise ToolError("the workspace itself cannot be moved")


def _target(workspace: Path, place: Path, to: str) -> Path:
    target = resolve(workspace, to)
    if target.is_dir() or to.strip().endswith("/"):
        target /= place.name
    name = shown(workspace, target)
    if os.path.lexists(target):
        raise ToolError(f'"{name}" exists already; choose another path, or move that one to the trash first')
    if place in target.parents:
        raise ToolError(f'"{name}" is inside of what is to be moved')
    return target


def _keep(context: Context, place: Path, target: Path | None) -> bool:
    """Tell undo of every file that goes, and of those that come; whether some are too large for it."""
    files = list(islice(_files(place), _MOST_FILES + 1))
    if len(files) > _MOST_FILES:
        raise ToolError(
            f'"{shown(context.workspace, place)}" holds more than {_MOST_FILES:,} files, too many to undo; '
            "use run_command to move or delete it"
        )
    large = False
    for file in files:
        state = file.lstat()
        if stat.S_ISREG(state.st_mode) and state.st_size > _LARGEST_KEPT:
            large = True
            continue
        context.changing(file)
        if target is not None:
            context.changing(target / file.relative_to(place) if file != place else target)
    return large


def _files(place: Path) -> Iterator[Path]:
    if place.is_symlink() or not place.is_dir():
        yield place
        return
    for entry in place.iterdir():
        yield from _files(entry)


def _trash() -> Path:
    """A new folder in the trash, which forgets what is old."""
    trash = data_dir() / "trash"
    folder = trash / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True, mode=0o700)
    for old in trash.iterdir():
        with suppress(OSError):
            if old.stat().st_mtime < time.time() - KEPT_DAYS * 86_400:
                shutil.rmtree(old, ignore_errors=True)
    return folder
