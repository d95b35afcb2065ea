"""Imports Qwen-Agent so that it leaves nothing behind in this process but its modules."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
import warnings
from typing import Any

from qianda.models.errors import ConfigurationError

_LOCK = threading.Lock()
_loaded: set[str] = set()  # sys.modules also has those that another thread is still importing


def load_qwen_agent(module: str = "qwen_agent") -> Any:
    """A module of Qwen-Agent, imported at the first call: 2 to 5 seconds of CPU.

    Imported on the main thread it replaces the handlers of SIGINT and SIGTERM; anywhere, it and what it brings write
    their logs to stderr and change which warnings are shown. None of that is left here. Where the program itself has
    imported it before, all stays as it is.

    Args:
        module: a module of the package.

    Raises:
        ConfigurationError: it is not installed, or cannot be imported.
    """
    if module not in _loaded:
        with _LOCK:
            failures: list[Exception] = []
            thread = threading.Thread(target=_import, args=(module, failures), name="import qwen_agent", daemon=True)
            thread.start()
            thread.join()
        if failures:
            raise ConfigurationError(
                f"Qwen-Agent cannot be imported: {type(failures[0]).__name__}: {failures[0]}",
                cure="pip install --upgrade qianda qwen-agent",
            ) from failures[0]
        _loaded.add(module)
    return sys.modules[module]


def _import(module: str, failures: list[Exception]) -> None:
    before = set(_loggers())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    except Exception as error:
        failures.append(error)
    for name, logger in _loggers().items():
        if name in before or all(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            continue
        # Its messages go where the program's own do, if anywhere.
        logger.handlers[:] = [logging.NullHandler()]
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


def _loggers() -> dict[str, logging.Logger]:
    known = logging.Logger.manager.loggerDict.copy()
    return {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}
