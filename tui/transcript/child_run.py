"""What an agent does that a call gave a task to: nested in the card of that call."""

from __future__ import annotations

from dataclasses import dataclass

from qianda.models.events import (
    CallDenied,
    CallFailed,
    CallFinished,
    CallStarted,
    Event,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from qianda.tui.transcript.blocks import duration
from qianda.tui.transcript.call_text import call_line, counted, read_arguments
from qianda.tui.transcript.rows import Row, Run, flow_text, shorten, visible, width_of
from qianda.tui.words import t

LAST_CALLS = 4
"""Calls that show while the card is folded, besides those that went wrong."""
MOST_CALLS = 300
"""Calls that show at all."""
BAR = "  │ "
_TAIL = 300
"""Characters kept of what is being said."""


@dataclass(slots=True)
class ChildCall:
    """One call of the agent.

    Args:
        name: of the tool.
        line: its arguments.
        mark: its state.
        style: likewise.
        note: how long it took.
        error: what went wrong.
        child: the agent that it gave a task to.
    """

    name: str
    line: str
    mark: str = "◐"
    style: str = "call-running"
    note: str = ""
    error: str = ""
    child: ChildRun | None = None


class ChildRun:
    """One agent at work.

    Attributes:
        tokens: that it has used so far.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self._doing: str = t("waiting for the model")
        self._said = ""
        self._troubles: list[str] = []
        self._calls: dict[str, ChildCall] = {}

    def begin(self, event: RunStarted) -> ChildRun:
        """An agent that this one gave a task to."""
        child = ChildRun()
        if (call := self._calls.get(event.call_id)) is not None:
            call.child = child
        return child

    def take(self, event: Event) -> bool:
        """Note an event; whether anything about it shows."""
        match event:
            case ThinkingDelta():
                return self._do(t("thinking"))
            case TextDelta():
                self._do(t("answering"))
                self._said = (self._said + event.text)[-_TAIL:]
            case CallStarted():
                self._calls[event.call_id] = ChildCall(
                    event.name, call_line(event.arguments, read_arguments(event.arguments))
                )
                self._do(t("running {name}", name=event.name))
            case CallFinished():
                self._end(event.call_id, "✓", "call-done", duration(event.seconds))
            case CallFailed():
                self._end(event.call_id, "✗", "call-failed", duration(event.seconds), event.error)
            case CallDenied():
                self._end(event.call_id, "⊘", "call-denied", t("denied"), event.reason)
            case UsageReported():
                self.tokens = event.total.total_tokens
            case Retrying():
                self._said = ""
                self._do(t("trying again: {cause}; attempt {attempt}", cause=event.cause, attempt=event.attempt))
            case RunFinished():
                self._doing = ""
                if event.reason not in ("done", "plan"):
                    self._troubles.append(event.message or event.which or t("stopped"))
            case _:
                return False
        return True

    @property
    def note(self) -> str:
        """What it has used so far, in a few words."""
        return t("{count} tokens", count=f"{self.tokens:,}") if self.tokens else ""

    def rows(self, width: int, *, running: bool, whole: bool, gutter: str = "") -> list[Row]:
        """Its calls a line each, what went wrong, and what it does now.

        Args:
            width: columns.
            running: the call that it works for goes on.
            whole: all calls, not only the last and those that went wrong.
            gutter: stands before its bar.
        """
        calls = list(self._calls.values())
        running = running and bool(self._doing)
        last = calls[-MOST_CALLS:] if whole else calls[-LAST_CALLS:] if running else []
        shown = [call for call in calls[-MOST_CALLS:] if call in last or call.error]
        rows: list[Row] = []
        if hidden := len(calls) - len(shown):
            text = (
                counted(hidden, "1 call more", "{count} calls more")
                if shown
                else counted(hidden, "1 call", "{count} calls")
            )
            rows.append(_row([(gutter + BAR + text, "call-note")], width))
        for call in shown:
            rows += self._call_rows(call, width, gutter, running=running, whole=whole)
        for trouble in self._troubles:
            rows += flow_text(f"✗ {trouble}", width, "call-failed-text", prefix=gutter + BAR, prefix_style="call-note")
        if running and not any(call.mark == "◐" for call in shown):
            said = self._said.rstrip().rpartition("\n")[2]
            now = f"{self._doing}: {visible(said)}" if said else visible(self._doing)
            rows.append(_row([(gutter + BAR, "call-note"), (f"◐ {now}", "call-running")], width))
        return rows

    def _call_rows(self, call: ChildCall, width: int, gutter: str, *, running: bool, whole: bool) -> list[Row]:
        used = call.child.note if call.child else ""
        note = "".join(f" · {text}" for text in (used, call.note) if text)
        name = visible(call.name)
        space = width - width_of(gutter + BAR + name + note) - 3
        line = f" {shorten(call.line, space)}" if call.line and space > 3 else ""
        runs = [(gutter + BAR, "call-note"), (f"{call.mark} ", call.style), (name, "call-name")]
        rows = [_row([*runs, (line, "call-arguments"), (note, "call-note")], width)]
        if call.child is not None:
            rows += call.child.rows(width, running=running, whole=whole, gutter=gutter + BAR)
        if call.error:
            error = call.error if whole else call.error[:_TAIL]
            style = f"{call.style}-text"
            rows += flow_text(error.strip("\n"), width, style, prefix=f"{gutter}{BAR}  ", prefix_style="call-note")
        return rows

    def _do(self, what: str) -> bool:
        changed = what != self._doing or bool(self._said)
        if what != self._doing:
            self._doing, self._said = what, ""
        return changed

    def _end(self, call_id: str, mark: str, style: str, note: str, error: str = "") -> None:
        if (call := self._calls.get(call_id)) is not None:
            call.mark, call.style, call.note, call.error = mark, style, note, error
        self._do(t("waiting for the model"))


def _row(runs: list[Run], width: int) -> Row:
    """One row, cut to the width."""
    kept: list[Run] = []
    used = 0
    for text, style in runs:
        piece = shorten(text, width - used)
        if piece:
            kept.append((piece, style))
            used += width_of(piece)
    return Row(tuple(kept), used, None, len(kept[0][0]) if kept and len(kept) > 1 else 0)
