"""The trace: what happened in the runs of this conversation, in order, with times, tokens, causes and rules."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType

from qianda.models.events import (
    CallDenied,
    CallFailed,
    CallFinished,
    CallForced,
    CallRepaired,
    CallStarted,
    Compacted,
    Discarded,
    Envelope,
    InputReceived,
    Notice,
    PlanChanged,
    QuestionAsked,
    Retrying,
    RunFinished,
    RunStarted,
    UsageReported,
)
from qianda.models.messages import content_text
from qianda.models.plan import plan_text
from qianda.tui.screens.detail import TextBlock, code, json_code
from qianda.tui.screens.items import Column, Item, Tone
from qianda.tui.screens.listing import ListScreen
from qianda.tui.trace import Step
from qianda.tui.transcript.answer import LazyBlock
from qianda.tui.transcript.blocks import Block, duration
from qianda.tui.words import t

if TYPE_CHECKING:
    from qianda.tui.chat import Chat

AGAIN = 0.2
"""Seconds between two looks at a run that goes on."""


class TraceScreen(ListScreen[Step]):
    """A line per step; it grows while a run goes on."""

    COLUMNS = (Column(most=8), Column(most=12), Column(grow=True), Column(most=24))
    BESIDE = False
    HEADING = "Trace of this conversation"
    EMPTY = "Nothing happened yet; what an earlier program did is in: qianda sessions show NAME"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "details"),
        Binding("c", "copy", "copy"),
    ]

    def __init__(self, chat: Chat) -> None:
        super().__init__(chat)
        self._waiting = False

    def on_mount(self) -> None:
        """Watch the run."""
        super().on_mount()
        self.chat.trace.watchers.add(self._changed)

    def on_unmount(self) -> None:
        """Look away."""
        self.chat.trace.watchers.discard(self._changed)

    def _changed(self) -> None:
        if not self._waiting:
            self._waiting = True
            self.set_timer(AGAIN, self._again)

    def _again(self) -> None:
        self._waiting = False
        self.reload()

    async def load(self) -> Sequence[Item[Step]]:
        """The steps."""
        made = {item.key: item for item in self.items if not _went_on(item)}
        return [made.get(_key(step)) or _item(step) for step in self.chat.trace.steps]

    async def _show(self) -> None:
        new = not self.list.items
        at_end = self.list.at == len(self.list.items) - 1
        await super()._show()
        if new or at_end:
            self.list.go(len(self.list.items) - 1)

    async def detail(self, item: Item[Step]) -> Sequence[Block]:
        """All that is known of a step."""
        return _details(item.value)

    def action_copy(self) -> None:
        """Copy what is known of the marked step."""
        if self.item is not None:
            text = "\n\n".join(block.text for block in _details(self.item.value))
            self.program.copy_to_clipboard(text)
            self.say(t("Copied {count} characters", count=len(text)))


def _key(step: Step) -> str:
    return f"{step.event.run_id}/{step.event.seq}"


def _went_on(item: Item[Step]) -> bool:
    """Whether it was a call that had not ended, when the item was made."""
    return isinstance(item.value.event, CallStarted) and not item.tone


def _item(step: Step) -> Item[Step]:
    event = step.event
    what, about, result, tone = _told(step)
    depth = "· " * event.run_id.count(".")
    when = time.strftime("%H:%M:%S", time.localtime(event.time))
    return Item(_key(step), (when, depth + what, about, result), step, tone)


def _told(step: Step) -> tuple[str, str, str, Tone]:
    """What it is, about what, what came of it, and how it looks."""
    event = step.event
    match event:
        case CallStarted():
            state, result, tone = _call_end(step)
            return t("call"), f"{event.name} {event.arguments}", f"{state} {result}".strip(), tone
        case UsageReported():
            return t("reply"), *_reply(event, step), ""
        case RunStarted():
            return t("run"), f"{event.model} · {event.server} · {event.why}", "", "muted"
        case RunFinished():
            tone = "error" if event.reason == "error" else "muted" if event.reason == "done" else "warning"
            return t("end"), event.message or event.which, t(event.reason), tone
        case InputReceived():
            return (t("steering") if event.steering else t("prompt")), content_text(event.content), "", ""
        case Retrying():
            attempt = t("attempt {number} after {wait}", number=event.attempt, wait=duration(event.wait))
            return t("retry"), event.cause, attempt, "warning"
        case CallForced():
            return t("forced"), event.reason, event.name or event.how, "warning"
        case CallRepaired():
            return t("mended"), event.reason, event.name, "warning"
        case Discarded():
            return t("discarded"), event.reason, "", "warning"
        case Compacted():
            return t("compacted"), event.text, "", "warning"
        case PlanChanged():
            steps, left = event.plan.steps, event.plan.open
            now = f"{left[0]}. {steps[left[0] - 1].text}" if left else ""
            return t("plan"), now, t("{over} of {count} over", over=len(steps) - len(left), count=len(steps)), ""
        case QuestionAsked():
            return t("question"), event.question, event.name, ""
        case Notice():
            return t("notice"), event.text, "", "muted"
        case _:
            return event.type, "", "", "muted"


def _call_end(step: Step) -> tuple[str, str, Tone]:
    match step.end:
        case CallFinished():
            return t("done"), t("from the record") if step.end.replayed else duration(step.end.seconds), "good"
        case CallFailed():
            return t("failed"), duration(step.end.seconds), "error"
        case CallDenied():
            return t("denied"), {"person": t("by you"), "rule": t("by a rule")}.get(step.end.by, ""), "warning"
        case _:
            return (t("asking") if step.asked is not None and not step.runs else t("running")), "", ""


def _reply(event: UsageReported, step: Step) -> tuple[str, str]:
    """Tokens and the time to the first, all the time and the speed from then on."""
    used, rest = event.request, step.seconds - step.first
    tokens = t("{sent} → {written} tokens", sent=f"{used.input_tokens:,}", written=f"{used.output_tokens:,}")
    speed = f" · {used.output_tokens / rest:,.0f} {t('tokens/s')}" if rest > 0.01 else ""
    return f"{tokens}, {t('first')} {duration(step.first)}", f"{duration(step.seconds)}{speed}"


def _details(step: Step) -> list[TextBlock | LazyBlock]:
    event = step.event
    _, about, result, _ = _told(step)
    if isinstance(event, PlanChanged):
        return [TextBlock(plan_text(event.plan))]
    if not isinstance(event, CallStarted):
        facts = "\n".join(f"{name}: {value}" for name, value in _facts(event) if value not in ("", None, False, about))
        return [*map(TextBlock, filter(None, (about, result))), TextBlock(facts, "call-note", gap=True)]
    blocks: list[TextBlock | LazyBlock] = [TextBlock(f"{event.name}: {result}", "strong"), json_code(event.arguments)]
    if step.asked is not None:
        blocks.append(TextBlock(f"{t('asked, as')} {step.asked.reason}", "call-note"))
    match step.end:
        case CallFinished():
            blocks.append(code(content_text(step.end.content)))
        case CallFailed():
            blocks.append(TextBlock(step.end.error, "call-failed-text"))
        case CallDenied():
            blocks.append(TextBlock(step.end.reason, "call-denied-text"))
        case _:
            pass
    if step.end is not None and step.end.rule:
        blocks.append(TextBlock(f"{t('rule')}: {step.end.rule}", "call-note"))
    return blocks


def _facts(event: Any) -> list[tuple[str, Any]]:
    """The fields of an event that no line says, the envelope's last."""
    envelope = [field.name for field in fields(Envelope)]
    names = [field.name for field in fields(event) if field.name not in envelope]
    return [(name, getattr(event, name)) for name in (*names, "run_id", "parent_run_id", "seq")]
