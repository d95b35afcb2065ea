"""Tools by name, as command lines and agents' files give them: toolsets, built-in tools, Python files."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

from qianda.models.errors import ConfigurationError, QiandaError
from qianda.tools.builtin import TOOLSETS, ask_user, plan
from qianda.tools.function_tool import FunctionTool
from qianda.tools.tool import Tool

QWEN_AGENT = "qwen-agent:"
_FILE = re.compile(r"(?P<path>.+\.py)(?::(?P<tool>[A-Za-z0-9_-]+))?")


def tools_named(name: str, folder: Path) -> list[Tool]:
    """The tools that a name stands for.

    Args:
        name: a toolset (``files``), a built-in tool (``read_file``), a Python file with ``@tool`` functions
            (``my_tools.py``) or one of them (``my_tools.py:weather``), a tool of Qwen-Agent
            (``qwen-agent:web_extractor``).
        folder: what the paths of Python files are relative to.

    Raises:
        ConfigurationError: there is nothing of that name, or the file fails.
    """
    if name in TOOLSETS:
        return TOOLSETS[name]()
    if name.startswith(QWEN_AGENT):
        from qianda.tools.qwen_agent import qwen_agent_tool

        return [qwen_agent_tool(name.removeprefix(QWEN_AGENT))]
    if file := python_file(name):
        path, wanted = file
        found = tools_of_file(folder / path.expanduser())
        kept = [tool for tool in found if wanted in ("", tool.name)]
        if not kept:
            there = ", ".join(tool.name for tool in found)
            raise ConfigurationError(f"{path} has no tool {wanted!r}", cure=f"It has {there}")
        return kept
    built_in = {tool.name: tool for tool in (ask_user, plan, *(tool for make in TOOLSETS.values() for tool in make()))}
    if name in built_in:
        return [built_in[name]]
    close = difflib.get_close_matches(name, [*TOOLSETS, *built_in], n=1)
    cure = f"Did you mean {close[0]}?" if close else f"There are {', '.join(TOOLSETS)}, and Python files: my_tools.py"
    raise ConfigurationError(f"There are no tools called {name!r}", cure=cure)


def python_file(name: str) -> tuple[Path, str] | None:
    """The Python file that a name of tools stands for, and the tool in it that is wanted, "" for all; else None."""
    found = _FILE.fullmatch(name)
    return (Path(found["path"]), found["tool"] or "") if found else None


def tools_of_file(path: Path) -> list[Tool]:
    """The ``@tool`` functions of a Python file, which is run for it.

    Raises:
        ConfigurationError: it is not there, fails, or has no tools.
    """
    module = _load(path)
    tools = {id(value): value for value in vars(module).values() if isinstance(value, Tool)}
    own = [tool for tool in tools.values() if not _is_imported(tool, module)]
    if not own:
        raise ConfigurationError(f"{path} has no tools", cure="Write @tool above the functions that are tools")
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
        raise ConfigurationError(f"There is no Python file {path}")
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
    """Keep prints, also those of child processes, out of stdout: it belongs to the answer, or to a protocol."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
