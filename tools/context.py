"""What a tool may know and do while it runs: the ``Context`` parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from qianda.tools.kept import NOTHING_KEPT, Kept
from qianda.tools.planning import Planner, plan_nothing
from qianda.tools.questions import Asking, Question, ask_nobody

if TYPE_CHECKING:
    from qianda.tools.sandbox import Sandbox
    from qianda.tools.tool import Tool


def _silent(text: str) -> None:
    """Progress that nobody listens to."""


def _unwatched(path: Path) -> None:
    """A change that nobody wants to take back."""


def _unadded(tools: Sequence[Tool]) -> None:
    """Tools outside of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Given to every tool that has a parameter annotated ``Context``; the model does not see that parameter.

    Args:
        run_id: the run that the call belongs to.
        call_id: the call within the run.
        idempotency_key: the same for every attempt at this call, also after a crash.
        workspace: the folder that the run works in.
        value: what the caller passed as ``context=`` to the run.
        progress: say how far the tool is, or show output as it comes: ``progress(text)``.
        changing: called with a file's path before it is created, changed or deleted, so that it can be undone.
        notice: tell the person something that is not for the model.
        sandbox: what commands run in, or None for no sandbox.
        asking: takes the questions of ``ask``.
        kept: keeps what is cut from long results.
        add_tools: let the model call further tools from its next reply on.
        closing: what a tool keeps open between calls goes onto it, to be closed with the conversation; the same for
            all calls of one conversation. None: nothing can be kept.
        caller: the run and its resources, for agents as tools.
        planning: changes the run's plan.
    """

    run_id: str = ""
    call_id: str = ""
    idempotency_key: str = ""
    workspace: Path = field(default_factory=Path.cwd)
    value: Any = None
    progress: Callable[[str], None] = _silent
    changing: Callable[[Path], None] = _unwatched
    notice: Callable[[str], None] = _silent
    sandbox: Sandbox | None = None
    asking: Asking = ask_nobody
    kept: Kept = NOTHING_KEPT
    add_tools: Callable[[Sequence[Tool]], None] = _unadded
    closing: AsyncExitStack | None = None
    caller: object = None
    planning: Planner = plan_nothing

    @overload
    async def ask(self, question: str, options: Sequence[str] = ()) -> str | None: ...

    @overload
    async def ask(
        self, question: str, options: Sequence[str] = (), *, schema: dict[str, Any]
    ) -> dict[str, Any] | None: ...

    async def ask(
        self, question: str, options: Sequence[str] = (), *, schema: dict[str, Any] | None = None
    ) -> str | dict[str, Any] | None:
        """Ask the user, and wait for the answer; a sync tool writes ``asyncio.run(context.ask(…))``.

        The call's timeout stands still meanwhile, and a resumed run does not ask again.

        Args:
            question: for a person.
            options: answers to choose from; another text may come all the same.
            schema: JSON Schema of a form (an object) to be filled in.

        Returns:
            The text, or the filled-in form where a schema is given; None when the user declined.

        Raises:
            ToolError: nobody is there to answer, or the answer does not fit the form.
        """
        asked = Question(
            question=question,
            options=tuple(options),
            schema=schema,
            run_id=self.run_id,
            call_id=self.call_id,
        )
        return asked.read(await self.asking(asked))
