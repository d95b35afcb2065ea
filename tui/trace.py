"""What happened in the runs of a conversation, in order: everything but the pieces of text, within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from qianda.models.events import (
    ApprovalAsked,
    ArgumentsDelta,
    CallDenied,
    CallFailed,
    CallFinished,
    CallProgress,
    CallStarted,
    Event,
    PlanChanged,
    Retrying,
    TextDelta,
    ThinkingDelta,
    UsageReported,
)
from qianda.models.messages import content_text
from qianda.models.plan import Plan

MOST = 5_000
"""Steps that are kept."""
LARGEST = 10_000_000
"""Characters of arguments and results that are kept."""
_PIECES = (TextDelta, ThinkingDelta, ArgumentsDelta)


@dataclass(slots=True)
class Step:
    """One thing that happened.

    Args:
        event: what it was; of a call its beginning.
        seconds: of a request, from its beginning to its end.
        first: of a request, the seconds until its first piece came.
        asked: of a call, the question whether it may run.
        runs: of a call, whether it said something, so that it runs.
        end: of a call, how it ended.
    """

    event: Event
    seconds: float = 0.0
    first: float = 0.0
    asked: ApprovalAsked | None = None
    runs: bool = False
    end: CallFinished | CallFailed | CallDenied | None = None

    @property
    def size(self) -> int:
        """Characters that it holds."""
        size = len(self.event.arguments) if isinstance(self.event, CallStarted) else 200
        return size + len(content_text(self.end.content)) if isinstance(self.end, CallFinished) else size


class Trace:
    """Takes in the events of runs, those of agents that work for them too.

    Attributes:
        steps: what is kept, the oldest first.
        runs: the ids of all runs that were seen, in their order.
        plan: the plan as it stands, or None where there was none.
        tokens: of the last prompt and its reply, as the server counted them; 0 where it did not.
        watchers: called after each step that is new or has changed.
    """

    def __init__(self) -> None:
        self.watchers: set[Callable[[], None]] = set()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.steps: deque[Step] = deque()
        self.runs: dict[str, None] = {}
        self.plan: Plan | None = None
        self.tokens = 0
        self._size = 0
        self._calls: dict[tuple[str, str], Step] = {}
        self._begun: dict[str, float] = {}  # when each run's request began, as far as one can see
        self._first: dict[str, float] = {}  # when its first piece came

    def note(self, event: Event) -> None:
        """Take in an event; a piece of text costs next to nothing."""
        run = event.run_id
        if isinstance(event, _PIECES):
            if run not in self._first:
                self._first[run] = event.time
            return
        if isinstance(event, CallProgress):
            if (step := self._calls.get((run, event.call_id))) is None or step.runs:
                return
            step.runs = True
        self.runs[run] = None
        if isinstance(event, (ApprovalAsked, CallFinished, CallFailed, CallDenied)):
            self._follow(event)
        elif isinstance(event, UsageReported):
            if event.parent_run_id is None:
                self.tokens = event.request.total_tokens
            begun = self._begun.get(run, event.time)
            self._keep(Step(event, event.time - begun, self._first.pop(run, event.time) - begun))
        elif not isinstance(event, CallProgress):
            step = Step(event)
            self._keep(step)
            if isinstance(event, CallStarted):
                self._calls[run, event.call_id] = step
            elif isinstance(event, PlanChanged) and event.parent_run_id is None:
                self.plan = event.plan
        if run not in self._first:
            self._begun[run] = event.time + (event.wait if isinstance(event, Retrying) else 0.0)
        for watcher in self.watchers:
            watcher()

    def _follow(self, event: ApprovalAsked | CallFinished | CallFailed | CallDenied) -> None:
        """What became of a call."""
        step = self._calls.get((event.run_id, event.call_id))
        if step is None:
            return
        if isinstance(event, ApprovalAsked):
            step.asked = event
            return
        del self._calls[event.run_id, event.call_id]
        before = step.size
        step.end = event
        self._size += step.size - before
        self._bound()

    def _keep(self, step: Step) -> None:
        self.steps.append(step)
        self._size += step.size
        self._bound()

    def _bound(self) -> None:
        while len(self.steps) > MOST or (self._size > LARGEST and len(self.steps) > 1):
            self._size -= self.steps.popleft().size
