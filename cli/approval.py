"""Asking the person at the terminal whether a call may run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

from qianda.cli.keyboard import read_line
from qianda.cli.render import RunView
from qianda.cli.terminal import Terminal, clean, is_terminal
from qianda.models.events import ApprovalAsked
from qianda.tools.permissions import Decision

_SHOWN = 4_000
_LONGEST_RULE = 500  # a rule that is not seen whole is not saved


def can_ask() -> bool:
    """Whether there is a person: the keyboard and a screen for the question are a terminal."""
    return is_terminal(sys.stdin) and is_terminal(sys.stderr)


class Approval:
    """Asks on the terminal, least permissive answer first.

    Args:
        terminal: what the terminal can show.
        view: whose line is finished before the question.
    """

    def __init__(self, terminal: Terminal, view: RunView) -> None:
        self._terminal = terminal
        self._view = view
        self._waiting: asyncio.Future[str] | None = None
        self._abandoned = False

    def abandon(self) -> None:
        """Stop waiting for an answer: it counts as No."""
        self._abandoned = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result("")

    async def ask(self, asked: ApprovalAsked) -> Decision:
        """Show the call and wait for the answer; an empty one, or the end of the input, is No."""
        self.begin(asked.name)
        err = self._terminal.err
        for line in question(asked.arguments, self._terminal):
            err.write(f"  {line}\n")
        err.write(f"  {self._terminal.style(clean(asked.reason), 'dim')}\n")
        always = ""
        if asked.rule and len(asked.rule) <= _LONGEST_RULE:
            always = " r = always, by that rule,"
            rule = clean(asked.rule).replace("\n", "\\n")
            err.write(f"  rule for this folder: {rule}\n")
        while True:
            err.write(
                f"  Allow it? y = once, s = same call again in this session,{always} Enter = no, or say why not: "
            )
            answer = await self.read_line()
            match answer.casefold():
                case "" | "n" | "no":
                    return Decision.deny()
                case "y" | "yes":
                    return Decision.allow()
                case "s" | "session":
                    return Decision.allow(scope="session")
                case "r" | "rule" if always:
                    return Decision.allow(scope="rule")
                case _ if len(answer) < 2:
                    continue
                case _:
                    return Decision.deny(answer)

    def begin(self, title: str) -> None:
        """Begin a question with a line of its own."""
        self._view.end_line()
        _forget_typed(sys.stdin.fileno())  # what was typed before the question is no answer to it
        self._terminal.err.write(self._terminal.style(f"? {clean(title)}", "ask") + "\n")

    async def read_line(self) -> str:
        """What the person types behind what was written; "" when the question was abandoned."""
        self._terminal.err.flush()
        if self._abandoned:
            return ""
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            return (await read_line(self._waiting)).strip()
        finally:
            self._waiting = None


def question(arguments: str, terminal: Terminal) -> list[str]:
    """A call's arguments as the person who agrees should see them: whole, on lines of their own, marked as content."""
    lines: list[str] = []
    for name, value in json.loads(arguments).items():
        text = clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        hidden = len(text) - _SHOWN
        first, *rest = text[:_SHOWN].split("\n")
        lines.append(f"{clean(name)}: {first}")
        lines += [f"  | {line}" for line in rest]
        if hidden > 0:
            lines.append(f"  {terminal.symbol('more')} and {hidden} more characters that are not shown here")
    return lines


def _forget_typed(descriptor: int) -> None:
    import termios

    with contextlib.suppress(termios.error):
        termios.tcflush(descriptor, termios.TCIFLUSH)
