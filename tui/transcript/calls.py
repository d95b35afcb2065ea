"""The block of one tool call: its state in a word and a colour, its arguments, its result."""

from __future__ import annotations

import json
from typing import Any, Literal, cast

from qianda.tui.transcript.blocks import Block, duration
from qianda.tui.transcript.rows import Row, Run, flow_text, shorten, visible, width_of

State = Literal["writing", "running", "asking", "done", "failed", "denied", "stopped"]

_MARKS: dict[State, str] = {
    "writing": "◌",
    "running": "◐",
    "asking": "?",
    "done": "✓",
    "failed": "✗",
    "denied": "⊘",
    "stopped": "✗",
}
_BY = {"person": "by you", "rule": "by a rule", "nobody": "nobody could be asked"}
_WORD = max(map(len, _MARKS)) + 2
RESULT = "  └ "
INDENT = "    "
VALUE_SHOWN = 60


class CallBlock(Block):
    """A tool call. A failure or a denial is always shown whole; a result folds to its first line."""

    foldable = True

    def __init__(self, name: str, arguments: str = "", state: State = "writing") -> None:
        super().__init__()
        self.name = name
        self.arguments = arguments
        self.state: State = state
        self.text = ""
        self.note = ""
        self.folded = True

    def feed(self, text: str) -> None:
        """The model writes more of the arguments; or the tool, running, says how far it is."""
        if self.state == "writing":
            self.arguments += text
        else:
            self.text = text
        self.changed()

    def start(self, name: str, arguments: str) -> None:
        """The call is whole."""
        self.name, self.arguments = name, arguments
        self.move("running")

    def move(self, state: State) -> None:
        """Another state."""
        self.state = state
        self.changed()

    def finish(self, text: str, seconds: float, *, replayed: bool = False) -> None:
        """It ran."""
        self.text = text
        self.note = "from the record" if replayed else duration(seconds)
        self.move("done")

    def fail(self, error: str, seconds: float) -> None:
        """It failed."""
        self.text, self.note = error, duration(seconds) if seconds else ""
        self.move("failed")

    def deny(self, reason: str, by: str) -> None:
        """It was not run."""
        self.text, self.note = reason, _BY.get(by, by)
        self.move("denied")

    def stop(self, text: str) -> None:
        """The run ended before the call did."""
        self.text = text
        self.move("stopped")

    def recall(self, text: str, outcome: Literal["done", "failed", "denied"]) -> None:
        """It belongs to an earlier run."""
        self.text = text
        self.move(outcome)

    def _build(self, width: int) -> list[Row]:
        rows = [self._head(width)]
        if not self.folded:
            for key, value in argument_items(self.arguments):
                rows += flow_text(f"{key}: {value}", width, "call-arguments", prefix=INDENT)
        match self.state:
            case "failed" | "denied" | "stopped":
                rows += self._lines(self.text, width, f"call-{self.state}-text")
            case "done" if self.folded:
                rows += self._first_line(self.text.strip("\n"), width)
            case "done":
                rows += self._lines(self.text, width, "call-result")
            case "running" if self.text.strip():
                last = self.text.rstrip().rsplit("\n", 1)[-1]
                rows += self._lines(shorten(visible(last), width - len(RESULT)), width, "call-result")
            case _:
                pass
        return rows

    def _size(self) -> tuple[int, int]:
        if self.folded and self.state not in ("failed", "denied", "stopped"):
            return 0, 1 + bool(self.text)
        return len(self.text) + len(self.arguments), self.text.count("\n") + 2

    def _head(self, width: int) -> Row:
        state = self.state
        word = f"{_MARKS[state]} {state:<{_WORD}}"
        note = f" · {self.note}" if self.note else ""
        name = visible(self.name)
        space = width - len(word) - width_of(name) - width_of(note) - 1
        short = shorten(compact_arguments(self.arguments), space) if space > 3 else ""
        click = f"@toggle={self.serial}"
        runs: list[Run] = [(word, f"call-{state} {click}"), (name, f"call-name {click}")]
        if short:
            runs.append((f" {short}", f"call-arguments {click}"))
        if note:
            runs.append((note, f"call-note {click}"))
        return Row(tuple(runs), sum(width_of(text) for text, _ in runs))

    def _lines(self, text: str, width: int, style: str) -> list[Row]:
        rows = flow_text(text.strip("\n"), width, style, prefix=INDENT)
        rows[0] = rows[0]._replace(runs=((RESULT, "call-note"), *rows[0].runs[1:]))
        return rows

    def _first_line(self, text: str, width: int) -> list[Row]:
        if not text:
            return []
        first, _, others = text.partition("\n")
        more = f" (+{others.count(chr(10)) + 1} lines)" if others else ""
        shown = shorten(visible(first).expandtabs(), width - len(RESULT) - len(more))
        click = f" @toggle={self.serial}"
        runs: list[Run] = [(RESULT, "call-note"), (shown, "call-result" + click)]
        if more:
            runs.append((more, "call-note" + click))
        return [Row(tuple(runs), sum(width_of(piece) for piece, _ in runs), None, len(RESULT))]


def argument_items(arguments: str) -> list[tuple[str, str]]:
    """Name and text of each argument; strings as they are, everything else as JSON. What is no object stays whole."""
    try:
        value: Any = json.loads(arguments or "{}")
    except ValueError:
        return [("arguments", arguments)]
    if not isinstance(value, dict):
        return [("arguments", arguments)]
    return [
        (str(key), item if isinstance(item, str) else json.dumps(item, ensure_ascii=False))
        for key, item in cast("dict[str, Any]", value).items()
    ]


def compact_arguments(arguments: str) -> str:
    """The arguments in one line."""
    shown: list[str] = []
    for key, value in argument_items(arguments):
        line = visible(value).replace("\n", "⏎").replace("\t", " ")
        line = line if len(line) <= VALUE_SHOWN else line[: VALUE_SHOWN - 1] + "…"
        shown.append(line if key == "arguments" else f"{key}={line}")
    return " ".join(shown)
