"""The events of a run: one frozen union for the command line, the terminal UI, logs and tests.

Every event carries an envelope: ``v`` (version of this format), ``run_id``, ``parent_run_id``, ``seq`` (from 0, one
sequence per run) and ``time`` (seconds since the epoch). ``to_json`` and ``from_json`` round-trip.

The order within one tool call: any number of ``ArgumentsDelta`` while the model writes it, ``CallStarted`` when it is
whole, ``CallRepaired`` if it had to be mended, ``ApprovalAsked`` if someone has to agree, any number of
``CallProgress`` and ``QuestionAsked``, then exactly one of ``CallFinished``, ``CallFailed`` and ``CallDenied``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from qianda.models.messages import NO_USAGE, Content, Usage
from qianda.models.plan import Plan

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every event carries."""

    run_id: str
    parent_run_id: str | None = None
    seq: int
    time: float
    v: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Envelope):
    """A run began: with which server and model, and why these.

    Args:
        call_id: the call of the parent run that it works for; "" for a run of its own.
    """

    server: str
    model: str
    why: str
    call_id: str = ""
    type: Literal["run_started"] = "run_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Envelope):
    """A run ended; always the last event.

    Args:
        reason: ``done``, ``plan`` (it is the answer, as nobody was there to accept it), ``limit``, ``cancelled`` or
            ``error``.
        which: the limit that was reached, or the class of the error; else "".
        message: for a person: what happened and what to do next; "" when all is well.
        output: the answer, as far as there is one.
    """

    reason: Literal["done", "plan", "limit", "cancelled", "error"]
    which: str = ""
    message: str = ""
    output: str = ""
    usage: Usage = NO_USAGE
    type: Literal["run_finished"] = "run_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class InputReceived(Envelope):
    """The prompt, or a message that came in while the run went on (steering)."""

    content: Content
    steering: bool = False
    type: Literal["input_received"] = "input_received"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingDelta(Envelope):
    """More of the model's reasoning."""

    text: str
    type: Literal["thinking_delta"] = "thinking_delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta(Envelope):
    """More of the model's answer."""

    text: str
    type: Literal["text_delta"] = "text_delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentsDelta(Envelope):
    """More of a tool call that the model is writing: a preview, to be replaced by ``CallStarted``.

    Args:
        index: which call of the reply, from 0. The call has no id before it is whole.
        name: the tool's name, or "" in later pieces.
        text: more of the arguments' JSON text.
    """

    index: int
    name: str
    text: str
    type: Literal["arguments_delta"] = "arguments_delta"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnvelope(Envelope):
    """What every event of a tool call carries."""

    call_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(CallEnvelope):
    """A whole call is being handled; ``arguments`` is its JSON text."""

    arguments: str
    type: Literal["call_started"] = "call_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRepaired(CallEnvelope):
    """The call was not right as the model wrote it and could be mended; comes behind its ``CallStarted``.

    Args:
        reason: what was mended.
    """

    reason: str
    type: Literal["call_repaired"] = "call_repaired"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallForced(Envelope):
    """The next reply is asked for with a call forced, because the model did not get it right by itself.

    Args:
        name: the tool that has to be called, or "" for any.
        how: by what: a named choice, ``required``, a grammar; "" where this server and model allow none of them.
        reason: what was wrong with the calls before.
    """

    name: str
    how: str
    reason: str
    type: Literal["call_forced"] = "call_forced"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked(CallEnvelope):
    """Someone has to agree before the call runs; answer by ``approve=`` or ``run.answer(request_id, …)``.

    Args:
        request_id: what ``run.answer`` takes.
        arguments: the call's validated arguments, as JSON text.
        description: the tool's own description.
        reason: why it is asked.
        rule: the allow rule that ``Decision.allow("rule")`` saves, or "" when there is none to save.
    """

    request_id: str
    arguments: str
    description: str
    reason: str
    rule: str = ""
    type: Literal["approval_asked"] = "approval_asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAsked(CallEnvelope):
    """A running tool asks the user; answer by ``ask=`` or ``run.answer(request_id, "text" | {…} | None)``.

    Args:
        request_id: what ``run.answer`` takes.
        question: for a person.
        options: answers to choose from; another text may be given all the same.
        schema: JSON Schema of an object to be filled in, or None where a text is wanted.
    """

    request_id: str
    question: str
    options: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    type: Literal["question_asked"] = "question_asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProgress(CallEnvelope):
    """A running tool says how far it is, or shows output as it comes."""

    text: str
    type: Literal["call_progress"] = "call_progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished(CallEnvelope):
    """The tool ran; ``content`` is what the model reads. ``replayed`` when it came from the record.

    ``rule`` is what of the permissions let it run, ``step`` the step of undo that keeps what it changed, or 0.
    """

    content: Content
    seconds: float
    replayed: bool = False
    rule: str = ""
    step: int = 0
    type: Literal["call_finished"] = "call_finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed(CallEnvelope):
    """The tool failed, was not there, or could not be called so; ``error`` is what the model reads.

    ``rule`` is what of the permissions let it run, or "" when it did not come to that.
    """

    error: str
    seconds: float
    rule: str = ""
    type: Literal["call_failed"] = "call_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallDenied(CallEnvelope):
    """The call was not run, by a rule or a person.

    Args:
        reason: why; the model reads it too.
        by: ``rule``, ``person``, or ``nobody`` when there was no one to ask.
        rule: what denied it, or had someone asked; with ``nobody`` the allow rule that would let it run, or "".
    """

    reason: str
    by: Literal["rule", "person", "nobody"]
    rule: str = ""
    type: Literal["call_denied"] = "call_denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReported(Envelope):
    """Tokens of the model request that just ended, and of the run so far."""

    request: Usage
    total: Usage
    type: Literal["usage_reported"] = "usage_reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying(Envelope):
    """A model request failed and is made again.

    Args:
        cause: what went wrong, in one sentence.
        attempt: the attempt that comes now, from 2.
        wait: seconds until then.
        discard: text, thinking and call previews of this turn so far are void; they come again.
    """

    cause: str
    attempt: int
    wait: float
    discard: bool
    type: Literal["retrying"] = "retrying"


@dataclass(frozen=True, slots=True, kw_only=True)
class Discarded(Envelope):
    """Text and thinking of this turn so far are void and come again: they were read wrongly at first."""

    reason: str
    type: Literal["discarded"] = "discarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted(Envelope):
    """The conversation was made shorter, because the next prompt would not have fitted the context window.

    Args:
        stage: how far it had to go: old results put away (``results``), old reasoning dropped (``reasoning``), a
            summary in the place of old messages (``summary``), or long texts cut (``cut``).
        before: tokens of the prompt, about.
        after: likewise.
        results: how many results were put away or cut.
        thoughts: from how many messages the reasoning was dropped.
        dropped: how many messages the summary stands for.
    """

    stage: Literal["results", "reasoning", "summary", "cut"]
    before: int
    after: int
    results: int = 0
    thoughts: int = 0
    dropped: int = 0
    type: Literal["compacted"] = "compacted"

    @property
    def text(self) -> str:
        """All of it in one line, for people."""
        what = [
            f"{self.dropped} messages summarised" if self.dropped else "",
            f"{self.results} results shortened" if self.results else "",
            f"the reasoning of {self.thoughts} replies dropped" if self.thoughts else "",
        ]
        return f"Context compacted: {self.before:,} to {self.after:,} tokens ({', '.join(filter(None, what))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Envelope):
    """Something worth saying that changes nothing: shown to people, not to the model."""

    text: str
    type: Literal["notice"] = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChanged(Envelope):
    """The plan was written, revised or accepted, or a step of it has another state."""

    plan: Plan
    type: Literal["plan_changed"] = "plan_changed"


Event = (
    RunStarted
    | RunFinished
    | InputReceived
    | ThinkingDelta
    | TextDelta
    | ArgumentsDelta
    | CallStarted
    | CallRepaired
    | CallForced
    | ApprovalAsked
    | QuestionAsked
    | CallProgress
    | CallFinished
    | CallFailed
    | CallDenied
    | UsageReported
    | Retrying
    | Discarded
    | Compacted
    | Notice
    | PlanChanged
)

_adapter: TypeAdapter[Any] | None = None


def to_json(event: Event) -> str:
    """One line of JSON."""
    return orjson.dumps(event).decode()


def from_json(line: str | bytes) -> Event:
    """Read what ``to_json`` wrote.

    Raises:
        ValueError: the line is not an event of this version.
    """
    global _adapter
    if _adapter is None:
        from typing import Annotated

        from pydantic import Field, TypeAdapter

        _adapter = TypeAdapter(Annotated[Event, Field(discriminator="type")])
    return _adapter.validate_json(line)
