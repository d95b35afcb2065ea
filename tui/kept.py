"""What the person chose for the screen, kept from one start of the chat to the next."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, cast


def _file() -> Path:
    from qianda.models.config import data_dir

    return data_dir() / "chat.json"


def kept() -> dict[str, Any]:
    """What was chosen, by name; nothing when the file is not there or cannot be read."""
    try:
        value: Any = json.loads(_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def keep(**chosen: str | bool) -> None:
    """Keep some choices beside the others; a disk that cannot be written costs only the memory."""
    file = _file()
    text = json.dumps({**kept(), **chosen}, ensure_ascii=False)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
