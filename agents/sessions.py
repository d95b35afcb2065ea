"""Sessions: many runs, one remembered conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Generic

from qianda.agents.conversation import closed, gone_on
from qianda.agents.journal import Journal
from qianda.agents.journal_forks import Point, Rewound, fork_session, rewind_session
from qianda.agents.plan import latest_plan
from qianda.agents.result import RunResult, T
from qianda.agents.run import Run
from qianda.models.errors import ConfigurationError
from qianda.models.messages import Message, Part
from qianda.models.plan import Plan

if TYPE_CHECKING:
    from qianda.agents.agent import Agent


class Session(Generic[T]):
    """A conversation that goes on over many runs; made by ``agent.session``.

    Args:
        agent: runs it.
        name: what it is called in the record.
        journal: where it is recorded.
    """

    def __init__(self, agent: Agent[T], name: str, journal: Journal) -> None:
        self.name = name
        self._agent = agent
        self._journal = journal
        self._shorten = False
        self._read()

    def _read(self) -> None:
        self._run: Run[T] | None = None
        self._earlier: list[Message] = []
        self._plan: Plan | None = None
        for run_id in self._journal.runs(self.name):
            records = list(self._journal.records(run_id))
            self._earlier = gone_on(records, self._earlier)
            self._plan = latest_plan(records) or self._plan

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation so far, without the instructions; every call and prompt in it has an answer."""
        return tuple(self._earlier if self._run is None else closed(self._run.messages))

    @property
    def plan(self) -> Plan | None:
        """The plan that the next run goes on with: the last one, unless it is carried out."""
        plan = self._plan if self._run is None else self._run.plan
        return None if plan is None or not plan.open else replace(plan, accepted=False)

    async def run(self, prompt: str | Sequence[Part], *, context: Any = None) -> RunResult[T]:
        """Like ``Agent.run``, with the conversation so far as history."""
        run = self._next(prompt, context, watched=False)
        async with run:
            return await run.wait()

    def run_sync(self, prompt: str | Sequence[Part], *, context: Any = None) -> RunResult[T]:
        """``run`` for programs without an event loop."""
        from qianda.agents.agent import run_sync

        return run_sync(self.run(prompt, context=context))

    def stream(self, prompt: str | Sequence[Part], *, context: Any = None) -> Run[T]:
        """Like ``Agent.stream``, with the conversation so far as history.

        Raises:
            ConfigurationError: a run of this session is still going on.
        """
        return self._next(prompt, context, watched=True)

    def resume(self, *, context: Any = None) -> Run[T]:
        """Go on with the last run, which was interrupted; see ``Agent.resume``.

        Raises:
            ConfigurationError: there is none, or it is done.
        """
        from qianda.agents.resumed import resume_run

        runs = self._journal.runs(self.name)
        if not runs:
            raise ConfigurationError(f"The session {self.name!r} has no run", cure="Begin it by a prompt")
        self._run = resume_run(self._agent, self._journal, runs[-1], context)
        return self._run

    def fork(self, name: str | None = None, *, at: Point | None = None) -> Session[T]:
        """Another session that shares the beginning of this one.

        Args:
            name: what it is called; by default this one's name and a number.
            at: what they share: ``2`` for two prompts with their answers, ``"2.5"`` for one prompt and five replies to
                the second; None for all.

        Raises:
            ConfigurationError: the name is taken, or there is no such point.
        """
        name = name or next(new for number in count(2) if not self._journal.runs(new := f"{self.name}-{number}"))
        fork_session(self._journal, self.name, name, at)
        return Session(self._agent, name, self._journal)

    def rewind(self, to: Point, *, files: bool = False) -> Rewound:
        """Take the conversation back; as it was it stays in a session of another name.

        Args:
            to: how much of it is kept, as in ``fork``.
            files: also take back what the rest changed in files, as far as nobody else changed them since.

        Raises:
            ConfigurationError: there is no such point, or a run of this session is still going on.
        """
        self._check_idle()
        rewound = rewind_session(self._journal, self.name, to, files=files)
        self._read()
        return rewound

    def compact(self) -> None:
        """Have the conversation made shorter before the next reply, although there may be room."""
        self._shorten = True

    def _check_idle(self) -> None:
        if self._run is not None and self._run.going_on:
            raise ConfigurationError("A run of this session is still going on", cure="Wait for it, or steer it")

    def _next(self, prompt: str | Sequence[Part], context: Any, *, watched: bool) -> Run[T]:
        self._check_idle()
        content = prompt if isinstance(prompt, str) else tuple(prompt)
        history, plan = self.messages, self.plan
        self._run = Run(
            self._agent,
            content,
            history=history,
            context=context,
            session=self.name,
            journal=self._journal,
            watched=watched,
        )
        self._run.plan = plan
        self._run.shorten, self._shorten = self._shorten, False
        return self._run
