"""A run on a terminal, or in a pipe: its events shown, questions asked, how it ended said."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qianda.agents.plan import PLAN_ANSWERS, PLAN_MODE
from qianda.agents.provenance import NOBODY_TO_AGREE
from qianda.cli.approval import Approval, can_ask
from qianda.cli.exits import DONE, INTERRUPTED, REFUSED, complain
from qianda.cli.plan import answer_plan
from qianda.cli.questions import answer_on
from qianda.cli.render import RunView
from qianda.cli.terminal import Terminal, is_terminal
from qianda.models.errors import LimitReached
from qianda.models.events import ApprovalAsked, CallDenied, Event, InputReceived, Notice, QuestionAsked, to_json

if TYPE_CHECKING:
    from qianda.agents.run import Run

DEMO = "A demo model answers, not a Qwen. Connect a real one: qianda config set server URL (or --server URL)"


@dataclass(frozen=True, slots=True)
class Output:
    """How a run is shown: events as JSON lines, the answer only, with everything, or with marks in words."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    words: bool = False


class Watcher:
    """Shows a run's events in the way that was asked for, and knows how it ended."""

    def __init__(self, output: Output) -> None:
        terminal = replace(Terminal.current(), words=output.words)
        self._output = output
        self._terminal = terminal
        self._live = terminal.interactive and not output.json
        self._asks = can_ask() and not output.json
        self._denied: list[str] = []
        self._unasked = False
        self._rules: list[str] = []  # what would have let the denied calls run
        self._carried = ""  # why a call was denied that --yes does not let run
        self._opening = True
        # Off a terminal stdout has the answer alone, so what --verbose tells goes to stderr.
        shown_on = terminal if self._live else replace(terminal, out=terminal.err, interactive=False, colour=False)
        self._silent = output.quiet or not (self._live or output.verbose)
        self._view = RunView(shown_on, quiet=self._silent, verbose=output.verbose, answer=self._live)
        self.approval = Approval(terminal, self._view)

    def say_demo(self) -> None:
        """Say on a terminal that this is no Qwen, and how to get one."""
        if is_terminal(self._terminal.err):
            self._terminal.err.write(self._terminal.style(DEMO, "dim") + "\n")

    async def watch(self, event: Event, run: Run) -> None:
        """Show one event; ask the person where there is one."""
        if self._output.json:
            self._write(to_json(event))
        else:
            self._view.show(event)
        match event:
            case ApprovalAsked() if self._asks:
                run.answer(event.request_id, await self.approval.ask(event))
            case QuestionAsked() if self._asks and event.options == PLAN_ANSWERS:
                shown = not self._silent
                run.answer(event.request_id, await answer_plan(self._terminal, self.approval, event, shown=shown))
            case QuestionAsked() if self._asks:
                run.answer(event.request_id, await answer_on(self._terminal, self.approval, event))
            case CallDenied() if event.by != "person" and event.rule != PLAN_MODE:
                self._denied.append(event.name)
                self._unasked |= event.by == "nobody"
                self._rules += [event.rule] if event.by == "nobody" and event.rule else []
                if event.by == "nobody" and NOBODY_TO_AGREE in event.reason:
                    self._carried = self._carried or event.reason.partition(f", and {NOBODY_TO_AGREE}")[0]
            case Notice() if self._opening and not (self._live or self._output.quiet or self._output.verbose):
                complain(event.text)  # what could not be opened, such as an MCP server
            case InputReceived():
                self._opening = False
            case _:
                pass

    async def finish(self, run: Run, *, recorded: bool) -> int:
        """Write what is left to be written.

        Args:
            run: which has ended.
            recorded: and can be gone on with.

        Returns:
            The exit code.

        Raises:
            QiandaError: the run ended with it.
        """
        try:
            result = await run.wait()
        except LimitReached as error:
            if error.result is not None:
                self._answer(error.result.output)
            if error.which == "depth":
                raise
            flag = f"--max-{error.which.replace('_', '-')}"
            raise LimitReached(error.which, error.message, cure=f"Raise it with {flag}") from error
        if result.finish == "cancelled":
            complain(
                f"Interrupted; what was done is recorded, to go on: qianda resume {run.id}"
                if recorded
                else "Interrupted"
            )
            return INTERRUPTED
        self._answer(result.output)
        if result.finish == "plan":
            complain("This is a plan, and nobody was there to accept it: do that on a terminal, or go without --plan")
        if result.finish == "length" and not self._live:
            complain("The answer was cut at the server's output limit")
        if not self._denied:
            return DONE
        calls = (
            f"{len(self._denied)} call{'s' if len(self._denied) > 1 else ''} ({', '.join(dict.fromkeys(self._denied))})"
        )
        if self._unasked:
            allow = " ".join(f"--allow {shlex.quote(rule)}" for rule in dict.fromkeys(self._rules))
            cures = [allow] * bool(allow) + ["--yes"] * (not self._carried)
            complain(f"{calls} denied, as nobody was there to agree; {', or '.join(cures)} lets them run")
            if self._carried:
                complain(self._carried)
        else:
            complain(f"{calls} denied by the permissions: qianda config shows the mode and the rules")
        return REFUSED

    def _answer(self, text: str) -> None:
        if not self._live and not self._output.json and text:
            self._write(text)

    def _write(self, line: str) -> None:
        self._terminal.out.write(line + "\n")
        self._terminal.out.flush()


@contextlib.contextmanager
def interrupting(run: Run, approval: Approval) -> Generator[None]:
    """Ctrl+C, or SIGTERM, stops the run cleanly; a second Ctrl+C ends the program at once."""
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        approval.abandon()
        run.cancel()
        loop.remove_signal_handler(signal.SIGINT)

    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
