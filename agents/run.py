"""A run in progress: its events come out, steering, answers and cancellation go in."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Self

from qianda.agents.conversation import valid_content, valid_text
from qianda.agents.ending import Ending
from qianda.agents.event_stream import EventStream
from qianda.agents.journal import Journal, new_run_id
from qianda.agents.limits import opening_cost
from qianda.agents.loop import run_loop
from qianda.agents.open_questions import OpenQuestions
from qianda.agents.plan import Planning
from qianda.agents.provenance import Origins
from qianda.agents.reply_events import reply_events
from qianda.agents.resources import Resources
from qianda.agents.result import RunResult, T
from qianda.models.errors import JournalError, LimitReached
from qianda.models.events import Event, InputReceived, Notice, RunFinished, RunStarted, UsageReported
from qianda.models.messages import Content, Message, SystemMessage, Usage, UserMessage
from qianda.models.plan import Plan
from qianda.models.reply import Piece
from qianda.tools.permissions import Decision
from qianda.tools.questions import Answer as UserAnswer
from qianda.tools.undo_steps import Steps

if TYPE_CHECKING:
    from qianda.agents.agent import Agent
    from qianda.tools.undo import Change, Undone


class Run(Generic[T]):
    """One run of an agent; made by ``agent.stream``.

    An async context manager, inside which it is an async iterator of events. Leaving the context stops the run.
    """

    def __init__(
        self,
        agent: Agent[T],
        prompt: Content,
        *,
        history: Sequence[Message],
        context: Any,
        watched: bool,
        session: str | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.id = new_run_id()
        self.context = context
        self.usage = Usage()
        self.cost: float | None = None
        self.plan: Plan | None = None
        self.shorten = False  # the conversation, before the first reply, although there may be room
        self.plan_changed = False  # by this run: else it is the session's
        self.history = tuple(history)
        self.conversation: list[Message] = list(history)
        self.questions = OpenQuestions(self)
        self._agent = agent
        self.resumed = False
        self.inside: list[Run[Any]] = []  # that go on as calls of this one
        self.reminders: list[Callable[[], str]] = []  # what to say again where the model goes on from a summary
        self._prompt = valid_content(prompt)
        self.session = session
        self._journal = journal
        self._watched = watched
        self.stream = EventStream()
        self._seq = 0
        self._steering: list[Content] = []
        self._task: asyncio.Task[None] | None = None
        self._stopped = self._over = self._ended = False
        self._read = self._awaited = False
        self._ending: Ending[T] = Ending(self, nothing="" if agent.output is None else None)
        self._system = 0
        self.closing: AsyncExitStack | None = None
        self._resources: Resources | None = None

    # What a caller uses.

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("A run goes only once; agent.stream(…) makes another")
        self._task = asyncio.create_task(self._main(), name=f"qianda run {self.id}")
        try:
            await asyncio.sleep(0)  # a task that is cancelled before its first step never says how it ended
        except asyncio.CancelledError:
            await self._leave()  # nobody else will: the context was not entered
            raise
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self._leave()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        self._read = True
        self.questions.give_up()
        if self._task is None:
            raise RuntimeError("A run's events are read inside `async with agent.stream(…) as run:`")
        event = await self.stream.next()
        self.questions.show(event)
        return event

    def steer(self, content: Content) -> None:
        """Say something to the model while it works; it reads it before its next reply, also after a crash."""
        content = valid_content(content)
        self._steering.append(content)
        if self._resources is not None and not self._over:
            self._note_steering(self._resources.journal, content)

    def answer(self, request_id: str, answer: Decision | bool | UserAnswer | Plan) -> None:
        """Answer an ``ApprovalAsked`` or a ``QuestionAsked``, before the next event is asked for.

        One of a stopped run needs no answer any more.

        Args:
            request_id: the event's.
            answer: a decision for an approval; for a question a text, the filled-in form, or None to decline; for the
                question about a plan also the changed plan.

        Raises:
            LookupError: no such question is open.
            TypeError: the answer is not of the kind that was asked for.
        """
        self.questions.answer(request_id, answer)

    def cancel(self) -> None:
        """Stop: the connection to the server is closed, running tools are cancelled. Does nothing to a finished run."""
        if self._task is not None and not self._task.done() and not self._stopped:
            self._stopped = True
            self._task.cancel()

    @property
    def going_on(self) -> bool:
        """Whether the run has begun and not ended."""
        return self._task is not None and not self._over

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation so far, history included, without the instructions."""
        return tuple(self.conversation[self._system :])

    @property
    def result(self) -> RunResult[T]:
        """The outcome; a partial one after a cancelled run or a reached limit.

        Raises:
            QiandaError: the error that ended the run.
            RuntimeError: the run has not finished.
        """
        return self._ending.result

    async def wait(self) -> RunResult[T]:
        """Wait for the end; while nobody reads the events, questions in them count as denied.

        Raises:
            QiandaError: the error that ended the run, reached limits included.
        """
        if self._task is None:
            raise RuntimeError("A run is waited for inside `async with agent.stream(…) as run:`")
        self._awaited = True
        await asyncio.shield(self._task)
        if self._ending.error is not None:
            raise self._ending.error
        return self.result

    @property
    def changes(self) -> list[Change]:
        """The files that built-in tools and commands of this run changed, with their differences."""
        from qianda.tools.undo import list_changes

        return list_changes(self.id)

    def undo(self, step: int | None = None) -> Undone:
        """Take back what this run changed, or one step of it; what others changed since stays.

        Args:
            step: which of the calls that may change something, from 1; None for all.

        Raises:
            UndoError: it changed nothing, or that is not kept any more.
        """
        from qianda.tools.undo import undo

        return undo(self.id, step)

    def fork(self, at: int | None = None) -> Run[T]:
        """Another run that shares the beginning of this one: a session of its own, whose files are the same.

        Args:
            at: how many replies of the model, with the results of their calls, they share; None for all.

        Raises:
            ConfigurationError: there were not so many.
            RuntimeError: the run has not begun.
        """
        from qianda.agents.resumed import fork_run

        if self._resources is None:
            raise RuntimeError("A run is forked once it has begun")
        return fork_run(self, self._agent, self._resources.journal, at)

    # What the loop uses.

    @cached_property
    def origins(self) -> Origins:
        """Knows whose words are whose in the conversation."""
        return Origins()

    @cached_property
    def steps(self) -> Steps:
        """Notes what each call changes."""
        run = weakref.proxy(self)  # or the two would hold each other until the garbage collector comes
        return Steps(self.id, self._agent.workspace, lambda text: run.emit(Notice, text=text))

    @cached_property
    def planning(self) -> Planning:
        """Changes the plan, and knows what is left of it."""
        assert self._resources is not None
        return Planning(self, self._resources)

    def emit(self, kind: type[Event], **fields: Any) -> None:
        """Give out an event; costs nothing when nobody watches."""
        if self._watched and not self._ended:
            self.stream.put(kind(run_id=self.id, seq=self._seq, time=time.time(), **fields))
            self._seq += 1
            self._ended = kind is RunFinished  # always the last, whatever a tool's leftovers still have to say

    def show(self, pieces: Sequence[Piece]) -> None:
        """Give out the pieces of a reply."""
        if self._watched:
            for kind, fields in reply_events(pieces):
                self.emit(kind, **fields)

    def add_usage(self, usage: Usage) -> None:
        """Count a reply."""
        request = usage if usage.requests else replace(usage, requests=1)
        self.usage += request
        if self.cost is not None and self._resources is not None:
            from qianda.models.catalog.prices import cost

            self.cost += cost(request, self._resources.client.endpoint.model) or 0.0
        self.emit(UsageReported, request=request, total=self.usage)

    @property
    def awaits_plan(self) -> bool:
        """Whether only what changes nothing may run: in plan mode, until the user has accepted the plan."""
        assert self._resources is not None
        return self._resources.plan and not (self.plan is not None and self.plan.accepted)

    @property
    def spent(self) -> tuple[Usage, float | None]:
        """What this run and those inside it have used up so far; the cost in USD, None when it is not known."""
        usage, cost = self.usage, self.cost
        for tokens, dollars in (run.spent for run in self.inside):
            usage += tokens
            cost = cost if dollars is None else (cost or 0.0) + dollars
        return usage, cost

    def check_turn(self, turns: int) -> None:
        """See whether the model may be asked once more.

        Args:
            turns: replies so far.

        Raises:
            LimitReached: it may not.
        """
        assert self._resources is not None
        self._resources.limits.check_turn(turns, *self.spent)

    @property
    def has_steering(self) -> bool:
        """Whether something was said that the model has not read."""
        return bool(self._steering)

    def take_steering(self) -> None:
        """Move what was said meanwhile into the conversation."""
        for content in self._steering:
            self.take_input(content)
            self.emit(InputReceived, content=content, steering=True)
        self._steering.clear()

    def take_input(self, content: Content) -> None:
        """Put a user message into the conversation and the record."""
        assert self._resources is not None
        self._resources.journal.note(self.id, "input", content)
        self.conversation.append(UserMessage(content))

    @property
    def heard(self) -> bool:
        """Whether somebody reads the events."""
        return self._watched and (self._read or not self._awaited)

    # Inside.

    async def _leave(self) -> None:
        assert self._task is not None
        self.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _main(self) -> None:
        try:
            async with self._agent.opened(self._journal) as resources, resources.closing(self.session) as self.closing:
                await self._work(resources)
        except asyncio.CancelledError:
            self._ending.end("cancelled")
            if not self._stopped:
                raise
        except Exception as error:  # opening failed; raised where the result is asked for
            self._ending.fail(error)
        finally:
            self._finished()

    def _finished(self) -> None:
        self._over = True
        self.stream.close()

    async def _work(self, resources: Resources) -> None:
        self._resources = resources
        self._ending.journal = resources.journal
        limits = resources.limits
        clock = asyncio.timeout(limits.seconds)
        try:
            async with clock:
                if resources.mcp is not None:
                    self._prompt = await resources.mcp.attached(self._prompt)
                self._start(resources)
                answer = await (run_loop if resources.hooks is None else resources.hooks.run)(self, resources)
            self._ending.end(answer.finish, answer)
        except asyncio.CancelledError:
            self._ending.end("cancelled")
            raise
        except LimitReached as error:
            self._ending.reach(error)
        except TimeoutError as error:
            if clock.expired():
                self._ending.reach(limits.reached("seconds"))
            else:
                self._ending.fail(error)
        except Exception as error:  # raised where the result is asked for
            self._ending.fail(error)

    def _start(self, resources: Resources) -> None:
        endpoint = resources.client.endpoint
        self.cost = opening_cost(resources.limits, endpoint)
        if resources.instructions:
            self.conversation = [m for m in self.conversation if not isinstance(m, SystemMessage)]
            self.conversation.insert(0, SystemMessage(resources.instructions))
            self._system = 1
        self._note_start(resources)
        for content in self._steering:  # said before there was a record
            self._note_steering(resources.journal, content)
        if self.plan is not None:  # of the session, or of the run that goes on
            _ = self.planning
        self.emit(RunStarted, server=endpoint.title, model=endpoint.label, why=endpoint.why)
        while self._watched and resources.notices:  # said once, by the first run that is watched
            self.emit(Notice, text=resources.notices.pop(0))
        self.take_input(self._prompt)
        self.emit(InputReceived, content=self._prompt)

    def _note_start(self, resources: Resources) -> None:
        endpoint, journal = resources.client.endpoint, resources.journal
        note = {"session": self.session, "server": endpoint.title, "model": endpoint.model, "plan": resources.plan}
        journal.note(self.id, "start", note | {"workspace": valid_text(str(resources.workspace))})
        if journal.lasting:  # for other processes: to export, and to go on without the caller
            journal.note(self.id, "setup", {"instructions": resources.instructions, "tools": resources.schemas})
            if self.history and self.session is None:
                journal.note(self.id, "history", self.history)

    def _note_steering(self, journal: Journal, content: Content) -> None:
        with suppress(JournalError):  # which ends the run where it writes next
            journal.note(self.id, "steering", content)
