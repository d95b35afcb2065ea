"""The ``qianda`` program: every fault becomes one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from qianda.cli.exits import (
    COMPLETION,
    GAVE_UP,
    INTERRUPTED,
    close_output,
    complain,
    exit_code,
    known_error,
    write_traceback,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: those after the program's name; by default the process's own.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    for name, descriptor in (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, os.fdopen(os.open(os.devnull, descriptor), "r" if name == "stdin" else "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A character that the terminal's encoding lacks is no reason to lose an answer.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _dispatch(arguments)
    except BrokenPipeError:
        code = GAVE_UP  # whoever read our output has gone, and would not read a message either
    except KeyboardInterrupt:
        complain("Interrupted")
        code = INTERRUPTED
    except Exception as error:  # the last line of defence: no traceback reaches a person
        code = _explain(error)
    return code if close_output() or code else GAVE_UP


def _dispatch(arguments: Sequence[str]) -> int:
    # Completion scripts call the program without arguments, and speak through this variable.
    if not arguments and COMPLETION not in os.environ:
        from qianda.cli.chat import chat

        return chat()
    from qianda.cli.app import run_app

    return run_app(arguments)


def _explain(error: Exception) -> int:
    known = known_error(error)
    if known is not None:
        complain(str(known))
        return exit_code(known)
    log = write_traceback(error)
    where = f"the details are in {log}" if log else "and the details could not be written to the data folder"
    complain(f"Something unexpected happened ({type(error).__name__}); {where}")
    return GAVE_UP
