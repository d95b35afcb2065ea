"""What is done about calls that go wrong: the model is told, asked once more with the call forced, then given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qianda.agents.announcement import NUDGE, announces_call
from qianda.agents.resources import Resources
from qianda.models.client import Client
from qianda.models.errors import ModelOutputError, ServerOverloaded, ServerRefused
from qianda.models.events import CallForced, Notice, Retrying
from qianda.models.family import find_family
from qianda.models.forcing import Forced, force_call
from qianda.models.messages import NO_USAGE, Content, Message, TextPart, ToolCall, ToolMessage, Usage
from qianda.models.reply import Reply
from qianda.models.thinking import Thinking

if TYPE_CHECKING:
    from qianda.agents.run import Run

TOLD_AFTER = 3
REPLANNED_AFTER = 4
STOPPED_AFTER = 6
LONGEST_CIRCLE = 8  # replies
EMPTY = "Your last reply was empty. Answer the request, or call a tool."
REPLAN = "(Still the same. This step does not work in this way: call plan with other steps that remain.)"
UNCHANGED = (
    f"(The same call has now given the same result {TOLD_AFTER} times: nothing has changed. "
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
        self._empty = 0
        self._document: Forced | None = None

    def refusal(self, calls: Sequence[ToolCall]) -> str:
        """What the calls of a reply are answered with instead of being run, or ""; see ``Repetition``."""
        return self._repetition.refusal(calls)

    def note(
        self,
        turn: int,
        calls: Sequence[ToolCall],
        wrong: Mapping[str, str],
        conversation: MutableSequence[Message],
        *,
        planned: bool,
    ) -> None:
        """Take in how the calls of a reply came out.

        Args:
            turn: the reply's number in the run.
            calls: the calls.
            wrong: what was wrong by tool, "" where a call of it could be run; the name "" stands for no known tool.
            conversation: it ends with the calls' results.
            planned: there is a plan.

        Raises:
            ModelOutputError: the last rung was reached.
        """
        self._empty = 0
        self._repetition.note(() if any(wrong.values()) else calls, conversation, planned=planned)
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
        """Say to the model, once a run, that it announced a call and made none, or left its plan; whether it was said.

        Not where an output type asks again in its own way.
        """
        if resources.output is not None or reply.finish != "stop":
            return False
        if not self._nudged and announces_call(reply.text, resources.tools):
            self._nudged = True
            run.take_input(NUDGE)
            run.emit(Notice, text="The model announced a call and made none; it is asked again")
            return True
        return (resources.plan or run.plan is not None) and run.planning.nudged()

    def emptied(self, run: Run[Any], resources: Resources, reply: Reply, thinking: Thinking | None) -> Thinking | None:
        """React to a reply with nothing in it: the model is told, then thinks less, then the run ends.

        Args:
            run: the run.
            resources: its model.
            reply: it holds reasoning at the most.
            thinking: what it was asked with, None for what was wanted at first.

        Returns:
            What the next one is asked with.

        Raises:
            ModelOutputError: that did not help.
        """
        less = resources.client.less_thinking(thinking) if reply.reasoning or self._empty else None
        if less is not None:
            self._empty += not reply.reasoning
            what = "thought and gave no answer" if reply.reasoning else "gave an empty answer again"
            run.emit(Notice, text=f"The model {what}; it is asked again and thinks less")
            return less
        if reply.finish == "length":
            raise ModelOutputError(
                "The model used up its output before it came to an answer",
                cure="Raise Sampling(max_tokens=…) or the server's window, or switch thinking off",
            )
        if self._empty:
            times = "twice" if self._empty == 1 else f"{self._empty + 1} times"
            raise ModelOutputError(f"The model gave an empty answer {times}", cure="Try again, or another model")
        self._empty = 1
        run.take_input(EMPTY)
        run.emit(Notice, text="The model's reply was empty; it is asked again")
        return thinking

    def calmed(self, client: Client) -> Thinking | None:
        """How the model thinks after its calls: as was wanted, or less where it goes in circles."""
        return client.less_thinking(None) if self._repetition.times >= REPLANNED_AFTER else None


class Repetition:
    """Whether a run goes in circles: the same calls with the same results, one after another or in turns.

    Who waits for something asks the same again and again, and honestly so. So a result that differs, or a call that is
    new, starts the count over; the third same result tells the model that nothing has changed; before the fifth it
    thinks less and is told to make another plan; only after the sixth the calls are not run any more, and the model is
    told to come to an end; after that the run ends.
    """

    def __init__(self) -> None:
        self._seen: dict[_Key, _Seen] = {}
        self.times = 0

    def refusal(self, calls: Sequence[ToolCall]) -> str:
        """What the calls of a reply are answered with instead of being run: a sentence the seventh time, else "".

        Raises:
            ModelOutputError: they came again after that.
        """
        seen = self._seen.get(_key(calls))
        if seen is None or seen.times < STOPPED_AFTER:
            return ""
        if seen.times > STOPPED_AFTER:
            alone = all(other is seen or other.times == 1 for other in self._seen.values())
            names = ", ".join(dict.fromkeys(call.name for call in calls))
            raise ModelOutputError(
                f"The model goes in circles: it made the same call of {names} "
                f"{seen.times + 1} times {'in a row' if alone else 'in turns with others'}, "
                "and nothing changed",
                cure="Say what it should do with the result, let a tool that waits for something wait longer "
                "before it answers, or try another model",
            )
        return (
            f"This was not run again: it gave the same result {STOPPED_AFTER} times in a row. "
            "Use that result, do something else, or answer with what there is so far."
        )

    def note(self, calls: Sequence[ToolCall], conversation: MutableSequence[Message], *, planned: bool) -> None:
        """Take in the calls of a reply that were run, and their results, which end the conversation.

        Args:
            calls: the calls; none where some could not be run.
            conversation: the conversation.
            planned: there is a plan, which may be the mistake.
        """
        self.times = 0
        if not calls:
            self._seen.clear()
            return
        key = _key(calls)
        ends = conversation[len(conversation) - len(calls) :]
        results = [message.content for message in ends if isinstance(message, ToolMessage)]
        seen = self._seen.pop(key, None)
        if seen is not None and (seen.times >= STOPPED_AFTER or seen.results == results):
            seen.times += 1
        else:
            # Something new: what came before it does not count, but may still come again.
            for earlier in self._seen.values():
                earlier.times = 1
            while len(self._seen) >= LONGEST_CIRCLE:
                del self._seen[next(iter(self._seen))]
            seen = _Seen(results)
        self._seen[key] = seen
        self.times = seen.times
        told = {TOLD_AFTER: UNCHANGED, REPLANNED_AFTER: REPLAN if planned else ""}.get(self.times)
        last = conversation[-1]
        if told and isinstance(last, ToolMessage):
            text = isinstance(last.content, str)
            content = f"{last.content}\n\n{told}" if text else (*last.content, TextPart(told))
            conversation[-1] = replace(last, content=content)


_Key = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Seen:
    """What the calls of a reply gave, and how often."""

    results: list[Content]
    times: int = 1


def _key(calls: Sequence[ToolCall]) -> _Key:
    return tuple((call.name, call.arguments) for call in calls)
