"""``@tool``: makes a tool from a Python function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

from qianda.models.errors import ConfigurationError
from qianda.models.messages import ToolSchema
from qianda.tools.callables import doc_of, name_of, written
from qianda.tools.context import Context
from qianda.tools.effects import NO_EFFECTS, Effects
from qianda.tools.results import ToolResult, to_result
from qianda.tools.schema import Signature, read_signature
from qianda.tools.streams import ThreadContext, last_of, result_of
from qianda.tools.threads import run_in_thread
from qianda.tools.tool import DEFAULT_MAX_OUTPUT, DEFAULT_TIMEOUT, Tool
from qianda.tools.validation import parse_arguments

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, eq=False)
class FunctionTool(Tool, Generic[P, R]):
    """A tool that runs a Python function; calling it calls the function.

    Args:
        function: sync (it runs in a thread) or async; a generator's texts are progress, and the last thing that it
            yields, or what it returns, is the result.
        description: what the model is told instead of the docstring's description.
        says_effects: what a call with these arguments would touch.
        local_names: names that string annotations may refer to beside the module's.
    """

    function: Callable[P, R]
    description: str | None = None
    says_effects: Callable[[dict[str, Any]], Effects] | None = None
    local_names: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "__doc__", doc_of(self.function))
        object.__setattr__(self, "__wrapped__", self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself, without validation, timeout or cap."""
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> FunctionTool[..., R]:
        """The tool as a method: of an instance, or of the class where the function is a class or static method."""
        bind = getattr(self.function, "__get__", None)
        function: Any = self.function if bind is None else bind(instance, owner)
        return self if function is self.function else replace(self, function=function)

    @cached_property
    def _is_async(self) -> bool:
        """Whether the function runs on the event loop; else it has a thread of its own."""
        target = written(self.function)
        return inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)

    @cached_property
    def signature(self) -> Signature:
        """The function's parameters; read, with pydantic, at first use."""
        return read_signature(self.function, name=self.name, description=self.description, local_names=self.local_names)

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters as the model sees them."""
        return self.signature.schema

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse, coerce and validate the arguments that the model wrote.

        Raises:
            ToolError: one sentence that tells the model what to write instead.
        """
        arguments = parse_arguments(self.name, text, self.signature.full, extra=self.signature.extra)
        self.signature.validate(arguments)
        return arguments

    def effects(self, arguments: dict[str, Any]) -> Effects:
        """What a call with these validated arguments would touch."""
        return self.says_effects(arguments) if self.says_effects else NO_EFFECTS

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Run the function: async ones here, others in a thread of their own.

        Raises:
            ToolError: the arguments do not fit, or the function says so.
        """
        function: Callable[..., Any] = self.function
        if self._is_async:
            args, kwargs = self.signature.bind(arguments, context)
            return to_result(await result_of(function(*args, **kwargs), context.progress))
        with ThreadContext(context) as inside:
            args, kwargs = self.signature.bind(arguments, inside.context)

            def work() -> Any:
                value: object = function(*args, **kwargs)
                return last_of(cast("Generator[Any]", value), inside) if inspect.isgenerator(value) else value

            value = await run_in_thread(work, name=f"tool {self.name}")
            return to_result(await result_of(value, context.progress))

    def _timed_out(self) -> str:
        if self._is_async:
            return super()._timed_out()
        return f"{self.name} did not finish within {self.timeout:g} s and was given up; it may still be running"


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    max_output: int = DEFAULT_MAX_OUTPUT,
    read_only: bool = False,
    idempotent: bool = False,
    destructive: bool = False,
    open_world: bool = False,
    parallel: bool = True,
    consent: bool = True,
    origin: str = "",
    effects: Callable[[dict[str, Any]], Effects] | None = None,
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    max_output: int = DEFAULT_MAX_OUTPUT,
    read_only: bool = False,
    idempotent: bool = False,
    destructive: bool = False,
    open_world: bool = False,
    parallel: bool = True,
    consent: bool = True,
    origin: str = "",
    effects: Callable[[dict[str, Any]], Effects] | None = None,
) -> FunctionTool[P, R] | Callable[[Callable[P, R]], FunctionTool[P, R]]:
    """Make a tool from a function: the model gets its name, type hints and docstring.

    A parameter annotated ``Context`` is hidden from the model and filled when the tool runs. The texts that a generator
    yields are progress; its result is what it returns, else what it yields last.

    Args:
        function: sync (it runs in a thread) or async; left out where options are given.
        name: what the model calls it; the function's name by default.
        description: what the model is told; the docstring's text before its first section by default.
        timeout: seconds that one call may take.
        max_output: characters of text that the model gets; longer results keep head and tail.
        read_only: it changes nothing.
        idempotent: a second identical call changes nothing more, so it may be repeated after a crash.
        destructive: it may delete or overwrite what cannot be had back.
        open_world: it reaches beyond this machine: the web, other people, other services.
        parallel: it may run beside other calls of the same reply.
        consent: handing it to an agent is consent to run it; with False the permissions are asked.
        origin: where it comes from, for people.
        effects: from a call's validated arguments to what it would touch, for the permissions' rules.

    Raises:
        ConfigurationError: a name that models do not take, or something that is not a function.
    """
    here = inspect.currentframe()  # the only way to the types of a function inside a function
    caller = here.f_back if here is not None else None

    def wrap(wrapped: Callable[P, R]) -> FunctionTool[P, R]:
        # What users pass wrongly is told at once: strings, classes, things that are tools already.
        usable = callable(wrapped) or hasattr(wrapped, "__func__")  # a class method is bound when it is asked for
        if not usable or inspect.isclass(wrapped) or isinstance(wrapped, Tool):
            raise ConfigurationError(
                f"@tool takes a function, not {wrapped!r}", cure='To name a tool write @tool(name="…")'
            )
        local = "<locals>" in getattr(wrapped, "__qualname__", "")
        return FunctionTool(
            name=name or name_of(wrapped),
            function=wrapped,
            description=description,
            local_names=dict(caller.f_locals) if local and caller is not None else None,
            read_only=read_only,
            says_effects=effects,
            idempotent=idempotent or read_only,
            destructive=destructive,
            open_world=open_world,
            parallel=parallel,
            consent=consent,
            timeout=timeout,
            max_output=max_output,
            origin=origin,
        )

    return wrap if function is None else wrap(function)


def as_tool(function_or_tool: Tool | Callable[..., Any]) -> Tool:
    """The tool itself, or a plain function as a tool.

    Passing a function, or a tool made by ``@tool``, is consent to run it; tools that were made without consent (the
    built-in ones and those of MCP servers) stay so.

    Raises:
        ConfigurationError: it is neither.
    """
    return function_or_tool if isinstance(function_or_tool, Tool) else tool(function_or_tool)
