"""The chat's colours: themes of its own beside Textual's, and which one fits the terminal."""

from __future__ import annotations

import os
import re
from dataclasses import replace

from textual.message import Message
from textual.theme import BUILTIN_THEMES, Theme

AUTO = "auto"
OWN = (
    Theme(
        "qianda-dark",
        primary="#8f84ff",
        secondary="#5fb3f5",
        accent="#d89bff",
        success="#5fd38a",
        warning="#f2b84b",
        error="#ff7580",
        foreground="#e6e6ea",
        background="#14151a",
        surface="#1e2028",
        panel="#282b35",
        variables={"foreground-muted": "#a3a4ae"},
    ),
    Theme(
        "qianda-light",
        primary="#5b4be0",
        secondary="#0b6fb8",
        accent="#8a2bbd",
        success="#12702f",
        warning="#7a4f00",
        error="#b31b31",
        foreground="#1b1c22",
        background="#fbfbfd",
        surface="#eeeef4",
        panel="#e2e2ec",
        dark=False,
        variables={"foreground-muted": "#5a5b66"},
    ),
    replace(  # Textual's has dark blue on black
        BUILTIN_THEMES["ansi-dark"],
        name="qianda-16",
        primary="ansi_bright_blue",
        secondary="ansi_bright_cyan",
        accent="ansi_bright_magenta",
        success="ansi_bright_green",
        warning="ansi_bright_yellow",
        error="ansi_bright_red",
    ),
)
_REPLY = re.compile(r"\x1b\]11;rgba?:([0-9a-fA-F]+)/([0-9a-fA-F]+)/([0-9a-fA-F]+)[0-9a-fA-F/]*(?:\x07|\x1b\\)")
REPLY, LONGEST_REPLY = "\x1b]11;", 64
"""How its answer begins, and its length in characters at most."""
ASK_BACKGROUND = "\x1b]11;?\x1b\\"
"""Asks the terminal for the colour of its background."""


class BackgroundSaid(Message):
    """The terminal said the colour of its background."""

    def __init__(self, *, light: bool) -> None:
        super().__init__()
        self.light = light


def fitting(*, light: bool, colours: str | None) -> str:
    """The theme of ``auto``.

    Args:
        light: the terminal's background is.
        colours: as ``rich`` names what the terminal can show; with 16 colours they are the terminal's own.
    """
    if colours == "standard":
        return "ansi-light" if light else "qianda-16"
    return "qianda-light" if light else "qianda-dark"


def said_light() -> bool | None:
    """Whether the environment says that the background is light; None when it says nothing."""
    last = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return last in ("7", "15") if last.isdigit() else None


def without_reply(data: str) -> tuple[str, bool | None]:
    """What the terminal sent, without its answer to ``ASK_BACKGROUND``, and whether that names a light colour."""
    found = _REPLY.search(data)
    if found is None:
        return data, None
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.groups())
    return data[: found.start()] + data[found.end() :], 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
