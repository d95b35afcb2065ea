"""Reads and writes text files whatever their encoding: UTF-8 first, then what the bytes look like."""

from __future__ import annotations

import codecs
import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qianda.models.errors import ToolError
from qianda.tools.secrets import has_placeholder
from qianda.tools.workspace import explained, held_folder, open_file, shown

LARGEST = 10_000_000  # bytes of a file that is read whole
_SAMPLE = 8_192  # bytes looked at to tell text from binary
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file's content.

    Args:
        text: as it is in the file, line ends included.
        encoding: Python's name of its encoding; written back in the same one.
    """

    text: str
    encoding: str


@dataclass(frozen=True, slots=True)
class Written:
    """What writing a file did.

    Args:
        created: there was no such file before.
        size: bytes written.
    """

    created: bool
    size: int


def read_text(workspace: Path, path: Path) -> TextFile:
    """Read a text file of the workspace.

    Args:
        workspace: the folder that the run works in.
        path: a resolved path.

    Raises:
        ToolError: there is none, it is a folder, binary, too large or may not be read.
    """
    name = shown(workspace, path)
    with explained(workspace, path, "read"):
        state = path.stat()
        if stat.S_ISDIR(state.st_mode):
            raise ToolError(f'"{name}" is a folder; use list_files to see what is in it')
        if not stat.S_ISREG(state.st_mode):
            raise ToolError(f'"{name}" is not a regular file but a device, pipe or socket; it cannot be read')
        if state.st_size > LARGEST:
            raise ToolError(
                f'"{name}" has {human_size(state.st_size)}, too much to read whole; use grep to find the lines you need'
            )
        with os.fdopen(open_file(workspace, path), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ToolError(f'"{name}" was replaced while it was opened; try again')
            content = file.read()
    encoding = find_encoding(content)
    if encoding is None:
        raise ToolError(f'"{name}" is a binary file ({human_size(len(content))}), not text; it cannot be read')
    return TextFile(content.decode(encoding), encoding)


def write_text(workspace: Path, path: Path, text: str, encoding: str = "utf-8") -> Written:
    """Write a file at once: whoever reads it sees the old content or the new, never a part. Makes its folders.

    Args:
        workspace: the folder that the run works in.
        path: a resolved path.
        text: written as it is, line ends included.
        encoding: Python's name of an encoding.

    Raises:
        ToolError: it is a folder, or may not be written.
    """
    name = shown(workspace, path)
    if has_placeholder(text):
        raise ToolError(
            f'"{name}" is not written: the text holds a placeholder for a secret that was kept out of your sight, '
            "and the secret would be lost; change other parts of the file with edit_file"
        )
    try:
        content = text.encode(encoding)
    except UnicodeEncodeError as error:
        raise ToolError(f'"{name}" cannot be written: {text[error.start]!r} does not exist in {encoding}') from None
    with explained(workspace, path, "write"):
        for folder in path.parents:
            if folder.exists() and not folder.is_dir():
                raise ToolError(f'"{name}" cannot be written: "{shown(workspace, folder)}" is a file, not a folder')
        if path.is_dir():
            raise ToolError(f'"{name}" is a folder; give the path of a file')
        if path.exists() and not path.is_file():
            raise ToolError(f'"{name}" is not a regular file but a device, pipe or socket; it cannot be written')
        mode = path.stat().st_mode if path.exists() else None
        # To replace a file that is write-protected would be possible, but its owner did not mean that.
        if mode is not None:
            os.close(open_file(workspace, path, os.O_WRONLY))
        with held_folder(workspace, path.parent, make=True) as folder:
            _replace(folder, path.name, content, mode)
    return Written(created=mode is None, size=len(content))


def _replace(folder: int, name: str, content: bytes, mode: int | None) -> None:
    """Write beside the file, then take its place: of a hard link's other names, nothing changes."""
    beside = f".qianda-{secrets.token_hex(8)}"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if mode is not None:
                os.fchmod(descriptor, stat.S_IMODE(mode))
        os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside, dir_fd=folder)
        raise


def human_size(size: int) -> str:
    """A number of bytes for people: ``3 B``, ``1.2 kB``, ``34 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def count_lines(text: str) -> int:
    """How many lines a text has, the last one with or without a line end."""
    return text.count("\n") + (not text.endswith("\n") if text else 0)


def find_encoding(content: bytes) -> str | None:
    """The encoding of a text's bytes, or ``None`` when they are no text."""
    for mark, name in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return name if _decodes(content, name) else None
    if b"\0" in content[:_SAMPLE]:
        return None
    if _decodes(content, "utf-8"):
        return "utf-8"
    control = len(re.findall(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]", content[:_SAMPLE]))
    if control > len(content[:_SAMPLE]) // 50:
        return None
    # In Chinese text the bytes above ASCII come in pairs; in Western text they stand alone between letters.
    high = len(re.findall(rb"[\x80-\xff]", content))
    paired = 2 * len(re.findall(rb"[\x81-\xfe][\x80-\xfe]", content))
    if paired > high * 0.8 and _decodes(content, "gb18030"):
        return "gb18030"
    return "cp1252" if _decodes(content, "cp1252") else "latin-1"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
