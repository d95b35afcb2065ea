"""The prompt in the editor that the person has set."""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qianda.tui.words import t

if TYPE_CHECKING:
    from textual.app import App


async def edit_outside(app: App[Any], text: str) -> str | None:
    """Give the terminal to ``$VISUAL`` or ``$EDITOR`` until it ends; runs go on meanwhile.

    Args:
        app: stands back.
        text: what is edited.

    Returns:
        The text as it was saved; None when no editor is set.

    Raises:
        OSError: the editor cannot be started.
        ValueError: it failed, or its setting cannot be read; nothing is changed.
    """
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command or not command.strip():
        return None
    with tempfile.TemporaryDirectory(prefix="qianda-") as folder:
        path = Path(folder, "prompt.md")
        await asyncio.to_thread(path.write_text, text, "utf-8")
        with app.suspend(), app.batch_update():  # nothing is drawn over the editor
            process = await asyncio.create_subprocess_exec(*shlex.split(command), str(path))
            code = await process.wait()
        if code:
            raise ValueError(t("{command} ended with exit code {code}", command=command, code=code))
        return (await asyncio.to_thread(path.read_text, "utf-8", "replace")).rstrip("\n")
