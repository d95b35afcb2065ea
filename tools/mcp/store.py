"""Small private JSON files in the data folder: decisions about MCP servers, logins at them."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from typing import Any, cast

from qianda.models.config import data_dir
from qianda.models.errors import ConfigurationError
from qianda.models.whole_file import write_whole


def read_store(name: str) -> dict[str, Any]:
    """What a file of the data folder holds; a file that is missing or broken holds nothing."""
    try:
        value: object = json.loads((data_dir() / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def change_store(name: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change such a file in one step, alone among processes; readable by its owner only.

    Args:
        name: the file's.
        change: changes the value that it is given.

    Raises:
        ConfigurationError: it cannot be written.
    """
    path = data_dir() / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            value = read_store(name)
            change(value)
            write_whole(path, json.dumps(value, indent=1, ensure_ascii=False))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from error
