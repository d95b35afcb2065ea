"""Exit codes, and how a fault becomes one line on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import cast

from qianda.models.errors import (
    ConfigurationError,
    LimitReached,
    PermissionDenied,
    QiandaError,
    ServerError,
)

DONE = 0
GAVE_UP = 1
USAGE = 2
REFUSED = 3
LIMIT = 4
SERVER = 5
INTERRUPTED = 130

COMPLETION = "_QIANDA_COMPLETE"  # the variable by which the shells' completion scripts speak to the program

_LONGEST = 1_000
_CODES: tuple[tuple[type[QiandaError], int], ...] = (
    (ConfigurationError, USAGE),
    (PermissionDenied, REFUSED),
    (LimitReached, LIMIT),
    (ServerError, SERVER),
)


def exit_code(error: QiandaError) -> int:
    """The exit code that says what kind of error it was."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), GAVE_UP)


def complain(text: str) -> None:
    """Write one line to stderr; nothing happens when stderr is closed."""
    from qianda.cli.terminal import clean

    line = " ".join(clean(text).split())
    if len(line) > _LONGEST:
        line = f"{line[:_LONGEST]} …"
    with contextlib.suppress(OSError, ValueError):
        print(f"qianda: {line}", file=sys.stderr, flush=True)  # noqa: T201  # stderr is where a command's problems go


def known_error(error: BaseException) -> QiandaError | None:
    """The error of ours that an exception is or, as a group, holds."""
    if isinstance(error, QiandaError):
        return error
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        found = (known_error(inner) for inner in group.exceptions)
        return next((inner for inner in found if inner is not None), None)
    return None


def write_traceback(error: BaseException) -> Path | None:
    """Keep the traceback of an unexpected exception in a log file.

    Returns:
        The file, or None when none could be written.
    """
    import datetime as dt
    import traceback

    from qianda.models.config import data_dir
    from qianda.tools.secrets import redact

    now = dt.datetime.now(tz=dt.UTC)
    path = data_dir() / "logs" / f"{now:%Y%m%d-%H%M%S}-{os.getpid()}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(traceback.format_exception(error))
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as log:
            log.write(redact(text).encode(errors="backslashreplace"))
    except OSError:
        return None
    return path


def close_output() -> bool:
    """Flush stdout before the interpreter does, so that a reader who has gone, or a full disk, is no traceback.

    Returns:
        Whether everything was written.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
