"""What is done about calls that go wrong: the model is told, asked once more with the call forced, then given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qianda.agents.resources import Resources
from qianda.models.errors import ModelOutputError, ServerOverloaded, ServerRefused
from qianda.models.events import CallForced, Retrying
from qianda.models.family import find_family
from qianda.models.forcing import Forced, force_call
from qianda.models.messages import Content, Message, ToolCall, ToolMessage
from qianda.models.reply import Reply

if TYPE_CHECKING:
    from qianda.agents.run import Run

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

    def refusal(self, calls: Sequence[ToolCall]) -> str:
        """What the calls of a reply are answered with instead of being run, or ""; see ``Repetition``."""
        return self._repetition.refusal(calls)

    def note(
        self, turn: int, calls: Sequence[ToolCall], wrong: Mapping[str, str], conversation: Sequence[Message]
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
        if self._due is None or self._due[0] != turn:
            return await ask(None)
        _, name, reason = self._due
        endpoint = resources.client.endpoint
        forced = force_call(endpoint.kind, find_family(endpoint.model), resources.schemas, name or None)
        run.emit(CallForced, name=name, how=forced.how if forced else "", reason=reason)
        if forced is None:
            return await ask(None)
        try:
            reply = await ask(forced)
            if reply.calls or reply.finish != "length":
                return reply
            cause = "The forced call came to no end"
        except (ServerRefused, ServerOverloaded) as error:
            cause = f"A call could not be forced: {error.message}"
        run.emit(Retrying, cause=cause, attempt=2, wait=0.0, discard=True)
        return await ask(None)


class Repetition:
    """Whether a run goes in circles: the same calls with the same results, reply after reply."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str]] = []
        self._results: list[Content] = []
        self._times = 0

    def refusal(self, calls: Sequence[ToolCall]) -> str:
        """What the calls of a reply are answered with instead of being run: a sentence the third time, else "".

        Raises:
            ModelOutputError: they came again after that.
        """
        if self._times < 2 or _key(calls) != self._calls:
            return ""
        names = ", ".join(dict.fromkeys(call.name for call in calls))
        if self._times > 2:
            raise ModelOutputError(
                f"The model goes in circles: it made the same call of {names} four times in a row",
                cure="Say what it should do with the result, or try another model",
            )
        return (
            "This was not run again: the same call was made twice just before, and its result was the same both times. "
            "Use that result, do something else, or answer."
        )

    def note(self, calls: Sequence[ToolCall], conversation: Sequence[Message]) -> None:
        """Take in the calls of a reply that were run, and their results, which end the conversation."""
        key = _key(calls)
        ends = conversation[len(conversation) - len(calls) :]
        results = [message.content for message in ends if isinstance(message, ToolMessage)]
        refused = self._times == 2 and key == self._calls
        again = key == self._calls and (refused or results == self._results)
        self._times = self._times + 1 if again else 1
        self._calls, self._results = key, results


def _key(calls: Sequence[ToolCall]) -> list[tuple[str, str]]:
    return [(call.name, call.arguments) for call in calls]
