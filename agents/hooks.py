"""Hooks: functions and commands that are told of runs and calls, and may keep them from happening."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, cast

from qianda.agents.loop import run_loop
from qianda.agents.output import Answer
from qianda.models.errors import PermissionDenied
from qianda.models.events import Notice
from qianda.models.messages import content_text
from qianda.tools.results import ToolResult

if TYPE_CHECKING:
    from qianda.agents.resources import Resources
    from qianda.agents.run import Run

SECONDS = 30.0
_LONGEST = 2_000  # characters of a reason or a note

HookAnswer = Mapping[str, str] | None
HookFunction = Callable[[dict[str, Any]], HookAnswer | Awaitable[HookAnswer]]
Hook = str | HookFunction
"""A command line, or a function; both get the event and may answer ``{"deny": reason}`` or ``{"note": text}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What is called around runs and their tool calls, each in its order.

    A function gets a dict: ``event``, ``run_id``, ``workspace``, and of a call ``tool`` and ``arguments``, after it
    ``result`` and ``failed``, at the end of a run ``finish``. A command gets the same as JSON on its standard input,
    answers by JSON on its standard output, and denies by an exit code other than 0, with what it writes to standard
    error as the reason. One that fails, or takes longer than 30 seconds, denies too.

    Args:
        before_tool: before a call that is permitted; may deny it.
        after_tool: after it; its note is added to what the model reads.
        run_start: before the first request; may deny the run. Its note is told to the model.
        run_end: after the run, however it ended.
    """

    before_tool: Sequence[Hook] = ()
    after_tool: Sequence[Hook] = ()
    run_start: Sequence[Hook] = ()
    run_end: Sequence[Hook] = ()

    def __add__(self, other: Hooks) -> Hooks:
        """These hooks, and then others."""
        return Hooks(
            before_tool=(*self.before_tool, *other.before_tool),
            after_tool=(*self.after_tool, *other.after_tool),
            run_start=(*self.run_start, *other.run_start),
            run_end=(*self.run_end, *other.run_end),
        )

    async def run(self, run: Run[Any], resources: Resources) -> Answer:
        """Run the loop between the hooks of the run.

        Raises:
            PermissionDenied: a hook denied it.
        """
        event = {"run_id": run.id, "workspace": str(resources.workspace)}
        denied, notes = await _ask(self.run_start, {"event": "run_start", **event}, resources.workspace)
        if denied:
            raise PermissionDenied(f"A hook did not let the run begin: {denied}", cure="See [hooks] in config.toml")
        for note in notes:
            run.steer(note)
        finish = "error"
        try:
            answer = await run_loop(run, resources)
            finish = answer.finish
        except asyncio.CancelledError:
            finish = "cancelled"
            raise
        else:
            return answer
        finally:
            ended = {"event": "run_end", **event, "finish": finish}
            problem, _ = await _ask(self.run_end, ended, resources.workspace)
            if problem:
                run.emit(Notice, text=f"A hook at the end of the run: {problem}")

    async def call(
        self,
        tool: str,
        arguments: dict[str, Any],
        run_id: str,
        workspace: Path,
        work: Callable[[], Awaitable[ToolResult]],
    ) -> ToolResult:
        """Run a call between its hooks."""
        event = {"run_id": run_id, "workspace": str(workspace), "tool": tool, "arguments": arguments}
        denied, notes = await _ask(self.before_tool, {"event": "before_tool", **event}, workspace)
        if denied:
            return ToolResult(f"Denied by a hook: {denied}", failed=True, denied_by="rule", rule="a hook")
        result = await work()
        if self.after_tool:
            told = {"result": content_text(result.content), "failed": result.failed}
            problem, more = await _ask(self.after_tool, {"event": "after_tool", **event, **told}, workspace)
            notes += [*more, *filter(None, [problem])]
        if not notes:
            return result
        text = "\n".join(f"[a hook notes: {note}]" for note in notes)
        content = f"{result.content}\n{text}" if isinstance(result.content, str) else (*result.content, _part(text))
        return ToolResult(content, failed=result.failed)


def _part(text: str) -> Any:
    from qianda.models.messages import TextPart

    return TextPart(text)


async def _ask(hooks: Sequence[Hook], event: dict[str, Any], workspace: Path) -> tuple[str, list[str]]:
    """Why one of the hooks denies, or "", and their notes; those behind one that denies are not asked."""
    notes: list[str] = []
    for hook in hooks:
        name = hook if isinstance(hook, str) else getattr(hook, "__name__", "a function")
        try:
            async with asyncio.timeout(SECONDS):
                answer = await (_command(hook, event, workspace) if isinstance(hook, str) else _function(hook, event))
        except TimeoutError:
            return f"{name} took longer than {SECONDS:g} s", notes
        except Exception as error:
            return f"{name} failed: {type(error).__name__}: {error}"[:_LONGEST], notes
        if "deny" in answer:
            return str(answer["deny"])[:_LONGEST] or name, notes
        if answer.get("note"):
            notes.append(str(answer["note"])[:_LONGEST])
    return "", notes


async def _function(hook: HookFunction, event: dict[str, Any]) -> Mapping[str, str]:
    answer = hook(event)
    return (await answer if inspect.isawaitable(answer) else answer) or {}


async def _command(line: str, event: dict[str, Any], workspace: Path) -> Mapping[str, str]:
    """Run a command line in the workspace, without the keys in our environment."""
    from qianda.tools.secrets import clean_environment

    # Files, not pipes: a process counts as running as long as anyone holds its pipes open.
    with TemporaryFile() as given, TemporaryFile() as output, TemporaryFile() as problems:
        given.write(json.dumps(event, ensure_ascii=False).encode("utf-8", "replace"))
        given.seek(0)
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_shell(
                line,
                stdin=given,
                stdout=output,
                stderr=problems,
                cwd=workspace,
                env=clean_environment(),
                start_new_session=True,
            )
        )
        try:
            process = await asyncio.shield(starting)
            await process.wait()
        finally:
            process = await starting  # whoever is cancelled amid the start leaves nothing running either
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        output.seek(0)
        problems.seek(0)
        out, err = output.read(), problems.read()
    if process.returncode:
        said = err.decode(errors="replace").strip() or f"{line} ended with exit code {process.returncode}"
        return {"deny": said}
    text = out.decode(errors="replace").strip()
    answer: object = json.loads(text) if text.startswith("{") else {}
    return cast("Mapping[str, str]", answer)
