"""What a terminal is told beside the screen: its title, notifications, text for the clipboard."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from qianda.tui.transcript.rows import visible

MOST_COPIED = 1_000_000
"""Bytes that are copied at most."""
SURELY_COPIED = 74_000
"""Bytes that every terminal takes that takes any."""
BELL = "\a"
_ITERM = ("iTerm.app", "WezTerm", "ghostty")
_SIGNS = {"KITTY_WINDOW_ID": "kitty", "ITERM_SESSION_ID": "iTerm.app", "WEZTERM_PANE": "WezTerm"}


def notification(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """What makes the terminal show a line on the desktop; the bell where it is not known to.

    Args:
        text: one line.
        environ: says which terminal it is; inside tmux, what its server inherited.
    """
    term = environ.get("TERM", "")
    program = environ.get("LC_TERMINAL", "").replace("iTerm2", "iTerm.app") or environ.get("TERM_PROGRAM", "")
    sign = next((name for variable, name in _SIGNS.items() if environ.get(variable)), "")
    text = visible(text)
    if "kitty" in (term.removeprefix("xterm-"), sign):
        told = f"\x1b]99;;{text}\x1b\\"
    elif program in _ITERM or sign in _ITERM or term == "xterm-ghostty":
        told = f"\x1b]9;{text}\a"
    elif term.startswith(("foot", "rxvt-unicode", "contour")):
        told = f"\x1b]777;notify;Qianda;{text}\x1b\\"
    else:
        return BELL
    # tmux passes it on where it is allowed to; the bell marks its window in any case.
    return f"\x1bPtmux;{told.replace(chr(27), chr(27) * 2)}\x1b\\{BELL}" if environ.get("TMUX") else told


def title(folder: Path) -> str:
    """What names the terminal's window, after its name was put aside."""
    return f"\x1b[22;0t\x1b]0;qianda – {visible(folder.name or str(folder))}\a"


TITLE_BEFORE = "\x1b[23;0t"
"""Gives the window its name back."""


def has_title(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal has a window with a name."""
    return environ.get("TERM", "dumb") not in ("dumb", "linux") and "TEXTUAL_DRIVER" not in environ


async def give_tmux(text: str) -> None:
    """Put a text into tmux's buffer, and by tmux into the clipboard: alone it does not take it from a program."""
    with suppress(OSError):
        process = await asyncio.create_subprocess_exec(
            *("tmux", "load-buffer", "-w", "-"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await process.communicate(text.encode())
