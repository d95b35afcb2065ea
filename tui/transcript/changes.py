"""What calls change in files, as differences: before they run from their arguments, afterwards from what undo keeps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qianda.tui.transcript.diff import Diff, DiffLine, compare
from qianda.tui.words import t

MOST_FILES = 20
"""Files of one call whose differences are made; a command may change thousands."""
_LARGEST = 2_000_000  # bytes
_PATH = ("path", "file_path")
_OLD = ("old_text", "old_string", "old_str", "oldText")
_NEW = ("new_text", "new_string", "new_str", "newText")
_CONTENT = ("content", "file_text", "contents")


def _argument(arguments: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((value for name in names if isinstance(value := arguments.get(name), str)), None)


def told_by_difference(arguments: Mapping[str, Any]) -> list[str]:
    """The names of the arguments that the difference of a call shows, as ``argued`` reads them."""
    replaces = None not in (_argument(arguments, _OLD), _argument(arguments, _NEW))
    groups = (_PATH, _OLD, _NEW) if replaces else (_PATH, _CONTENT)
    found = (next((name for name in names if isinstance(arguments.get(name), str)), "") for names in groups)
    return [name for name in found if name]


def argued(arguments: Mapping[str, Any]) -> Diff | None:
    """What the arguments alone say: the piece that is replaced, without line numbers, or the whole of a new file.

    Args:
        arguments: of any tool; those of tools that change files are known by their names.
    """
    path = _argument(arguments, _PATH)
    old, new = _argument(arguments, _OLD), _argument(arguments, _NEW)
    if path is None:
        return None
    if old is not None and new is not None:
        piece = compare(old, new, path)
        hunks = tuple(tuple(DiffLine(line.kind, line.text, 0, 0) for line in hunk) for hunk in piece.hunks)
        return Diff(path, hunks)
    content = _argument(arguments, _CONTENT)
    return None if content is None else compare(None, content, path)


def proposed(workspace: Path, arguments: Mapping[str, Any]) -> Diff | None:
    """What a call would change in the file as it is now; reads the file, so not for the event loop's thread.

    Args:
        workspace: the folder that the run works in.
        arguments: of any tool, as for ``argued``.

    Returns:
        The difference, or None for a call that is not known to change a file.
    """
    from qianda.models.errors import ToolError
    from qianda.tools.builtin.text_files import read_text
    from qianda.tools.workspace import resolve

    found = argued(arguments)
    if found is None:
        return None
    try:
        before = read_text(workspace, resolve(workspace, found.path)).text
    except ToolError:
        return found  # there is none, or the call will fail
    old, new = _argument(arguments, _OLD), _argument(arguments, _NEW)
    if old is None or new is None:
        return compare(before, _argument(arguments, _CONTENT), found.path)
    if "\r\n" in before and "\r\n" not in old:  # as edit_file reads it
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    if not old or old not in before:
        return found
    after = before.replace(old, new, -1 if arguments.get("replace_all") else 1)
    return compare(before, after, found.path)


def made(run_id: str, step: int) -> tuple[Diff, ...]:
    """What a call that has run changed, a file each; reads the disk, so not for the event loop's thread.

    Args:
        run_id: the run.
        step: the call's step of undo, as ``CallFinished`` gives it.
    """
    from qianda.tools.undo import by_path
    from qianda.tools.undo_store import UndoError, UndoStore

    store = UndoStore()
    try:
        files = by_path([changed for changed in store.changes(run_id) if changed.step == step])
        diffs: list[Diff] = []
        for path, changes in files.items():
            before, after = changes[0].before, changes[-1].after or ""
            if len(diffs) == MOST_FILES:
                diffs.append(Diff("", (), note=t("and {count} more files", count=len(files) - MOST_FILES)))
                break
            old, new = (store.content(state) if state else None for state in (before, after))
            diffs.append(_difference(path, old, new))
    except UndoError:
        return ()
    return tuple(diffs)


def _difference(path: str, old: bytes | None, new: bytes | None) -> Diff:
    from qianda.tools.builtin.text_files import find_encoding

    kind = "created" if old is None else "deleted" if new is None else "changed"
    if max(len(old or b""), len(new or b"")) > _LARGEST:
        return Diff(path, (), kind, t("too large to compare"))
    texts: list[str | None] = []
    for content in (old, new):
        encoding = "utf-8" if content is None else find_encoding(content)
        if encoding is None:
            return Diff(path, (), kind, t("not text"))
        texts.append(None if content is None else content.decode(encoding))
    return compare(texts[0], texts[1], path)
