"""The card of one tool call: its state in a word and a colour, the call in a line, its output, result and changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from qianda.tui.transcript.blocks import Block, duration
from qianda.tui.transcript.call_text import (
    STREAMING,
    argument_items,
    bounded,
    call_line,
    counted,
    read_arguments,
    whole_in_line,
)
from qianda.tui.transcript.changes import argued, told_by_difference
from qianda.tui.transcript.diff import Diff, read_unified
from qianda.tui.transcript.diff_rows import SPLIT_WIDTH, count_runs, diff_rows, head_runs
from qianda.tui.transcript.rows import Row, Run, flow_text, shorten, visible, width_of
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.transcript.call_group import CallGroup
    from qianda.tui.transcript.child_run import ChildRun

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
RESULT = "  └ "
INDENT = "    "
LIVE_LINES = 5
"""Last lines of the output of a tool that runs."""
LIVE_KEPT = 4_000
"""Characters of it that are kept."""
DIFF_SHOWN = 12
"""Lines of a difference while the card is folded."""
_MOST_DIFF = 2_000
FAILURE_SHOWN = (20, 4_000)
"""Lines and characters of a failure that show unasked: its first quarter and its end."""
_OPEN_SHOWN = (1_000, 100_000)


class Card(Block):
    """What folds with the results of tools."""

    foldable = True
    keeps_end = True


class CallBlock(Card):
    """A tool call. A failure or a denial always shows; a result folds to its first line, a difference to a few.

    Attributes:
        child: the agent that works for it.
        diffs: what it changed, as undo keeps it; empty as long as that is not known.
        group: what it shares a line with when it is done.
    """

    def __init__(self, name: str, arguments: str = "", state: State = "writing", *, gap: bool = True) -> None:
        super().__init__(gap=gap)
        self.name = name
        self.arguments = arguments
        self.state: State = state
        self.text = ""
        self.note = ""
        self.mended = ""
        self.folded = True
        self.child: ChildRun | None = None
        self.group: CallGroup | None = None
        self.diffs: tuple[Diff, ...] = ()
        self._live = ""

    def feed(self, text: str) -> None:
        """The model writes more of the arguments; or the tool, running, says how far it is."""
        if self.state == "writing":
            self.arguments += text
        elif text:
            self._live = (self._live + text)[-LIVE_KEPT:]
        self.changed()

    def start(self, name: str, arguments: str) -> None:
        """The call is whole."""
        self.name, self.arguments = name, arguments
        self.move("running")

    def move(self, state: State) -> None:
        """Another state."""
        self.state = state
        self.changed()

    def mend(self, reason: str) -> None:
        """It was not quite right as the model wrote it."""
        self.mended = reason
        self.changed()

    def finish(self, text: str, seconds: float, *, replayed: bool = False) -> None:
        """It ran."""
        self.text = text
        self.note = t("from the record") if replayed else duration(seconds)
        self.move("done")

    def fail(self, error: str, seconds: float) -> None:
        """It failed."""
        self.text, self.note = error, duration(seconds) if seconds else ""
        self.move("failed")

    def deny(self, reason: str, by: str) -> None:
        """It was not run."""
        who = {"person": t("by you"), "rule": t("by a rule"), "nobody": t("nobody could be asked")}
        self.text, self.note = reason, who.get(by, by)
        self.move("denied")

    def stop(self, text: str) -> None:
        """The run ended before the call did."""
        self.text = text
        self.move("stopped")

    def recall(self, text: str, outcome: Literal["done", "failed", "denied"]) -> None:
        """It belongs to an earlier run."""
        self.text = text
        self.move(outcome)

    @property
    def going(self) -> bool:
        """Whether the call has begun and not ended."""
        return self.state in ("running", "asking")

    @property
    def hidden(self) -> bool:
        """Whether the line of its group stands for it."""
        return self.group is not None and self.group.active and self.group.folded and self.state == "done"

    def _build(self, width: int) -> list[Row]:
        if self.hidden:
            return []
        values = read_arguments(self.arguments) if self.state != "writing" else None
        diffs = self._differences(values)
        head, whole = self._head(width, values, diffs)
        rows = [head]
        if not self.folded:
            told = told_by_difference(values or {}) if diffs else []
            rows += self._arguments(width, {*told, *(whole_in_line(values or {}) if whole else ())})
        if self.child is not None:
            rows += self.child.rows(width, running=self.going, whole=not self.folded)
        text = self.text.strip("\n")
        match self.state:
            case "failed" | "denied" | "stopped":
                style = f"call-{self.state}-text"
                rows += self._live_rows(width) if self.state == "stopped" else []
                rows += self._lines(text, width, style, FAILURE_SHOWN if self.folded else _OPEN_SHOWN)
            case "done" if diffs and self.name not in STREAMING:
                rows += self._changes(diffs, width)
            case "done":
                rows += self._first_line(text, width) if self.folded else []
                rows += self._lines(text, width, "call-result", _OPEN_SHOWN) if text and not self.folded else []
                rows += self._changes(diffs, width)
            case "running":
                rows += self._live_rows(width)
            case _:
                pass
        return rows

    def _size(self) -> tuple[int, int]:
        if self.hidden:
            return 0, 0
        if self.folded and self.state not in ("failed", "denied", "stopped"):
            return 0, 1 + bool(self.text)
        most = (FAILURE_SHOWN if self.folded else _OPEN_SHOWN)[0]
        return min(len(self.text), most * 100), min(self.text.count("\n"), most) + 2

    def estimate(self, width: int) -> None:
        """A height without laying out; none at all while it is hidden."""
        super().estimate(width)
        if self.hidden:
            self.height = 0

    def _differences(self, values: dict[str, Any] | None) -> tuple[Diff, ...]:
        if self.state != "done" or self.diffs or values is None:
            return self.diffs if self.state == "done" else ()
        found = argued(values)
        if found is None:
            return ()
        if (whole := read_unified(self.text, found.path)) is not None:
            return (whole,)
        # Of a file that was replaced only the new text is known here.
        return () if found.kind == "created" and "(created)" not in self.text else (found,)

    def _head(self, width: int, values: dict[str, Any] | None, diffs: tuple[Diff, ...]) -> tuple[Row, bool]:
        """Its first row, and whether the line about the arguments had room."""
        words = state_words()
        state = self.state
        click = f"@toggle={self.serial}"
        word = words[state] + " " * (max(map(width_of, words.values())) - width_of(words[state]))
        runs: list[Run] = [
            (f"{_MARKS[state]} {word}  ", f"call-{state} {click}"),
            (visible(self.name), f"call-name {click}"),
        ]
        changed = Diff("", tuple(hunk for diff in diffs for hunk in diff.hunks))
        tail: list[Run] = [(" · ", f"call-note {click}"), *count_runs(changed, click)] if changed.hunks else []
        used = self.child.note if self.child else ""
        mended = t("mended") if self.mended else ""
        tail += [(f" · {note}", f"call-note {click}") for note in (used, self.note, mended) if note]
        space = width - sum(width_of(text) for text, _ in (*runs, *tail)) - 1
        wanted = call_line(self.arguments, values, writing=state == "writing")
        line = shorten(wanted, space) if space > 3 else ""
        if line:
            runs.append((f" {line}", f"call-arguments {click}"))
        runs += tail
        return Row(tuple(runs), sum(width_of(text) for text, _ in runs)), line == wanted

    def _arguments(self, width: int, told: set[str]) -> list[Row]:
        """Those that are told nowhere else."""
        rows: list[Row] = []
        for key, value in argument_items(self.arguments):
            if key in told:
                continue
            head, cut, end = bounded(value, *_OPEN_SHOWN)
            text = "\n".join(filter(None, (head, cut, end)))
            rows += flow_text(f"{key}: {text}", width, "call-arguments", prefix=INDENT)
        if self.mended:
            rows += flow_text(t("mended: {reason}", reason=self.mended), width, "call-note", prefix=INDENT)
        return rows

    def _live_rows(self, width: int) -> list[Row]:
        lines = [
            line.rpartition("\r")[2] for line in self._live.replace("\r\n", "\n").rstrip().split("\n")[-LIVE_LINES:]
        ]
        if not any(lines):
            return []
        shown = "\n".join(shorten(visible(line).expandtabs(), width - len(RESULT)) for line in lines)
        return self._lines(shown, width, "call-result", (LIVE_LINES, LIVE_KEPT))

    def _lines(self, text: str, width: int, style: str, most: tuple[int, int]) -> list[Row]:
        head, cut, end = bounded(text, *most)
        rows = flow_text(head, width, style, prefix=INDENT)
        if cut:
            rows += flow_text(cut, width, f"call-note @toggle={self.serial}", prefix=INDENT)
            rows += flow_text(end, width, style, prefix=INDENT)
        rows[0] = rows[0]._replace(runs=((RESULT, "call-note"), *rows[0].runs[1:]))
        return rows

    def _first_line(self, text: str, width: int) -> list[Row]:
        if not text:
            return []
        first, _, others = text.partition("\n")
        count = others.count("\n") + 1
        more = counted(count, " (+1 line)", " (+{count} lines)") if others else ""
        shown = shorten(visible(first[: width * 2]).expandtabs(), width - len(RESULT) - width_of(more))
        click = f" @toggle={self.serial}"
        runs: list[Run] = [(RESULT, "call-note"), (shown, "call-result" + click)]
        if more:
            runs.append((more, "call-note" + click))
        return [Row(tuple(runs), sum(width_of(piece) for piece, _ in runs), None, len(RESULT))]

    def _changes(self, diffs: tuple[Diff, ...], width: int) -> list[Row]:
        """What it changed: of one file the lines, of several files a line each; all of it when the card is open."""
        rows: list[Row] = []
        several = len(diffs) > 1 or self.name in STREAMING
        left = DIFF_SHOWN if self.folded else _MOST_DIFF
        for diff in diffs:
            if several or diff.note or not diff.hunks:
                runs = [(INDENT, ""), *head_runs(diff, width - len(INDENT), "call-note")]
                rows.append(Row(tuple(runs), sum(width_of(text) for text, _ in runs), None, len(INDENT)))
            if several and self.folded:
                continue
            rows += diff_rows(diff, width, split=self.look.split and width >= SPLIT_WIDTH - 1, gutter=INDENT, most=left)
            lines = sum(map(len, diff.hunks))
            if lines > left:
                text = counted(lines - left, "1 line more", "{count} lines more")
                rows += flow_text(text, width, f"call-note @toggle={self.serial}", prefix=INDENT)
            left = max(left - lines, 0)
        return rows


def state_words() -> dict[State, str]:
    """The states as people read them."""
    return {
        "writing": t("writing"),
        "running": t("running"),
        "asking": t("asking"),
        "done": t("done"),
        "failed": t("failed"),
        "denied": t("denied"),
        "stopped": t("stopped"),
    }
