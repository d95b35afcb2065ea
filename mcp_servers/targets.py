"""What can be served: built-in toolsets by name, and the tools of a Python file."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path
from types import ModuleType

from qianda.models.errors import ConfigurationError, QiandaError
from qianda.tools import TOOLSETS, FunctionTool, Tool


def list_targets() -> dict[str, list[str]]:
    """The built-in toolsets that can be served, and the names of their tools."""
    return {name: [tool.name for tool in toolset()] for name, toolset in TOOLSETS.items()}


def load_targets(targets: Sequence[str], *, read_only: bool = False) -> list[Tool]:
    """The tools that some targets stand for.

    Args:
        targets: names of built-in toolsets, and paths of Python files with ``@tool`` functions.
        read_only: leave out the tools that may change something.

    Raises:
        ConfigurationError: a target is unknown, a file fails, two tools have one name, or no tool is left.
    """
    known = ", ".join(TOOLSETS)
    if not targets:
        raise ConfigurationError("There is nothing to serve", cure=f"Name {known} or a Python file")
    tools: dict[str, Tool] = {}
    for target in dict.fromkeys(targets):
        if target in TOOLSETS:
            found = TOOLSETS[target]()
        elif target.endswith(".py") or os.sep in target:
            found = _tools_of_file(Path(target))
        else:
            raise ConfigurationError(
                f"There is nothing called {target!r} to serve", cure=f"It is {known} or a .py file"
            )
        for tool in found:
            if tool.name in tools:
                raise ConfigurationError(f"Two tools to serve are called {tool.name}; the second is in {target}")
            tools[tool.name] = tool
    kept = [tool for tool in tools.values() if tool.read_only or not read_only]
    if not kept:
        raise ConfigurationError(
            f"No tool of {', '.join(targets)} only reads, so nothing is left to serve",
            cure="Mark those that do with @tool(read_only=True), or leave --read-only out",
        )
    return kept


def _tools_of_file(path: Path) -> list[Tool]:
    module = _load(path)
    tools = {id(value): value for value in vars(module).values() if isinstance(value, Tool)}
    own = [tool for tool in tools.values() if not _is_imported(tool, module)]
    if not own:
        raise ConfigurationError(f"{path} has no tools", cure="Write @tool above the functions that are to be served")
    for tool in own:
        try:
            _ = tool.schema
        except QiandaError as error:
            raise ConfigurationError(f"{path}: {error.message}", cure=error.cure) from error
    return own


def _is_imported(tool: Tool, module: ModuleType) -> bool:
    """Whether a tool belongs to another module, from which this one has it."""
    home = tool.function.__module__ if isinstance(tool, FunctionTool) else type(tool).__module__
    return home != module.__name__ and any(value is tool for value in vars(sys.modules.get(home, object)).values())


def _load(path: Path) -> ModuleType:
    """Run a Python file as a module with a name of its own; what it prints goes to stderr."""
    if not path.is_file():
        raise ConfigurationError(f"There is no file {path} to serve")
    path = path.resolve()
    name = f"_qianda_{re.sub(r'[^A-Za-z0-9]', '_', path.stem)}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is not a Python file", cure="Its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # what it imports lies beside it, as when Python runs it
    try:
        with _stdout_to_stderr():
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigurationError(_explain(path, error)) from error
    return module


def _explain(path: Path, error: BaseException) -> str:
    """``my_tools.py:12: NameError: …``, with the line of the file that led to the error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
    first = str(error).strip().partition("\n")[0]
    if isinstance(error, SystemExit):
        first = "it ends the program while it is loaded; put that under if __name__ == '__main__':"
    where = f"{path}:{line}" if line else str(path)
    return f"{where}: {type(error).__name__}" + (f": {first}" if first else "")


@contextlib.contextmanager
def _stdout_to_stderr() -> Generator[None]:
    """Keep prints, also those of child processes, out of stdout: it belongs to the protocol."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
