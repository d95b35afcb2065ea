"""Reads what is pasted as a whole: Textual's parser takes it character by character, 10 MB in 10 s of CPU."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual._xterm_parser import XTermParser
from textual.events import Paste

from qianda.tui.themes import LONGEST_REPLY, REPLY, BackgroundSaid, without_reply

if TYPE_CHECKING:
    from textual.driver import Driver
    from textual.message import Message

START, END = "\x1b[200~", "\x1b[201~"


class PasteParser(XTermParser):
    """Textual's parser, but for what stands between the marks of a bracketed paste."""

    _held: list[str] | None = None  # of a paste that goes on
    _last = ""  # its last characters, which may be the beginning of the mark
    _reply = ""  # of the terminal, cut

    def feed(self, data: str) -> Iterable[Message]:
        """Take more of what the terminal sends.

        Args:
            data: at any cut; "" at the end.
        """
        if not data:
            yield from super().feed(data)
        data, self._reply = self._reply + data, ""
        while data:
            if self._held is None:
                if REPLY in data:
                    data, light = without_reply(data)
                    if light is not None:
                        yield BackgroundSaid(light=light)
                    elif len(data) - (at := data.index(REPLY)) < LONGEST_REPLY:
                        data, self._reply = data[:at], data[at:]
                before, mark, data = data.partition(START)  # one that is cut goes the slow way
                if before:
                    yield from super().feed(before)
                if mark:
                    self._held, self._last = [], ""
                continue
            piece, mark, rest = (self._last + data).partition(END)
            if not mark:
                cut = max(len(piece) - len(END) + 1, 0)
                self._held.append(piece[:cut])
                self._last, data = piece[cut:], ""
                continue
            text = "".join([*self._held, piece]).replace("\x00", "")
            self._held, data = None, rest
            yield Paste(text)


def read_pastes_whole(driver: type[Driver]) -> None:
    """Make a driver use this parser.

    Args:
        driver: whose module names the parser that it uses.
    """
    module = sys.modules[driver.__module__]
    if hasattr(module, "XTermParser"):
        vars(module)["XTermParser"] = PasteParser
