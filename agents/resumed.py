"""Going on with a run that was interrupted: the loop takes the recorded path again, and does what was not done yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from qianda.agents.conversation import gone_on, history_of, read_content
from qianda.agents.journal import Journal, Record, read_back
from qianda.agents.journal_forks import copy_run, cut
from qianda.agents.plan import INSTRUCTIONS
from qianda.agents.resources import Resources
from qianda.agents.result import T
from qianda.agents.run import Run
from qianda.models.errors import ConfigurationError
from qianda.models.events import Event, Notice, PlanChanged, RunFinished, RunStarted
from qianda.models.messages import Content, Message, Usage, UserMessage
from qianda.models.plan import Plan

if TYPE_CHECKING:
    from qianda.agents.agent import Agent


class Resumed(Run[T]):
    """A run that goes on where its record ends; made by ``agent.resume``, ``session.resume`` and ``run.fork``.

    Replies and calls that are in the record are not repeated. A call that was in flight is made again if its tool is
    read-only or idempotent; else the model is told that its outcome is unknown.
    """

    def __init__(
        self,
        agent: Agent[T],
        run_id: str,
        journal: Journal,
        *,
        history: Sequence[Message],
        context: Any,
        session: str | None = None,
        watched: bool = True,
    ) -> None:
        records = list(journal.records(run_id))
        self._said = _inputs(records)
        if not self._said[0]:
            raise ConfigurationError(f"The run {run_id} never began", cure="Run its prompt again")
        prompt = self._said[0][0]
        super().__init__(
            agent, prompt, history=history, context=context, watched=watched, session=session, journal=journal
        )
        self.id = run_id
        self.resumed = True
        self._unread = _unread(records)
        self._places = _places(records)
        self._plan_mode = self._places[-1].mode
        self._stand(self._places[-1])
        self._replies = sum(record.kind == "model" and record.state == "finished" for record in records)
        self._calls = sum(record.kind == "tool" and record.state == "finished" for record in records)
        self._steps = max(
            (orjson.loads(record.data)["step"] for record in records if record.kind == "files"), default=0
        )
        self._inner = _used(records)
        self._turn = 0
        self._quiet = False

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """Give out an event, but none of what was given out before."""
        if not self._quiet or kind in (RunStarted, RunFinished):
            super().emit(kind, **fields)

    def _start(self, resources: Resources) -> None:
        if self._plan_mode and not resources.plan:  # it was in plan mode before
            from qianda.tools.builtin.plan import plan

            resources.add_tools([plan])
            resources.instructions = f"{resources.instructions}\n\n{INSTRUCTIONS}".strip()
        super()._start(resources)

    def _note_start(self, resources: Resources) -> None:
        self._plan_mode |= resources.plan  # whoever resumes it has not accepted the plan by that
        resources.journal.claim(self.id)
        done = {"replies": self._replies, "calls": self._calls, "plan": self._plan_mode}
        resources.journal.note(self.id, "resume", done)
        self.steps.count = max(self.steps.count, self._steps)
        for used in self._inner:
            self.usage += Usage(**used["usage"])
            if used["cost"] is not None:
                self.cost = (self.cost or 0.0) + used["cost"]

    @property
    def has_steering(self) -> bool:
        """Whether something was said that the model has not read."""
        if self._said and self._said[0]:
            return True
        return self._turn >= self._replies and (bool(self._unread) or super().has_steering)

    def take_steering(self) -> None:
        """Move what was said at this place into the conversation; behind the recorded path, what was not read then."""
        assert self._resources is not None
        for content in self._said.popleft() if self._said else ():
            self.conversation.append(UserMessage(content))
        last = self._turn >= self._replies - 1
        if self._turn < self._replies:
            # As it was when this was done first: what is said and done about the plan depends on it.
            self._stand(self._places[-1 if last else self._turn])
        self._resources.plan = self._plan_mode if last else self._places[self._turn].mode
        self._turn += 1
        self._quiet = self._turn < self._replies
        if self._turn == self._replies:
            done = f"{self._replies} replies and {self._calls} calls"
            self.emit(Notice, text=f"Resumed: {done} were done before and are not repeated")
        if self._turn == max(self._replies, 1) and self.plan is not None:
            self.emit(PlanChanged, plan=self.plan)
        if self._turn > self._replies:
            self._steering[:0], self._unread = self._unread, []
            super().take_steering()

    def _stand(self, place: _Place) -> None:
        self.plan, self.plan_changed = place.plan, place.changed

    def take_input(self, content: Content) -> None:
        """Put a user message into the conversation, and into the record unless it is there."""
        if self._said and self._said[0] and self._said[0][0] == content:
            self._said[0].popleft()
            self.conversation.append(UserMessage(content))
        else:
            super().take_input(content)


def _inputs(records: Iterable[Record]) -> deque[deque[Content]]:
    """What was said before each reply of the model."""
    places: deque[deque[Content]] = deque([deque()])
    begun: set[str] = set()
    for record in records:
        if record.kind == "input":
            places[-1].append(read_content(record.data))
        elif record.kind == "model" and record.key not in begun:
            begun.add(record.key)
            places.append(deque())
    return places


def _used(records: Iterable[Record]) -> Iterable[dict[str, Any]]:
    """What the agents used up that were given tasks by calls which have finished."""
    used: dict[str, dict[str, Any]] = {}
    finished: set[str] = set()
    for record in records:
        if record.kind == "usage":
            data = orjson.loads(record.data)
            used[data["call"]] = data
        elif record.kind == "tool" and record.state == "finished":
            finished.add(record.key)
    return [data for call, data in used.items() if call in finished]


def _unread(records: Iterable[Record]) -> list[Content]:
    """What was said while the run went on, and not read before it stopped."""
    waiting: deque[bytes] = deque()
    for record in records:
        if record.kind == "steering":
            waiting.append(record.data)
        elif record.kind == "input" and waiting and waiting[0] == record.data:
            waiting.popleft()
    return [read_content(data) for data in waiting]


@dataclass(frozen=True, slots=True)
class _Place:
    """How a run stood with its plan: the plan, whether it was the run that changed it, and whether in plan mode."""

    plan: Plan | None
    changed: bool
    mode: bool


def _places(records: Iterable[Record]) -> list[_Place]:
    """How it stood before each reply of the model, and at last how to go on."""
    places: list[_Place] = []
    plan: tuple[Plan | None, bool] = None, False
    mode = prompted = False
    begun: set[str] = set()
    going: dict[str, tuple[Plan | None, bool]] = {}  # the plan before each call that has not finished: it is made again
    for record in records:
        if record.kind == "plan":
            plan = read_back(record.data, Plan), prompted  # before the prompt comes that of the session
        elif record.kind == "input":
            prompted = True
        elif record.kind in ("start", "resume"):
            mode |= bool(orjson.loads(record.data).get("plan"))
        elif record.kind == "model" and record.key not in begun:
            begun.add(record.key)
            places.append(_Place(*plan, mode))
        elif record.kind == "tool" and record.state == "started":
            plan = going.setdefault(record.key, plan)
        elif record.kind == "tool":
            going.pop(record.key, None)
    return [*places, _Place(*next(iter(going.values()), plan), mode)]


def resume_run(agent: Agent[T], journal: Journal, run_id: str, context: Any = None) -> Run[T]:
    """A run that goes on with a recorded one.

    Raises:
        ConfigurationError: there is no such run, or it is done.
    """
    session = journal.session_of(run_id)
    if session is None:
        raise ConfigurationError(f"There is no run {run_id}", cure="See them: qianda sessions list")
    if is_done(journal, run_id):
        raise ConfigurationError(f"The run {run_id} is done", cure="Go on with its session by a new prompt")
    history: list[Message] = []
    for earlier in journal.runs(session):
        if earlier == run_id:
            break
        history = gone_on(journal.records(earlier), history)
    history += history_of(journal.records(run_id))
    return Resumed(agent, run_id, journal, history=history, context=context, session=session)


def is_done(journal: Journal, run_id: str) -> bool:
    """Whether a run came to its answer."""
    ends = [record for record in journal.records(run_id) if record.kind in ("finish", "resume")]
    finish = orjson.loads(ends[-1].data)["finish"] if ends and ends[-1].kind == "finish" else ""
    return finish in ("done", "length", "plan")


def fork_run(run: Run[T], agent: Agent[T], journal: Journal, at: int | None) -> Run[T]:
    """A new run that shares the beginning of another; see ``Run.fork``."""
    if journal.lasting:
        journal = agent.record()  # the run's own may be closed
    records = list(journal.records(run.id))
    if at is not None:
        records, _ = cut(records, at)
    with journal.batch():
        run_id = copy_run(journal, records, None)
        if run.history and journal.lasting and not history_of(records):
            journal.note(run_id, "history", list(run.history))
    return Resumed(agent, run_id, journal, history=run.history, context=run.context)
