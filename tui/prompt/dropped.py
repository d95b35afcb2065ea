"""Files whose paths a terminal pastes when they are dropped on it."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff"})


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image."""
    return path.suffix.lower() in IMAGES


def dropped_files(text: str) -> list[Path]:
    r"""The images of a pasted text that is nothing but paths of images that exist; else none.

    Terminals write a space in a path as ``\ ``, put the path in quotes, or paste a ``file:`` address; other files than
    images stay text: who pastes their path may want the path.

    Args:
        text: what was pasted.
    """
    if not any(ending in text.lower() for ending in IMAGES):
        return []
    whole = Path(text.strip()).expanduser()  # a name with spaces, as it is
    try:
        words = [str(whole)] if whole.is_file() else shlex.split(text)
        files = [_path(word) for word in words]
        return files if all(is_image(file) and file.is_absolute() and file.is_file() for file in files) else []
    except (ValueError, OSError):
        return []


def _path(word: str) -> Path:
    address = urlsplit(word) if word.startswith("file:") else None
    return Path(word if address is None else unquote(address.path)).expanduser()
