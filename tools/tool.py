"""What a tool is to the loop: a schema, hints about its effects, and a call."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from qianda.models.errors import ToolError
from qianda.models.messages import ToolSchema
from qianda.tools.context import Context
from qianda.tools.results import ToolResult

DEFAULT_TIMEOUT = 120.0
DEFAULT_MAX_OUTPUT = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Tool(ABC):
    """A tool; make one with ``@tool`` or from an MCP server.

    Args:
        schema: name, description and parameters, as the model sees them.
        read_only: it changes nothing.
        idempotent: a second identical call changes nothing more, so it may be repeated after a crash.
        parallel: it may run beside other calls of the same reply.
        consent: handing it to the agent was consent to run it; else the permissions are asked.
        timeout: seconds that one call may take.
        max_output: characters of text that the model gets; longer results keep head and tail.
    """

    schema: ToolSchema
    read_only: bool = False
    idempotent: bool = False
    parallel: bool = True
    consent: bool = False
    timeout: float = DEFAULT_TIMEOUT
    max_output: int = DEFAULT_MAX_OUTPUT
    origin: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """The name that the model calls it by."""
        return self.schema.name

    @abstractmethod
    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse, coerce and validate the arguments that the model wrote.

        Raises:
            ToolError: one sentence that tells the model what to write instead.
        """

    @abstractmethod
    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Do the work, without timeout or cap.

        Raises:
            ToolError: one sentence for the model.
        """

    async def call(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Run the tool on validated arguments; a failure is a result, never an exception (but cancellation)."""
        raise NotImplementedError  # filled by the tools work
