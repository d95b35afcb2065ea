"""What is done about calls that go wrong: the model is told, asked once more with the call forced, then given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableSequence, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qianda.agents.announcement import NUDGE, announces_call
from qianda.agents.resources import Resources
from qianda.models.errors import ModelOutputError, ServerOverloaded, ServerRefused
from qianda.models.events import CallForced, Notice, Retrying
from qianda.models.family import find_family
from qianda.models.forcing import Forced, force_call
from qianda.models.messages import NO_USAGE, Content, Message, TextPart, ToolCall, ToolMessage, Usage
from qianda.models.reply import Reply

if TYPE_CHECKING:
    from qianda.agents.run import Run

TOLD_AFTER = 3
STOPPED_AFTER = 6
UNCHANGED = (
    f"(The same call has now given the same result {TOLD_AFTER} times in a row: nothing has changed. "
    "Do something else, or answer with what there is so far.)"
)
LOST = "The server passed on nothing of what the model wrote: its tool parser may be for another format"

Ask = Callable[[Forced | None], Awaitable[Reply]]


class Ladder:
    """Where a run stands with calls that cannot be read, do not validate, or are of no tool that there is.

    Whatever can be repaired was (``CallRepaired``). What cannot is told to the model word for word (``CallFailed``); if
    the very next reply gets the same tool wrong again, the one after it is asked for with the call forced
    (``CallForced``); if that is wrong too, the run ends with the error.
    """

    def __init__(self) -> None:
        self._rungs: dict[str, int] = {}
        self._due: tuple[int, str, str] | None = None
        self._repetition = Repetition()
        self._nudged = False
        self._document: Forced | None = None

    def refusal(self, calls: Sequence[ToolCall]) -> str:
        """What the calls of a reply are answered with instead of being run, or ""; see ``Repetition``."""
        return self._repetition.refusal(calls)

    def note(
        self, turn: int, calls: Sequence[ToolCall], wrong: Mapping[str, str], conversation: MutableSequence[Message]
    ) -> None:
        """Take in how the calls of a reply came out.

        Args:
            turn: the reply's number in the run.
            calls: the calls.
            wrong: what was wrong by tool, "" where a call of it could be run; the name "" stands for no known tool.
            conversation: it ends with the calls' results.

        Raises:
            ModelOutputError: the last rung was reached.
        """
        self._repetition.note(() if any(wrong.values()) else calls, conversation)
        self._rungs = {name: self._rungs.get(name, 0) + 1 for name, problem in wrong.items() if problem}
        for name, rung in self._rungs.items():
            if rung > 2:
                what = f"The model called {name} wrongly" if name else "The model made a call of no known tool"
                raise ModelOutputError(
                    f"{what} three times in a row: {wrong[name]}",
                    cure="Try again, another model, or a tool with simpler parameters",
                )
            if rung == 2:
                self._due = turn + 1, name, wrong[name]

    async def ask(self, run: Run[Any], resources: Resources, turn: int, ask: Ask) -> Reply:
        """Ask for a reply: with the call forced if that is due, and without force where that does not work."""
        spent: list[Usage] = []

        async def counted(forced: Forced | None) -> Reply:
            reply = await ask(forced)
            spent.append(reply.usage)
            return reply

        reply = await self._ask(run, resources, turn, counted)
        # What was thrown away has cost something too.
        return reply if len(spent) == 1 else replace(reply, usage=sum(spent, NO_USAGE))

    async def _ask(self, run: Run[Any], resources: Resources, turn: int, ask: Ask) -> Reply:
        if self._due is not None and self._due[0] == turn:
            _, name, reason = self._due
        else:
            reply = await self._unforced(run, ask)
            if not reply.lost or not resources.schemas:
                return reply
            # Seen of vLLM's XML parser, which drops calls in JSON from documents too: a grammar gives what it can read.
            name, reason = "", LOST
        endpoint = resources.client.endpoint
        forced = force_call(endpoint.kind, find_family(endpoint.model), resources.schemas, name or None)
        run.emit(CallForced, name=name, how=forced.how if forced else "", reason=reason)
        if forced is None:
            return await self._unforced(run, ask)
        try:
            reply = await ask(forced)
            if reply.calls or reply.finish != "length":
                return reply
            cause = "The forced call came to no end"
        except (ServerRefused, ServerOverloaded) as error:
            cause = f"A call could not be forced: {error.message}"
        run.emit(Retrying, cause=cause, attempt=2, wait=0.0, discard=True)
        return await self._unforced(run, ask)

    async def _unforced(self, run: Run[Any], ask: Ask) -> Reply:
        """Ask freely; from a stream that lost what the model wrote on, in one document."""
        reply = await ask(self._document)
        if reply.lost and self._document is None:
            self._document = Forced("", {"stream": False, "stream_options": None}, None)
            run.emit(Retrying, cause=LOST, attempt=2, wait=0.0, discard=True)
            reply = await ask(self._document)
        return reply

    def nudged(self, run: Run[Any], resources: Resources, reply: Reply) -> bool:
        """Say to the model, once a run, that it announced a call and made none; whether it was said.

        Not where an output type asks again in its own way.
        """
        if self._nudged or resources.output is not None or reply.finish != "stop":
            return False
        self._nudged = announces_call(reply.text, resources.tools)
        if self._nudged:
            run.take_input(NUDGE)
            run.emit(Notice, text="The model announced a call and made none; it is asked again")
        return self._nudged


class Repetition:
    """Whether a run goes in circles: the same calls with the same results, reply after reply.

    Who waits for something asks the same again and again, and honestly so. So a result that differs starts the count
    over; the third same result in a row tells the model that nothing has changed; only after the sixth the calls are
    not run any more, and the model is told to come to an end; after that the run ends.
    """

    def __init__(self) -> None:
        self._calls: list[tuple[str, str]] = []
        self._results: list[Content] = []
        self._times = 0

    def refusal(self, calls: Sequence[ToolCall]) -> str:
        """What the calls of a reply are answered with instead of being run: a sentence the seventh time, else "".

        Raises:
            ModelOutputError: they came again after that.
        """
        if self._times < STOPPED_AFTER or _key(calls) != self._calls:
            return ""
        if self._times > STOPPED_AFTER:
            names = ", ".join(dict.fromkeys(call.name for call in calls))
            raise ModelOutputError(
                f"The model goes in circles: it made the same call of {names} "
                f"{STOPPED_AFTER + 2} times in a row, and nothing changed",
                cure="Say what it should do with the result, let a tool that waits for something wait longer "
                "before it answers, or try another model",
            )
        return (
            f"This was not run again: it gave the same result {STOPPED_AFTER} times in a row. "
            "Use that result, do something else, or answer with what there is so far."
        )

    def note(self, calls: Sequence[ToolCall], conversation: MutableSequence[Message]) -> None:
        """Take in the calls of a reply that were run, and their results, which end the conversation."""
        key = _key(calls)
        ends = conversation[len(conversation) - len(calls) :]
        results = [message.content for message in ends if isinstance(message, ToolMessage)]
        refused = self._times >= STOPPED_AFTER and key == self._calls
        again = key == self._calls and (refused or results == self._results)
        self._times = self._times + 1 if again else 1
        self._calls, self._results = key, results
        last = conversation[-1] if calls and conversation else None
        if self._times == TOLD_AFTER and isinstance(last, ToolMessage):
            text = isinstance(last.content, str)
            told = f"{last.content}\n\n{UNCHANGED}" if text else (*last.content, TextPart(UNCHANGED))
            conversation[-1] = replace(last, content=told)


def _key(calls: Sequence[ToolCall]) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in calls]
