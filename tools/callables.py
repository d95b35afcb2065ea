"""What stands behind anything that can be called: the written function, its name, and types that pydantic takes."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable
from functools import partial
from types import UnionType
from typing import Annotated, Any

import typing_extensions

from qianda.models.errors import ConfigurationError


def written(function: Any) -> Any:
    """The function that somebody wrote: behind partials and decorators; of an object that can be called, its method."""
    while isinstance(function, partial) or hasattr(function, "__wrapped__"):
        function = function.func if isinstance(function, partial) else function.__wrapped__
    return function if inspect.isroutine(function) else type(function).__call__


def doc_of(function: Any) -> str:
    """The docstring of the written function; of an object that can be called, its class's where the method has none."""
    own = written(function).__doc__
    if not own and not inspect.isroutine(function) and not isinstance(function, partial):
        own = type(function).__doc__
    return inspect.cleandoc(own or "")


def name_of(function: Any) -> str:
    """What a tool is called that is given no name."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", None) or type(function).__name__


def parameters_of(function: Callable[..., Any], name: str) -> dict[str, inspect.Parameter]:
    """The parameters that a caller still has to fill: neither ``self`` nor what a partial has bound.

    Args:
        function: anything that can be called.
        name: the tool's name, for the error.

    Raises:
        ConfigurationError: they cannot be known, or a method has no instance.
    """
    try:
        found = dict(inspect.signature(function).parameters)
    except ValueError:
        raise ConfigurationError(
            f"tool {name}: Python does not know the parameters of {function!r}", cure="Wrap it in a function"
        ) from None
    first = next(iter(found.values()), None)
    if first is not None and first.name == "self" and first.annotation is first.empty:
        raise ConfigurationError(
            f"tool {name} is a method without its object", cure=f"Pass it from an instance: Shop().{name}"
        )
    bound = function.keywords if isinstance(function, partial) else {}
    return {key: parameter for key, parameter in found.items() if key not in bound}


def typed_dicts(hint: Any) -> Any:
    """The type with each ``typing.TypedDict`` as the one that pydantic takes before Python 3.12."""
    return hint if sys.version_info >= (3, 12) else _modern(hint, ())


def _modern(hint: Any, within: tuple[Any, ...]) -> Any:
    if typing.is_typeddict(hint) and type(hint).__module__ == "typing":
        if hint in within:
            return dict[str, Any]  # it holds itself: the inner ones are not looked into
        fields: dict[str, Any] = {}
        for key, item in typing.get_type_hints(hint, include_extras=True).items():
            mark = typing.get_origin(item)
            marked = mark in (typing.Required, typing.NotRequired)
            needed = mark is typing.Required if marked else key in hint.__required_keys__
            inner = _modern(typing.get_args(item)[0] if marked else item, (*within, hint))
            fields[key] = (typing_extensions.Required if needed else typing_extensions.NotRequired)[inner]
        make: Any = typing_extensions.TypedDict
        made = make(hint.__name__, fields)
        made.__doc__ = hint.__doc__
        return made
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is None or origin is typing.Literal:
        return hint
    if origin is Annotated:
        return Annotated[(_modern(arguments[0], within), *arguments[1:])]
    changed = tuple(_modern(item, within) for item in arguments)
    if changed == arguments:
        return hint
    union: Any = typing.Union
    return union[changed] if origin in (union, UnionType) else origin[changed]
