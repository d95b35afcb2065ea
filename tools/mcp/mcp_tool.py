"""A tool of an MCP server, as every other tool."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from qianda.models.messages import ToolSchema
from qianda.tools.context import Context
from qianda.tools.json_schema import compact, normalised
from qianda.tools.mcp.connection import MCPConnection
from qianda.tools.mcp.content import to_result, visible, visible_schema
from qianda.tools.results import ToolResult
from qianda.tools.tool import Tool
from qianda.tools.validation import complaint, parse_arguments

if TYPE_CHECKING:
    from jsonschema.protocols import Validator
    from mcp import Client
    from mcp_types import CallToolResult
    from mcp_types import Tool as WireTool

_LONGEST_NAME = 64
_LONGEST_PROBLEM = 300
_KINDS = {"string": str, "integer": int, "number": float}


@dataclass(frozen=True, kw_only=True, eq=False)
class MCPTool(Tool):
    """A tool of an MCP server.

    Its hints (``readOnlyHint`` …) are the server's word and nothing more: people see them when they are asked. The
    permissions count on what makes them careful, and on the rest only for a server that is ``trusted``.

    Args:
        connection: the server.
        wire_name: the tool's name as the server has it.
        model_schema: name, description and parameters as the model sees them.
        parameters: the server's own schema of the arguments, which they are checked by.
    """

    connection: MCPConnection
    wire_name: str
    model_schema: ToolSchema
    parameters: dict[str, Any]

    @classmethod
    def of(cls, wire: WireTool, connection: MCPConnection, *, name: str) -> MCPTool:
        """Make a tool from what the server says of it."""
        parameters = _object_schema(wire.input_schema)
        hints, trusted = wire.annotations, connection.server.trusted
        reads = bool(hints and hints.read_only_hint)
        return cls(
            name=name,
            connection=connection,
            wire_name=wire.name,
            model_schema=ToolSchema(
                name=name,
                description=visible(wire.description or wire.title or "").strip() + _hints(wire),
                parameters=visible_schema(_compact(parameters)),
            ),
            parameters=parameters,
            origin=f"MCP server {connection.server.name}",
            timeout=connection.server.call_timeout,
            read_only=trusted and reads,
            idempotent=trusted and (reads or bool(hints and hints.idempotent_hint)),
            destructive=bool(hints and hints.destructive_hint and not reads),
            open_world=bool(hints and hints.open_world_hint),
        )

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters as the model sees them."""
        return self.model_schema

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse the model's arguments, coerce them by the server's schema and check them.

        Raises:
            ToolError: one sentence that tells the model what to write instead.
        """
        extra = self.parameters.get("additionalProperties") is not False
        arguments = parse_arguments(self.name, text, self.parameters, extra=extra)
        if problem := self._problem(arguments):
            raise complaint(self.name, [problem], self.parameters)
        return arguments

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Ask the server.

        Raises:
            ToolError: there was no result.
        """
        name, say = self.wire_name, context.progress

        async def report(progress: float, total: float | None, message: str | None) -> None:
            share = f"{progress:g}/{total:g}" if total else f"{progress:g}"
            say(f"{visible(message)} ({share})" if message and total else visible(message or share))

        def call(client: Client) -> Awaitable[CallToolResult]:
            return client.call_tool(name, arguments, progress_callback=report)

        return to_result(
            await self.connection.ask(name, call, context=context, repeatable=self.read_only or self.idempotent)
        )

    def _problem(self, arguments: dict[str, Any]) -> str:
        """What the schema has against the arguments; a schema that is itself wrong is left to the server."""
        from jsonschema import exceptions
        from referencing.exceptions import Unresolvable

        if self._plain is not None and all(
            isinstance(value, self._plain.get(key, object)) and not (value is True or value is False)
            for key, value in arguments.items()
        ):
            return ""
        if self._validator is None:
            return ""
        try:
            error = cast("Any", exceptions).best_match(self._validator.iter_errors(arguments))  # untyped upstream
        except (Unresolvable, re.error, RecursionError):
            return ""
        if error is None:
            return ""
        where = ".".join(str(step) for step in error.absolute_path)
        return f'"{where}": {error.message}'[:_LONGEST_PROBLEM] if where else str(error.message)[:_LONGEST_PROBLEM]

    @cached_property
    def _plain(self) -> dict[str, type] | None:
        """The types of the arguments, where the schema says nothing else: then no validator is needed."""
        kinds: dict[str, type] = {}
        if not self.parameters.keys() <= {"type", "properties", "required", "title", "description", "$schema"}:
            return None
        for name, found in cast("dict[str, object]", self.parameters["properties"]).items():
            field = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
            kind = _KINDS.get(str(field.get("type")))
            if kind is None or not field.keys() <= {"type", "title", "description", "default"}:
                return None
            kinds[name] = kind
        return kinds

    @cached_property
    def _validator(self) -> Validator | None:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry

        kind = validator_for(self.parameters, default=Draft202012Validator)
        try:
            kind.check_schema(self.parameters)
        except SchemaError:
            return None
        return kind(self.parameters, registry=Registry())  # an own registry: it fetches no $ref from the network


def model_name(server: str, tool: str, taken: Collection[str]) -> str:
    """The name that the model calls a tool by: ``mcp__server__tool``.

    Args:
        server: the server's name.
        tool: the tool's name as the server has it.
        taken: names that are in use.

    Returns:
        At most 64 of the characters ``A-Z a-z 0-9 _ -``; cut or already taken, it ends in a hash of both names.
    """
    name = "mcp__" + "__".join(re.sub(r"[^A-Za-z0-9_-]", "_", part) for part in (server, tool))
    if len(name) <= _LONGEST_NAME and name not in taken:
        return name
    suffix = "_" + hashlib.sha256(f"{server}\0{tool}".encode()).hexdigest()[:8]
    return name[: _LONGEST_NAME - len(suffix)] + suffix


def _hints(wire: WireTool) -> str:
    hints = wire.annotations
    if hints is None:
        return ""
    if hints.read_only_hint:
        return " (Its server says: changes nothing.)"
    return " (Its server says: safe to repeat.)" if hints.idempotent_hint else ""


def _object_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A server's schema in the words of JSON Schema, with the few keys that everybody relies on."""
    try:
        return {"properties": {}, "required": [], **normalised(schema), "type": "object"}
    except RecursionError:  # too deep to be understood: the server itself will judge the arguments
        return {"type": "object", "properties": {}, "required": []}


def _compact(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in fewer words; as it is when it is none that we understand."""
    try:
        return compact({key: value for key, value in schema.items() if key != "$schema" and value != []})
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return schema
