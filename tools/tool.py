"""What a tool is to the loop: a schema, hints about its effects, and a call."""

from __future__ import annotations

import asyncio
import logging
import re
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from qianda.models.errors import ConfigurationError, ToolError
from qianda.models.messages import ToolSchema
from qianda.tools.context import Context
from qianda.tools.effects import NO_EFFECTS, Effects
from qianda.tools.questions import Answer, Asking, Question
from qianda.tools.results import ToolResult, cap_content
from qianda.tools.secrets import redact_content

DEFAULT_TIMEOUT = 120.0
DEFAULT_MAX_OUTPUT = 20_000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_MESSAGE = 500

logger = logging.getLogger("qianda.tools")


@dataclass(frozen=True, kw_only=True, eq=False)
class Tool(ABC):
    """A tool; make one with ``@tool`` or from an MCP server.

    Args:
        name: the name that the model calls it by: ``[A-Za-z0-9_-]``, at most 64 characters.
        read_only: it changes nothing.
        idempotent: a second identical call changes nothing more, so it may be repeated after a crash.
        destructive: it may delete or overwrite what cannot be had back.
        open_world: it reaches beyond this machine: the web, other people, other services.
        parallel: it may run beside other calls of the same reply.
        consent: handing it to the agent was consent to run it; else the permissions are asked.
        timeout: seconds that one call may take.
        max_output: characters of text that the model gets; of longer results head and tail, and the rest
            by page.
        origin: where it comes from, for people: "" for the user's own, ``built-in``, ``MCP server NAME``.
    """

    name: str
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = False
    open_world: bool = False
    parallel: bool = True
    consent: bool = False
    timeout: float = DEFAULT_TIMEOUT
    max_output: int = DEFAULT_MAX_OUTPUT
    origin: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f'"{self.name}" cannot be the name of a tool: 1 to 64 of the characters A-Z a-z 0-9 _ - are allowed',
                cure='Give it one with @tool(name="…")',
            )
        if self.timeout <= 0 or self.max_output <= 0:
            raise ConfigurationError(f"tool {self.name}: timeout and max_output must be more than 0")

    @property
    @abstractmethod
    def schema(self) -> ToolSchema:
        """Name, description and parameters as the model sees them; may be made at first use."""

    @abstractmethod
    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse, coerce and validate the arguments that the model wrote.

        Returns:
            JSON values, ready for ``call``, for showing and for the record.

        Raises:
            ToolError: one sentence that tells the model what to write instead.
        """

    @abstractmethod
    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Do the work, without timeout or cap.

        Raises:
            ToolError: one sentence for the model.
        """

    def effects(self, arguments: dict[str, Any]) -> Effects:  # noqa: ARG002 - for those that know
        """What a call with these validated arguments would touch; nothing that it knows of, by default."""
        return NO_EFFECTS

    async def call(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Run the tool on validated arguments; a failure is a result, never an exception (but cancellation)."""
        scope = asyncio.timeout(self.timeout)
        try:
            async with scope:
                result = await self.invoke(arguments, replace(context, asking=_unhurried(scope, context.asking)))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            result = ToolResult(f"{self.name} failed: something that it waited for was cancelled", failed=True)
        except (Exception, SystemExit) as error:
            logger.debug("tool %s failed", self.name, exc_info=True)
            result = ToolResult(self._timed_out() if scope.expired() else self._failure(error), failed=True)
        content = cap_content(redact_content(result.content), self.max_output, context.kept)
        return result if content is result.content else replace(result, content=content)

    def _timed_out(self) -> str:
        """What the model reads when the time is over."""
        return f"{self.name} did not finish within {self.timeout:g} s and was stopped"

    def _failure(self, error: BaseException) -> str:
        """One sentence about an exception, without a traceback."""
        if isinstance(error, ToolError):
            return str(error)
        error = _innermost(error)
        first_line = (str(error).strip().splitlines() or [""])[0][:_LONGEST_MESSAGE]
        return f"{self.name} failed: {type(error).__name__}" + (f": {first_line}" if first_line else "")


def _unhurried(clock: asyncio.Timeout, asking: Asking) -> Asking:
    """Questions during which a call's time stands still: people take as long as they take."""

    async def ask(question: Question) -> Answer:
        end = clock.when()
        if end is None:
            return await asking(question)
        loop = asyncio.get_running_loop()
        left = end - loop.time()
        clock.reschedule(None)
        try:
            return await asking(question)
        finally:
            with suppress(RuntimeError):  # the call is over already
                clock.reschedule(loop.time() + left)

    return ask


def _innermost(error: BaseException) -> BaseException:
    """The first real error of nested exception groups, which say nothing themselves."""
    if isinstance(error, BaseExceptionGroup):
        return _innermost(cast("BaseExceptionGroup[BaseException]", error).exceptions[0])
    return error
