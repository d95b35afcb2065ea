"""How a run ends: with its result or an error, which are recorded and told."""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Literal

from qianda.agents.conversation import answered
from qianda.agents.output import Answer
from qianda.agents.result import RunResult, T
from qianda.models.errors import JournalError, LimitReached
from qianda.models.events import Notice, RunFinished

if TYPE_CHECKING:
    from qianda.agents.journal import Journal
    from qianda.agents.run import Run


class Ending(Generic[T]):
    """The end of one run; only the first counts.

    Args:
        run: which has one.
        nothing: the output of a run without an answer.
    """

    def __init__(self, run: Run[T], *, nothing: Any) -> None:
        self._run: Run[T] = weakref.proxy(run)
        self._nothing = nothing
        self._result: RunResult[T] | None = None
        self.error: Exception | None = None
        self.journal: Journal | None = None  # of a run that has begun

    @property
    def result(self) -> RunResult[T]:
        """The outcome.

        Raises:
            QiandaError: the error that ended the run.
            RuntimeError: the run has not finished.
        """
        if self._result is not None:
            return self._result
        if self.error is not None:
            raise self.error
        raise RuntimeError("The run has not finished")

    def end(
        self,
        finish: Literal["done", "length", "plan", "limit", "cancelled"],
        answer: Answer | None = None,
        *,
        which: str = "",
        message: str = "",
    ) -> None:
        """End with what there is.

        Args:
            finish: why.
            answer: the model's, if it came to one.
            which: the limit that was reached.
            message: about that limit.
        """
        if self._result is not None:
            return
        run = self._run
        self._result = RunResult(
            output=answer.value if answer else self._nothing,
            messages=tuple(answered(run.messages)),
            usage=run.usage,
            finish=finish,
            run_id=run.id,
            cost=run.cost,
            plan=run.plan,
        )
        if finish == "length":
            run.emit(Notice, text="The answer was cut at the server's output limit")
        self._note(finish, message)
        reason, output = "done" if finish == "length" else finish, answer.text if answer else ""
        run.emit(RunFinished, reason=reason, which=which, message=message, output=output, usage=run.usage)

    def reach(self, error: LimitReached) -> None:
        """End at a limit; the error carries what there is."""
        self.end("limit", which=error.which, message=str(error))
        error.result = self._result
        self.error = error

    def fail(self, error: Exception) -> None:
        """End with an error, which is raised where the result is asked for."""
        if self.error is not None or self._result is not None:
            return
        self.error = error
        which, message = type(error).__name__, str(error) or type(error).__name__
        self._note(which, message)
        self._run.emit(RunFinished, reason="error", which=which, message=message, usage=self._run.usage)

    def _note(self, finish: str, message: str) -> None:
        if self.journal is not None:
            # A record that cannot be written any more must not hide why the run ended.
            with suppress(JournalError):
                self.journal.note(self._run.id, "finish", {"finish": finish, "message": message})
