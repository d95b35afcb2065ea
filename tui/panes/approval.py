"""The approval: takes the prompt's place, shows the whole call or its difference, and has No in focus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from qianda.tui.panes.asking import AskingPane, Choice
from qianda.tui.panes.shown import Rows, What, head_row, hunk_blocks, text_block
from qianda.tui.transcript.diff_rows import diff_rows
from qianda.tui.transcript.rows import Row, flow, flow_text, visible
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tools.permissions import ApprovalRequest, Decision
    from qianda.tui.transcript.blocks import Block
    from qianda.tui.transcript.diff import Diff

INDENT = "  "
_PAGES: Mapping[str, tuple[str, ...]] = {
    "": ("no", "tell", "all", "once", "session", "rule"),
    "why": (),
    "rule": ("back", "save"),
}


def call_blocks(request: ApprovalRequest, diff: Diff | None, *, whole: bool = True) -> list[Block]:
    """The whole call as it will be run, nothing left out and nothing hidden.

    Args:
        request: the call.
        diff: what it would change in a file, shown in the place of the arguments that say it.
        whole: with the difference itself, not only what else the call says.
    """
    from qianda.tui.transcript.changes import told_by_difference

    arguments = dict(request.arguments)
    blocks: list[Block] = []
    for name in ("command", "code"):
        if isinstance(command := arguments.get(name), str):
            del arguments[name]
            language = "bash" if name == "command" else "python"
            blocks.append(Rows(lambda width, text=command, how=language: _command_rows(text, how, width)))
            break
    for name in told_by_difference(arguments) if diff is not None else ():
        del arguments[name]
    text = _arguments_text(arguments)
    if text or not (blocks or diff):
        blocks.append(text_block(text or t("(no arguments)")))
    if diff is not None and whole:
        blocks.append(Rows(lambda width: [head_row(diff, width)]))
        for number, hunk in enumerate(diff.hunks):
            blocks += hunk_blocks(diff, hunk, diff_rows, gap=number > 0)
    return blocks


def _arguments_text(arguments: dict[str, Any]) -> str:
    lines: list[str] = []
    for name, value in arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(f"{name}: {text}" if "\n" not in text else f"{name}:\n{text}")
    return "\n".join(lines)


def _command_rows(text: str, language: str, width: int) -> list[Row]:
    from qianda.tui.transcript.code import coloured_lines

    rows: list[Row] = []
    for number, runs in enumerate(coloured_lines(text, language)):
        first = [("  " if number else "$ " if language == "bash" else "> ", "call-note")]
        plain = [(piece, style.replace("code-block", "").strip()) for piece, style in runs]
        rows += flow(plain, width, first=first, rest=[(INDENT, "")], gutter=len(INDENT))
    return rows


def facts(request: ApprovalRequest) -> str:
    """What the call touches, where its arguments alone do not say it: "" for nothing."""
    effects, told = request.effects, " ".join(str(value) for value in request.arguments.values())
    # As the call prefixes it where the shell is not in the workspace's top folder.
    before, _, command = effects.command.partition(" && ")
    folder = before.removeprefix("cd ") if effects.keeps_folder and command == request.arguments.get("command") else ""
    untold = [path for path in effects.writes if path not in told]
    parts = [
        *([t("runs in {folder}", folder=folder)] if folder else []),
        *([t("changes {paths}", paths=", ".join(untold))] if untold else []),
        *([t("goes to {hosts}", hosts=", ".join(map(_host, effects.urls)))] if effects.urls else []),
    ]
    return visible(" · ".join(parts))


def _reason(request: ApprovalRequest) -> str:
    """Why it is asked, without the agent that the title names and without words for programmers."""
    reason = request.reason.partition(": permissions ")[0]
    for agent in filter(None, request.agent.split(" › ")):
        reason = reason.removeprefix(f"the agent {agent}: ")
    return reason


def _host(url: str) -> str:
    # What a browser would go to, which a long address may hide.
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or url


class ApprovalPane(AskingPane):
    """Asks about one call.

    Args:
        request: the call.
        answer: gets the decision.
        diff: what it would change in a file, or None.
        deny_all: says no to this call and to all that wait behind it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+f", "whole", show=False)]
    first = "no"

    def __init__(
        self,
        request: ApprovalRequest,
        answer: asyncio.Future[Decision],
        *,
        diff: Diff | None = None,
        deny_all: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.request = request
        self.diff = diff
        self._answer = answer
        self._deny_all = deny_all
        self._page = ""  # the answers, or "why" or "rule"
        self._waiting = (1, 1)

    @property
    def keys(self) -> tuple[str, ...]:
        """The same as elsewhere, and the key of the full screen."""
        if self._page == "why":
            return (t("Enter says no, with the reason · Esc goes back"), t("Esc goes back"))
        if self._page == "rule":
            return (t("Up/Down choose · Enter answers · Esc goes back"), t("Esc goes back"))
        whole = t("Ctrl+F shows the difference whole") if self.diff else t("Ctrl+F shows it whole")
        return (
            f"{t('Up/Down choose · Enter answers')} · {whole} · {t('Esc stops the run')}",
            f"{t('Up/Down, Enter')} · {whole} · {t('Esc stops')}",
            f"{t('Up/Down, Enter')} · {t('Ctrl+F whole')} · {t('Esc stops')}",
            t("Esc stops"),
        )

    def compose(self) -> ComposeResult:
        """Title, the whole call, what it touches and why it is asked, the answers."""
        request = self.request
        yield Static(id="title", markup=False)
        yield What(*call_blocks(request, self.diff), tell=self.show_hidden)
        yield Static(id="more", markup=False)
        about = [facts(request), visible(_reason(request))]
        yield Static("\n".join(filter(None, about)), id="reason", markup=False)
        yield Choice("no", t("No"))
        yield Choice("tell", t("No, and say why"))
        yield Choice("all", "")
        yield Choice("once", t("Yes, once"))
        yield Choice("session", t("Yes, and not asked again in this session for exactly this call"))
        if request.rule:
            yield Choice("rule", t("Yes, by a rule from now on; it is shown before it is saved"))
            yield Choice("back", t("Back, and save nothing"))
            yield Choice("save", t("Save this rule, and run the call"))
        yield Input(placeholder=t("Why not? The model reads it. Enter sends, Esc goes back"), id="why", compact=True)

    def prepare(self) -> None:
        """One page at a time."""
        self._show_page("")

    def wait_among(self, place: int, total: int) -> None:
        """How many approvals wait.

        Args:
            place: of this one, from 1.
            total: with those that were answered since the first.
        """
        self._waiting = (place, total)
        if self.display:  # it shows already
            self._show_page(self._page)

    def _show_page(self, page: str) -> None:
        place, total = self._waiting
        name, agent = visible(self.request.name), visible(self.request.agent)
        title = t("Run {name} for the agent {agent}?", name=name, agent=agent) if agent else t("Run {name}?", name=name)
        if page == "rule":
            title = t("Save this rule?")
        count = t("{place} of {total}", place=place, total=total)
        self.query_one("#title", Static).update(f"{title} · {count}" if total > 1 else title)
        for choice in self.query(Choice):
            ids = (
                ("back", "save") if page == "rule" else () if page else ("no", "tell", "all", "once", "session", "rule")
            )
            choice.display = choice.id in ids and (choice.id != "all" or total > place)
            if choice.id == "all":
                choice.say(t("No to all {count} that wait", count=total - place + 1))
        self.query_one("#reason").display = page != "rule"
        self.query_one("#why").display = page == "why"

    def _turn(self, page: str, key: str) -> None:
        """Go to another page."""
        if "rule" in (page, self._page) and page != self._page:
            what = self.query_one(What)
            what.show(*([self._rule_block()] if page == "rule" else call_blocks(self.request, self.diff)))
        self._page = page
        self._show_page(page)
        self.focus_on(key)
        self.say_keys()

    def _rule_block(self) -> Block:
        from qianda.models.config import saved_rules_path

        told = t(
            "Every call of {name} that fits it runs unasked in {folder}, whatever else the call says, also in later "
            "sessions. It is saved in {path}: take the line out there, and it is asked again.",
            name=visible(self.request.name),
            folder=self.request.workspace,
            path=saved_rules_path(),
        )
        rule = self.request.rule.replace("\n", "\\n")
        return Rows(lambda width: flow_text(rule, width, "call-name") + flow_text(told, width, "call-note"))

    def action_whole(self) -> None:
        """Ctrl+F: the call, or its difference, on the whole screen."""
        from qianda.tui.screens.diff import DiffScreen

        title = t("Run {name}?", name=visible(self.request.name))
        blocks = call_blocks(self.request, self.diff, whole=False)
        self.app.push_screen(DiffScreen(title, self.diff, blocks))  # pyright: ignore[reportUnknownMemberType] - Textual's

    def choose(self, key: str) -> None:
        """Take an answer."""
        from qianda.tools.permissions import Decision

        match key:
            case "once":
                self._decide(Decision.allow())
            case "session":
                self._decide(Decision.allow(scope="session"))
            case "rule":
                self._turn("rule", "back")
            case "save":
                self._decide(Decision.allow(scope="rule"))
            case "tell":
                self._turn("why", "why")
            case "back":
                self.back()
            case "all" if self._deny_all is not None:
                self._deny_all()
            case _:
                self._decide(Decision.deny())

    def _decide(self, decision: Decision) -> None:
        if not self._answer.done():
            self._answer.set_result(decision)

    def back(self) -> bool:
        """From the reason or the rule back to the answers; whether it was there."""
        if not self._page:
            return False
        self._turn("", "no")
        return True

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """No, with a reason."""
        from qianda.tools.permissions import Decision

        event.stop()
        self._decide(Decision.deny(event.value.strip()))
