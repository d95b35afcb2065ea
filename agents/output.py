"""Validated answers: what ``output_type`` asks of the model, reading it, and asking again when it does not fit."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, Literal, cast

from qianda.agents.result import T
from qianda.models.errors import ConfigurationError, ModelOutputError, ToolError
from qianda.models.events import Notice
from qianda.models.family import find_family
from qianda.models.formats.answer import json_values, tag_example, tagged_fields
from qianda.models.formats.arguments import coerce, read_object
from qianda.models.formats.json_text import read_value, write_value
from qianda.models.messages import AssistantMessage, Message, ToolMessage, ToolSchema, content_text
from qianda.models.reply import Reply
from qianda.models.structured import last_try, output_fields
from qianda.models.thinking import Thinking
from qianda.tools.context import Context
from qianda.tools.json_schema import compact, for_the_model
from qianda.tools.results import ToolResult
from qianda.tools.schema import problem_of, quiet_generator
from qianda.tools.tool import Tool
from qianda.tools.validation import expectation

if TYPE_CHECKING:
    from qianda.agents.resources import Resources
    from qianda.agents.run import Run

FINAL_ANSWER = "final_answer"
FIELD = "answer"  # holds what is no object: servers and tools want one
TRIES = 3
_MOST_PROBLEMS = 8
_TOOL_HINT = f"When you have all that you need, give the answer by calling {FINAL_ANSWER}; no other answer is read."
_JSON_HINT = "Answer with JSON alone, without any other text. It must fit this JSON Schema:\n"
_TAGS_HINT = "Give the answer in these XML tags:\n"


class Output(Generic[T]):
    """What the answer of a run becomes.

    Args:
        output_type: a pydantic model, dataclass, TypedDict or anything else that pydantic validates;
            ``Annotated[…, "xml"]`` to have its fields asked for as XML tags, which suits long texts and code.

    Raises:
        ConfigurationError: it cannot be described in JSON Schema.
    """

    def __init__(self, output_type: Any) -> None:
        from pydantic import PydanticUserError, TypeAdapter
        from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

        marks: tuple[Any, ...] = getattr(output_type, "__metadata__", ())
        self.tags = "xml" in [mark for mark in marks if isinstance(mark, str)]
        plain = typing.get_args(output_type)[0] if marks else output_type
        self.name = str(getattr(plain, "__name__", plain))
        try:
            self._adapter: TypeAdapter[T] = TypeAdapter(output_type)
            full = compact(self._adapter.json_schema(schema_generator=quiet_generator()))
        except (PydanticSchemaGenerationError, PydanticUserError, PydanticUndefinedAnnotation) as error:
            raise ConfigurationError(
                f"output_type={self.name} cannot be described in JSON Schema: {str(error).splitlines()[0]}",
                cure="Use JSON types, dataclasses, TypedDict, enums or pydantic models",
            ) from None
        self._inner = full
        self.wrapped = full.get("type") != "object"
        if self.wrapped:
            definitions = {"$defs": full["$defs"]} if "$defs" in full else {}
            inner = {key: value for key, value in full.items() if key != "$defs"}
            self.schema = {"type": "object", "properties": {FIELD: inner}, "required": [FIELD], **definitions}
        else:
            self.schema = for_the_model(full)

    @cached_property
    def tool(self) -> Tool:
        """The tool by which a model with tools gives its answer."""
        return _FinalAnswer(
            name=FINAL_ANSWER, read_only=True, idempotent=True, consent=True, max_output=2**31, output=self
        )

    def hint(self, *, has_tools: bool) -> str:
        """What the instructions say about the answer."""
        if self.tags:
            return _TAGS_HINT + tag_example(self.schema)
        return _TOOL_HINT if has_tools else _JSON_HINT + write_value(self.schema)

    def read(self, text: str, *, cut: bool = False) -> tuple[T, str]:
        """Find the answer in a text.

        Args:
            text: JSON, alone, in a code fence or amid text; or fields in XML tags; or the bare value of a simple type.
            cut: the text was cut at the output limit.

        Returns:
            The validated value, and the JSON text that it was read from.

        Raises:
            ValueError: what is wrong with it, each problem named.
        """
        problem = ""
        ways = [self._tagged(text), json_values(text, cut=cut)]
        for value in chain(*(ways if self.tags else reversed(ways))):
            try:
                return self.validate(value)
            except ValueError as error:
                problem = problem or str(error)
        if self.wrapped and not cut:
            try:
                return self._checked(text.strip())
            except ValueError as error:
                problem = problem or str(error)
        raise ValueError(problem or ("it was cut at the output limit" if cut else "it holds no JSON"))

    def _tagged(self, text: str) -> Iterator[dict[str, Any]]:
        if fields := tagged_fields(text, self.schema):
            yield fields

    def validate(self, value: Any) -> tuple[T, str]:
        """The value as the type, fitted to it where that loses nothing; and its JSON text.

        Raises:
            ValueError: what is wrong with it, each problem named.
        """
        fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        bare = fields[FIELD] if self.wrapped and set(fields) == {FIELD} else cast("Any", value)
        fitted = coerce(bare, self._inner)
        try:
            return self._checked(fitted)
        except ValueError:
            if fitted == bare:
                raise
            return self._checked(bare)

    def _checked(self, value: Any) -> tuple[T, str]:
        from pydantic import ValidationError

        text = write_value(value)
        try:
            return self._adapter.validate_json(text), text
        except ValidationError as error:
            problems = [problem_of(item, FIELD) for item in error.errors(include_url=False)]
            more = len(problems) - _MOST_PROBLEMS
            raise ValueError(
                ", ".join(problems[:_MOST_PROBLEMS]) + (f", and {more} more problems" if more > 0 else "")
            ) from None


@dataclass(frozen=True, kw_only=True, eq=False)
class _FinalAnswer(Tool):
    """Takes the answer; what does not fit is a failed call that says why."""

    output: Output[Any]

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters as the model sees them."""
        return ToolSchema(self.name, "Give the final answer, when all work is done.", self.output.schema)

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Check the arguments.

        Raises:
            ToolError: they do not fit the output type.
        """
        try:
            _, fitting = self.output.validate(read_object(text))
        except ValueError as error:
            raise ToolError(f"{self.name}: {error}; expected {expectation(self.output.schema)}") from None
        value = read_value(fitting)
        return {FIELD: value} if self.output.wrapped else value

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:  # noqa: ARG002 - not needed
        """The answer as JSON text."""
        return ToolResult(write_value(arguments))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run ends with.

    Args:
        value: the text, or what ``output_type`` made of it.
        text: the text; JSON where there is an output type.
        finish: how the run ends: ``length`` when it was cut at the server's output limit, ``plan`` when it is a plan.
    """

    value: Any
    text: str
    finish: Literal["done", "length", "plan"] = "done"


@dataclass(frozen=True, slots=True)
class Request:
    """How the model is asked.

    Args:
        tools: what it may call.
        fields: further fields of the request.
        thinking: in the place of what was asked for.
    """

    tools: list[ToolSchema]
    fields: Mapping[str, Any] | None = None
    thinking: Thinking | None = None


class Goal:
    """Whether a run has its answer; with an output type, how often the model has missed it.

    Args:
        resources: the output type, the tools, the model.
    """

    def __init__(self, resources: Resources) -> None:
        self._output = resources.output
        self._journal = resources.journal
        self._missed = 0
        self._first = Request(resources.schemas)
        self._last: Request | None = None
        if self._output is not None and not self._output.tags:
            endpoint = resources.client.endpoint
            schema, kind, family = self._output.schema, endpoint.kind, find_family(endpoint.model)
            fields = output_fields(schema, kind, family, resources.thinking, bool(resources.schemas))
            self._first = Request(resources.schemas, fields)
            last = last_try(schema, kind, family, resources.thinking)
            self._last = Request([], *last) if last else None

    @property
    def request(self) -> Request:
        """How to ask next: the last try is held to the schema where it can be."""
        return self._last if self._missed == TRIES - 1 and self._last is not None else self._first

    def reached(self, run: Run[Any], message: AssistantMessage, reply: Reply) -> Answer | None:
        """The answer, if this reply gave it; else the model is told what is wrong with it.

        Args:
            run: the run, with the reply and the results of its calls in its conversation.
            message: the reply as a message.
            reply: the reply.

        Raises:
            ModelOutputError: it was the last try.
        """
        cut = reply.finish == "length"
        if self._output is None:
            return None if message.tool_calls else Answer(reply.text, reply.text, "length" if cut else "done")
        if message.tool_calls:
            return self._called(run, self._output, run.conversation[-len(message.tool_calls) :])
        try:
            value, text = self._output.read(message.content, cut=cut)
        except ValueError as error:
            self._miss(run, self._output, str(error), cut=cut)
            run.take_input(self._complaint(self._output, str(error)))
            return None
        return Answer(value, text, "length" if cut else "done")

    def _called(self, run: Run[Any], output: Output[Any], results: list[Message]) -> Answer | None:
        """The answer that was given by a call; none while a call beside it failed, as it could not know that."""
        tools = [result for result in results if isinstance(result, ToolMessage)]
        for result in tools:
            if result.name == FINAL_ANSWER and result.outcome == "failed":
                self._miss(run, output, content_text(result.content))
        given = [result for result in tools if result.name == FINAL_ANSWER]
        if not given or any(result.outcome != "done" for result in tools):
            return None
        value, text = output.read(content_text(given[-1].content))
        self._journal.note(run.id, "answer", text)
        run.conversation.append(AssistantMessage(text))
        return Answer(value, text)

    def _miss(self, run: Run[Any], output: Output[Any], problem: str, *, cut: bool = False) -> None:
        self._missed += 1
        if cut or self._missed == TRIES:
            raise ModelOutputError(
                f"The model's answer is no {output.name}"
                + (f": {problem}" if cut else f" in {TRIES} tries: {problem}"),
                cure="Raise Sampling(max_tokens=…)" if cut else "Make the type simpler, or use a larger model",
            )
        run.emit(Notice, text=f"The answer does not fit and is asked for again: {problem}")

    def _complaint(self, output: Output[Any], problem: str) -> str:
        if output.tags:
            how = f"in these XML tags:\n{tag_example(output.schema)}"
        elif self.request.tools:
            how = f"by calling {FINAL_ANSWER} with {expectation(output.schema)}"
        else:
            how = f"with JSON alone: {expectation(output.schema)}"
        return f"Your answer could not be used: {problem}. Give it again, {how}"


def asked_for(
    output: Output[Any] | None, tools: Mapping[str, Tool], instructions: str, *, more: bool = False
) -> tuple[dict[str, Tool], str]:
    """The tools and instructions of an agent, with what asks the model for the output type.

    Args:
        output: what is wanted, or None for text.
        tools: those that are there.
        instructions: the system prompt.
        more: others will come.

    Raises:
        ConfigurationError: a tool has the name of the one that takes the answer.
    """
    if output is None:
        return dict(tools), instructions
    if FINAL_ANSWER in tools:
        raise ConfigurationError(f"With output_type no tool may be named {FINAL_ANSWER!r}", cure="Rename it")
    has_tools = bool(tools) or more
    added = {FINAL_ANSWER: output.tool} if has_tools and not output.tags else {}
    return {**tools, **added}, "\n\n".join(filter(None, [instructions, output.hint(has_tools=has_tools)]))
