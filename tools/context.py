"""What a tool may know and do while it runs: the ``Context`` parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def _silent(text: str) -> None:
    """Progress that nobody listens to."""


def _unwatched(path: Path) -> None:
    """A change that nobody wants to take back."""


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
    """

    run_id: str = ""
    call_id: str = ""
    idempotency_key: str = ""
    workspace: Path = field(default_factory=Path.cwd)
    value: Any = None
    progress: Callable[[str], None] = _silent
    changing: Callable[[Path], None] = _unwatched
