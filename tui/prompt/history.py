"""What was sent before: a file of the user's, a line of JSON per prompt, the newest last."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from qianda.tui.prompt.draft import Attached, Draft

MOST_ENTRIES = 1_000
MOST_BYTES = 4_000_000
"""From this size on the file is cut to its newest entries."""
LONGEST_ENTRY = 100_000
"""Characters of an entry that is kept whole; of a longer one its pasted texts are left out."""


class History:
    """The prompts of one user.

    Args:
        workspace: whose prompts come first.
        record: says whether new ones are kept on disk.
    """

    def __init__(self, workspace: Path, *, record: Callable[[], bool]) -> None:
        self.workspace = workspace
        self._folder = str(workspace)
        self._record = record
        self._entries: list[Draft] | None = None

    @property
    def entries(self) -> list[Draft]:
        """All of them, the best last: those of other folders, then those of this one."""
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def add(self, draft: Draft) -> None:
        """Something was sent."""
        if self.entries[-1:] == [draft]:
            return
        self.entries.append(draft)
        if self._record():
            self._write(draft)

    def _read(self) -> list[Draft]:
        try:
            lines = _path().read_text("utf-8", "replace").splitlines()
        except OSError:
            return []
        others: dict[str, Draft] = {}
        here: dict[str, Draft] = {}
        for line in lines[-MOST_ENTRIES:]:
            folder, draft = _entry(line)
            if draft is not None:
                found = here if folder == self._folder else others
                found.pop(draft.text, None)  # the newest place of what was sent twice
                found[draft.text] = draft
        return [draft for text, draft in others.items() if text not in here] + list(here.values())

    def _write(self, draft: Draft) -> None:
        line = _line(self._folder, draft)
        try:
            path = _path()
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_size > MOST_BYTES:
                    file.seek(0)
                    kept = _newest(file.read().splitlines(keepends=True))
                    file.truncate(0)
                    file.write(b"".join(kept))
                file.write(line)
        except OSError:
            return  # a full disk is no reason not to send


def _path() -> Path:
    from qianda.models.config import data_dir

    return data_dir() / "prompts.jsonl"


def _newest(lines: list[bytes]) -> list[bytes]:
    """The newest entries, half of what the file may hold."""
    kept, size = list[bytes](), 0
    for line in reversed(lines[-MOST_ENTRIES:]):
        size += len(line)
        if size > MOST_BYTES // 2:
            break
        kept.append(line)
    return kept[::-1]


def _line(folder: str, draft: Draft) -> bytes:
    attached = {label: value if isinstance(value, str) else {"file": str(value)} for label, value in _kept(draft)}
    entry = {"folder": folder, "text": draft.text[:LONGEST_ENTRY], "attached": attached}
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _kept(draft: Draft) -> list[tuple[str, Attached]]:
    fits = sum(len(value) for value in draft.attached.values() if isinstance(value, str)) <= LONGEST_ENTRY
    return [(label, value) for label, value in draft.attached.items() if fits or isinstance(value, Path)]


def _entry(line: str) -> tuple[str, Draft | None]:
    try:
        value: Any = json.loads(line)
        text: object = value["text"]
        attached = cast("Mapping[str, Any]", value.get("attached") or {})
        if not isinstance(text, str):
            return "", None
        found = {label: given if isinstance(given, str) else Path(given["file"]) for label, given in attached.items()}
        return str(value.get("folder")), Draft(text, found)
    except (ValueError, KeyError, TypeError, AttributeError):  # another version's, or a line that was cut
        return "", None
