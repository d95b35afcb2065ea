"""A run's events as lines on a terminal: thinking dim, a line per call and result, the answer."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, cast

from qianda.cli.terminal import Style, Terminal, clean, is_terminal
from qianda.models.events import (
    CallDenied,
    CallFailed,
    CallFinished,
    CallForced,
    CallProgress,
    CallRepaired,
    CallStarted,
    Compacted,
    Event,
    Notice,
    PlanChanged,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from qianda.models.messages import Content, content_text
from qianda.models.plan import Plan, State

_DIFFERENCE = re.compile(r".*\n@@ -\d")
_STEP_STYLES: dict[State, Style] = {
    "pending": "dim",
    "doing": "call",
    "done": "done",
    "failed": "failed",
    "skipped": "dim",
}
Channel = Literal["thinking", "text"]


class Repeat:
    """Holds back what a retried request says again, so that nothing stands on the screen twice."""

    def __init__(self) -> None:
        self._parts: list[str] = []  # what this attempt said
        self._void = ""  # what an attempt that broke left on the screen
        self._seen = 0  # how much of that was said again

    def discard(self) -> None:
        """What was shown since the turn began is void, and comes again."""
        self._void = self._void or "".join(self._parts)
        self._parts = []
        self._seen = 0

    def feed(self, text: str) -> tuple[bool, str]:
        """Take more text.

        Returns:
            Whether it goes on differently from what stands on the screen, and what is to be shown.
        """
        self._parts.append(text)
        if not self._void:
            return False, text
        rest = self._void[self._seen :]
        if len(text) < len(rest) and rest.startswith(text):
            self._seen += len(text)
            return False, ""
        self._void = ""
        return (False, text[len(rest) :]) if text.startswith(rest) else (True, "".join(self._parts))

    def turn_ends(self) -> tuple[bool, str]:
        """The turn is over: like ``feed``, for a reply that stopped short of what stands on the screen."""
        differs, said = self._void != "", "".join(self._parts)
        self._void, self._parts, self._seen = "", [], 0
        return (True, said) if differs else (False, "")


class RunView:
    """Shows one run on a terminal.

    Args:
        terminal: where to.
        quiet: the answer only.
        verbose: also progress, tokens, whole arguments and results.
        answer: show the answer's text as it comes.
    """

    def __init__(self, terminal: Terminal, *, quiet: bool = False, verbose: bool = False, answer: bool = True) -> None:
        self._answer = answer
        self._terminal = terminal
        self._quiet = quiet
        self._verbose = verbose
        self._channel: Channel | None = None
        self._at_start = True
        self._repeats: dict[Channel, Repeat] = {"thinking": Repeat(), "text": Repeat()}
        self._running: set[str] = set()
        self._together = False
        self._plan = Plan()
        self._planned = False
        self._denied = "" if terminal.words else "denied: "  # the mark says it

    def show(self, event: Event) -> None:
        """Show one event."""
        if event.parent_run_id is not None:
            self._show_inner(event)
            return
        match event:
            case TextDelta():
                if self._answer:
                    self._stream("text", event.text)
            case UsageReported():
                self._turn_ends()
            case RunStarted():
                self._started(event)
            case RunFinished():
                self._turn_ends()
                used = event.usage
                if self._verbose:
                    counts = f"{used.input_tokens} tokens in, {used.output_tokens} out, {used.requests} requests"
                    self.line("note", "dim", counts)
            case _ if self._quiet:
                pass
            case ThinkingDelta():
                self._stream("thinking", event.text)
            case Retrying():
                self._retrying(event)
            case Notice() | Compacted():
                self.line("note", "dim", event.text)
            case PlanChanged():
                self._show_plan(event.plan)
            case CallStarted(name="plan") | CallFinished(name="plan") if not self._verbose:
                self._show_plan_call(event)
            case _:
                self._show_call(event)

    def _show_inner(self, event: Event) -> None:
        """Of an agent that works for this run: a line per call, indented, and what went wrong."""
        match event:
            case CallStarted():
                arguments = describe_arguments(event.arguments, self._terminal)
                self.line("call", "dim", f"{event.name} {arguments}", indent="  ")
            case CallFailed():
                self.line("failed", "dim", f"{event.name}: {event.error}", indent="  ")
            case CallDenied():
                self.line("denied", "denied", f"{event.name} {self._denied}{event.reason}", indent="  ")
            case Retrying():
                self.line("retry", "denied", event.cause, indent="  ")
            case _:
                pass

    def line(self, symbol: str, style: Style, text: str, *, whole: bool = False, indent: str = "") -> None:
        """One line of its own, with a mark before it, cut to the terminal's width unless it is to be whole."""
        if self._quiet:
            return
        self.end_line()
        terminal = self._terminal
        mark = indent + terminal.symbol(symbol)
        if whole:
            shown = clean(text).replace("\n", "\n  ")
        else:
            shown = terminal.one_line(text, terminal.columns - len(mark) - 2)
        self._write(terminal.style(f"{mark} {shown}", style) + "\n")

    def end_line(self) -> None:
        """Finish the line that text is being written on."""
        if not self._at_start:
            self._write("\n")
        self._at_start = True
        self._channel = None

    def _show_call(self, event: Event) -> None:
        match event:
            case CallStarted():
                self._together = bool(self._running)
                self._running.add(event.call_id)
                arguments = describe_arguments(event.arguments, self._terminal, whole=self._verbose)
                self.line("call", "call", f"{event.name} {arguments}", whole=self._verbose)
            case CallRepaired():
                if self._verbose:
                    self.line("note", "dim", f"{event.name}: mended: {event.reason}")
            case CallForced():
                tool = f"A call of {event.name}" if event.name else "A call"
                self.line("retry", "denied", f"{tool} is asked for once more: {event.reason}")
            case CallProgress():
                if self._verbose:
                    self.line("note", "dim", event.text.rstrip("\n"), whole=True)
            case CallFinished():
                text = content_text(event.content)
                whole = self._verbose or _DIFFERENCE.match(text) is not None  # an edit is what people want to see
                text = text if whole else summary(event.content)
                self.line("done", "done", self._whose(event.call_id, event.name) + text, whole=whole)
            case CallFailed():
                text = self._whose(event.call_id, event.name) + event.error
                self.line("failed", "failed", text, whole=self._verbose)
            case CallDenied():
                who = self._whose(event.call_id, event.name)
                self.line("denied", "denied", f"{who}{self._denied}{event.reason}", whole=self._verbose)
            case _:
                pass

    def _show_plan(self, plan: Plan) -> None:
        """All steps where they are new, else those that have changed."""
        self._planned = True
        old, self._plan = self._plan, plan
        same = [step.text for step in plan.steps] == [step.text for step in old.steps]
        if not same:
            self.line("note", "dim", "Plan")
        for number, step in enumerate(plan.steps, 1):
            if not same or step != old.steps[number - 1]:
                note = f": {step.note}" if step.note else ""
                self.line(step.state, _STEP_STYLES[step.state], f"{number}. {step.text}{note}")

    def _show_plan_call(self, event: CallStarted | CallFinished) -> None:
        """The steps say it all; a call that changed none is shown as any other."""
        if isinstance(event, CallStarted):
            self._planned = False
        elif not self._planned:
            self._show_call(event)

    def _whose(self, call_id: str, name: str) -> str:
        """Which call a result belongs to, where several ran at once."""
        self._running.discard(call_id)
        return f"{name}: " if self._together else ""

    def _retrying(self, event: Retrying) -> None:
        if event.discard:
            for repeat in self._repeats.values():
                repeat.discard()
        self.line("retry", "denied", f"{event.cause}; attempt {event.attempt} in {event.wait:.1f} s")

    def _started(self, event: RunStarted) -> None:
        """Which server and model, and why: on stderr, so that it never mixes with an answer that is kept."""
        err = self._terminal.err
        if not self._quiet and is_terminal(err):
            mark = self._terminal.symbol("note")
            between = "," if self._terminal.words else f" {mark}"
            line = clean(f"{mark} {event.model}{between} {event.server}{between} {event.why}")
            err.write(self._terminal.style(line, "dim") + "\n")
            err.flush()

    def _turn_ends(self) -> None:
        for channel, repeat in self._repeats.items():
            differs, text = repeat.turn_ends()
            self._continue(channel, text, differs=differs)
        self.end_line()

    def _stream(self, channel: Channel, text: str) -> None:
        differs, text = self._repeats[channel].feed(text)
        self._continue(channel, text, differs=differs)

    def _continue(self, channel: Channel, text: str, *, differs: bool) -> None:
        if differs:
            self.line("retry", "denied", "the beginning above is void" + ("; what counts:" if text else ""))
        if channel != self._channel:
            text = text.lstrip("\n")
        if not text:
            return
        terminal = self._terminal
        if channel != self._channel:
            thought = self._channel == "thinking"
            self.end_line()
            self._channel = channel
            if channel == "thinking" and (terminal.words or not terminal.colour):
                self._write("(thinking) ")
            elif thought and terminal.words:
                self._write("(answer) ")
        shown = clean(text)
        self._write(terminal.style(shown, "dim") if channel == "thinking" else shown)
        self._at_start = shown.endswith("\n")

    def _write(self, text: str) -> None:
        self._terminal.out.write(text)
        self._terminal.out.flush()


def describe_arguments(arguments: str, terminal: Terminal, *, whole: bool = False) -> str:
    """A call's arguments for a person: ``path=price.txt limit=3``, long values cut unless they are to be whole."""
    try:
        decoded: Any = json.loads(arguments)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        return clean(arguments)
    values = cast("dict[str, Any]", decoded)

    def show(value: Any) -> str:
        plain = isinstance(value, str) and value != "" and not any(c.isspace() or c in "\"'=" for c in value)
        text = value if plain else json.dumps(value, ensure_ascii=False)
        return clean(text) if whole else terminal.one_line(text, 60)

    return " ".join(f"{clean(name)}={show(value)}" for name, value in values.items())


def summary(content: Content) -> str:
    """A result in a few words: itself when it is short, else how many lines it has."""
    text = content_text(content).strip()
    lines = text.count("\n") + 1
    if not text:
        return "nothing"
    return text if lines == 1 else f"{lines} lines"
