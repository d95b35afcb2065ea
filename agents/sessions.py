"""Sessions: many runs, one remembered conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Generic

from qianda.agents.conversation import closed, from_records
from qianda.agents.journal import Journal
from qianda.agents.result import RunResult, T
from qianda.agents.run import Run
from qianda.models.errors import ConfigurationError
from qianda.models.messages import Message, Part

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
        self._run: Run[T] | None = None
        self._earlier: list[Message] = []
        for run_id in journal.runs(name):
            self._earlier += closed(from_records(journal.records(run_id)))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation so far, without the instructions; every call and prompt in it has an answer."""
        return tuple(self._earlier if self._run is None else closed(self._run.messages))

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

    def _next(self, prompt: str | Sequence[Part], context: Any, *, watched: bool) -> Run[T]:
        if self._run is not None and self._run.going_on:
            raise ConfigurationError("A run of this session is still going on", cure="Wait for it, or steer it")
        content = prompt if isinstance(prompt, str) else tuple(prompt)
        history = self.messages
        self._run = Run(
            self._agent,
            content,
            history=history,
            context=context,
            session=self.name,
            journal=self._journal,
            watched=watched,
        )
        return self._run
