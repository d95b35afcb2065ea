"""Keeps file tools inside the workspace, and says clearly what is wrong with a path."""

from __future__ import annotations

import difflib
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

from qianda.models.errors import ToolError

# A folder that may be passed through need not be readable.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_ENTRIES = 2_000  # looked at for a file name that is close to a missing one


def resolve(workspace: Path, path: str) -> Path:
    """The real path of a file or folder inside the workspace; it need not exist.

    Args:
        workspace: the folder that the run works in.
        path: as the model wrote it: relative to the workspace, or absolute inside it.

    Raises:
        ToolError: the path leads outside, also through ``..`` or symbolic links, or is not a path.
    """
    root = Path(os.path.realpath(workspace))
    if "\0" in path:
        raise ToolError("a path cannot hold a null character")
    written = Path(path.strip() or ".")  # names with spaces at their ends are rarer than models that add them
    if written.parts[:1] == ("~",):
        written = written.expanduser()
    try:
        real = Path(os.path.realpath(root / written))
    except OSError as error:  # a link that is gone while it is followed
        raise ToolError(f'"{path}" changes just now ({error.strerror}); try again') from error
    if real != root and root not in real.parents:
        raise ToolError(
            f'"{path}" is outside the workspace {root}; only files inside it can be used, '
            'by paths relative to it such as "notes.txt" or "."'
        )
    return real


@contextmanager
def held_folder(workspace: Path, folder: Path, *, make: bool = False) -> Generator[int]:
    """A descriptor of a folder in the workspace, reached without following links.

    What is opened relative to it is in that folder, whatever is put in the way since ``resolve`` looked.

    Args:
        workspace: the folder that the run works in.
        folder: a resolved path.
        make: make folders that are not there.

    Raises:
        OSError: it is not there, not a folder, or a link now.
    """
    root = Path(os.path.realpath(workspace))
    descriptor = os.open(root, _FOLDER)
    try:
        for name in folder.relative_to(root).parts:
            outer = descriptor
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=outer)
            descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=outer)
            os.close(outer)
        yield descriptor
    finally:
        os.close(descriptor)


def open_file(workspace: Path, path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file of the workspace without following links; the caller closes the descriptor.

    Args:
        workspace: the folder that the run works in.
        path: a resolved path.
        flags: as for ``os.open``; it never waits, also for a pipe.

    Raises:
        OSError: it cannot be opened, or is a link now.
    """
    with held_folder(workspace, path.parent) as folder:
        return os.open(path.name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)


def is_inside(workspace: Path, path: Path) -> bool:
    """Whether a path, with its links followed, is the workspace or in it; one that changes just now is not."""
    root = Path(os.path.realpath(workspace))
    try:
        real = Path(os.path.realpath(path))
    except OSError:
        return False
    return real == root or root in real.parents


def shown(workspace: Path, path: Path) -> str:
    """A resolved path as the model should write it: relative to the workspace."""
    return path.relative_to(os.path.realpath(workspace)).as_posix()


def missing(workspace: Path, path: Path) -> ToolError:
    """The error for a file or folder that does not exist, with close names that do."""
    name = shown(workspace, path)
    close = _close_names(workspace, path)
    if close:
        return ToolError(f'"{name}" does not exist; did you mean {" or ".join(close)}?')
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return ToolError(f'"{name}" does not exist; list_files "{shown(workspace, folder)}" shows what is there')


@contextmanager
def explained(workspace: Path, path: Path, doing: str) -> Generator[None]:
    """Turn the operating system's errors about a path into a sentence.

    Args:
        workspace: the folder that the run works in.
        path: a resolved path.
        doing: what is tried: ``read``, ``write``, ``list`` …

    Raises:
        ToolError: instead of any ``OSError``.
    """
    try:
        yield
    except FileNotFoundError:
        raise missing(workspace, path) from None
    except PermissionError:
        raise ToolError(f'no permission to {doing} "{shown(workspace, path)}"') from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ToolError(f'cannot {doing} "{shown(workspace, path)}": {reason}') from None


def _close_names(workspace: Path, path: Path) -> list[str]:
    """Up to three existing paths whose name is close to a missing one: in its folder first, else anywhere."""
    root = Path(os.path.realpath(workspace))
    try:
        beside = [entry.name for entry in islice(path.parent.iterdir(), _MOST_ENTRIES)]
    except OSError:
        beside = []
    by_case = {name.casefold(): name for name in beside}
    close = difflib.get_close_matches(path.name.casefold(), by_case, n=3, cutoff=0.6)
    found = [path.parent / by_case[name] for name in close]
    if not found:
        found = [entry for entry in islice(_walk(root), _MOST_ENTRIES) if entry.name == path.name][:3]
    return [f'"{entry.relative_to(root).as_posix()}"' for entry in found]


def _walk(root: Path) -> Iterator[Path]:
    """Files below a folder, hidden folders left out."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            yield Path(folder, name)
