"""Makes a tool's JSON Schema, and the validation of its arguments, from a function's signature and docstring."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from qianda.models.errors import ConfigurationError
from qianda.models.messages import ToolSchema
from qianda.tools.callables import doc_of, parameters_of, typed_dicts, written
from qianda.tools.context import Context
from qianda.tools.docstring import read_docstring
from qianda.tools.json_schema import compact, for_the_model, ordered
from qianda.tools.plain_types import plain_schema
from qianda.tools.validation import complaint, shown

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_MOST_PROBLEMS = 3


@dataclass(frozen=True)
class Signature:
    """A function's parameters, read for a model.

    Args:
        schema: what the model gets.
        full: the parameters' JSON Schema before it was shortened for the model (``null`` is still in it).
        shape: the parameters as a ``TypedDict``, for pydantic.
        contexts: names of the parameters that get the ``Context``.
        positional: names of the parameters that cannot be passed by name, in order.
        extra: the function takes any further names (``**kwargs``).
    """

    schema: ToolSchema
    full: dict[str, Any]
    shape: Callable[[], Any]
    contexts: tuple[str, ...]
    positional: tuple[str, ...]
    extra: bool

    @cached_property
    def adapter(self) -> TypeAdapter[dict[str, Any]]:
        """Validates arguments into the Python values that the function takes; made at the first call."""
        from pydantic import TypeAdapter

        return TypeAdapter(self.shape())

    def validate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Turn JSON values into the Python values that the function takes.

        Raises:
            ToolError: one sentence that names each bad argument, what was wrong and what is expected.
        """
        from pydantic import ValidationError

        try:
            return self.adapter.validate_python(arguments)
        except ValidationError as error:
            problems = [problem_of(item) for item in error.errors(include_url=False)[:_MOST_PROBLEMS]]
            raise complaint(self.schema.name, problems, self.full) from None

    def bind(self, arguments: dict[str, Any], context: Context) -> tuple[list[Any], dict[str, Any]]:
        """Validated values as positional and keyword arguments of the function, the context among them."""
        named = self.validate(arguments) | dict.fromkeys(self.contexts, context)
        return [named.pop(name) for name in self.positional if name in named], named


def read_signature(
    function: Callable[..., Any],
    *,
    name: str,
    description: str | None = None,
    local_names: Mapping[str, Any] | None = None,
) -> Signature:
    """Read a function's type hints and docstring.

    Args:
        function: what the tool runs: a function, method, partial or object that can be called.
        name: the tool's name.
        description: what the model is told instead of the docstring's description.
        local_names: names that annotations may refer to beside the module's.

    Raises:
        ConfigurationError: a parameter that cannot be described to a model.
    """
    documented = read_docstring(doc_of(function))
    parameters = parameters_of(function, name)
    hints = _type_hints(written(function), name, local_names)
    contexts = tuple(key for key in parameters if _is_context(hints.get(key)))
    fields: dict[str, Any] = {}
    abouts: dict[str, str] = {}
    for key, parameter in parameters.items():
        if key in contexts or parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise ConfigurationError(f"tool {name}: a model cannot fill *{key}", cure=f"Take a list instead: {key}")
        hint = hints.get(key, Any if parameter.default in (parameter.empty, None) else type(parameter.default))
        fields[key] = typed_dicts(hint)
        abouts[key] = documented.parameters.get(key) or _annotated_text(hint)
    extra = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())

    def shape() -> Any:
        return _shape(parameters, fields, abouts, extra=extra)

    full = _plain(parameters, fields, abouts) or _described(name, shape())
    for key, default in _defaults(parameters, fields):
        full["properties"][key].setdefault("default", default)
    if extra:
        full["additionalProperties"] = True
    return Signature(
        schema=ToolSchema(
            name=name,
            description=documented.description if description is None else description,
            parameters=for_the_model(full),
        ),
        full=full,
        shape=shape,
        contexts=contexts,
        positional=tuple(key for key, item in parameters.items() if item.kind is inspect.Parameter.POSITIONAL_ONLY),
        extra=extra,
    )


def _plain(
    parameters: Mapping[str, inspect.Parameter], fields: Mapping[str, Any], abouts: Mapping[str, str]
) -> dict[str, Any] | None:
    """The parameters' JSON Schema where all types are plain ones, which spares pydantic's."""
    properties: dict[str, Any] = {}
    for key, hint in fields.items():
        schema = None if _is_field(parameters[key].default) else plain_schema(hint)
        if schema is None:
            return None
        properties[key] = ordered({"description": abouts[key], **schema} if abouts[key] else schema)
    required = [key for key in fields if parameters[key].default is inspect.Parameter.empty]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _described(name: str, shape: Any) -> dict[str, Any]:
    """The parameters' JSON Schema as pydantic gives it."""
    from pydantic import PydanticUserError, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        full = compact(TypeAdapter(shape).json_schema(schema_generator=quiet_generator()))
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise ConfigurationError(
            f"tool {name}: its parameters cannot be described in JSON Schema: {str(error).splitlines()[0]}",
            cure="Use JSON types, dataclasses, TypedDict, enums or pydantic models",
        ) from None
    full.setdefault("properties", {})
    return full


def _shape(
    parameters: Mapping[str, inspect.Parameter], fields: Mapping[str, Any], abouts: Mapping[str, str], *, extra: bool
) -> Any:
    """The parameters as a ``TypedDict``."""
    from pydantic import ConfigDict, Field
    from typing_extensions import NotRequired, TypedDict  # noqa: UP035 - pydantic takes only this one before 3.12

    items: dict[str, Any] = {}
    for key, hint in fields.items():
        default = parameters[key].default
        if abouts[key]:
            hint = Annotated[hint, Field(description=abouts[key])]  # noqa: PLW2901 - the same hint, with its text
        if _is_field(default):
            hint = Annotated[hint, default]  # noqa: PLW2901 - the same hint, with its constraints
        items[key] = hint if default is inspect.Parameter.empty else NotRequired[hint]
    shape: Any = TypedDict("shape", items)  # pyright: ignore[reportArgumentType, reportGeneralTypeIssues] - made here
    shape.__pydantic_config__ = ConfigDict(extra="allow" if extra else "forbid")
    return shape


def _is_field(default: Any) -> bool:
    """Whether a default is pydantic's ``Field(…)``, which may not have been imported."""
    return type(default).__name__ == "FieldInfo"


def _type_hints(target: Any, name: str, local_names: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target, localns=dict(local_names or {}), include_extras=True)
    except NameError as error:
        raise ConfigurationError(
            f"tool {name}: the type {error.name!r} of its signature is not known where the function is defined",
            cure="Import it at the top of the module, not only under TYPE_CHECKING",
        ) from None


def _is_context(hint: Any) -> bool:
    """Whether a parameter is annotated ``Context``, alone, optional or annotated."""
    if typing.get_origin(hint) in (typing.Union, UnionType, Annotated):
        return any(_is_context(item) for item in typing.get_args(hint))
    return inspect.isclass(hint) and issubclass(hint, Context)


def _annotated_text(hint: Any) -> str:
    """The text of ``Annotated[str, "text"]``."""
    if typing.get_origin(hint) is not Annotated:
        return ""
    return next((item for item in typing.get_args(hint)[1:] if isinstance(item, str)), "")


def _defaults(
    parameters: Mapping[str, inspect.Parameter], fields: Mapping[str, Any]
) -> Iterator[tuple[str, str | int | float | bool | list[Any] | dict[str, Any]]]:
    """The defaults that JSON can show; ``None`` says nothing that being optional does not say."""
    for key in fields:
        default = parameters[key].default
        if default in (inspect.Parameter.empty, None) or _is_field(default):
            continue
        if type(default) in (str, int, bool):
            yield key, default
            continue
        import pydantic_core

        try:
            yield key, pydantic_core.to_jsonable_python(default)
        except (pydantic_core.PydanticSerializationError, ValueError):
            continue


def quiet_generator() -> Any:
    """Pydantic's generator of JSON Schema without its warnings: what JSON cannot show is left out."""
    from pydantic.json_schema import GenerateJsonSchema

    class Quiet(GenerateJsonSchema):
        """Warns of nothing."""

        def emit_warning(self, kind: Literal["skipped-choice", "non-serializable-default"] | Any, detail: str) -> None:
            """Say nothing."""

    return Quiet


def problem_of(error: Mapping[str, Any], whole: str = "") -> str:
    """One of pydantic's errors as a part of a sentence; ``whole`` is what the value is called that has no name."""
    where = ".".join(str(step) for step in cast("tuple[object, ...]", error["loc"])) or whole
    message = str(error["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if error["type"] == "missing":
        return f'"{where}" is missing'
    if error["type"] == "extra_forbidden":
        return f'there is no argument "{where}"'
    return f'"{where}" {message.removeprefix("input ")} (got {shown(error["input"])})'
