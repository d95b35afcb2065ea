"""The prompt of a run: argument, file and stdin, with attached files and images."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from qianda.cli.terminal import is_terminal
from qianda.models.errors import ConfigurationError
from qianda.models.messages import Content, MediaPart, Part, TextPart

LARGEST_FILE = 20_000_000
_SILENCE = 5.0


def read_prompt(argument: str | None, prompt_file: str | None) -> str:
    """The prompt: argument, file and what is piped in, one after the other.

    Args:
        argument: what stood on the command line, or None.
        prompt_file: name of a text file, or None.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    parts = [argument or ""]
    if prompt_file is not None:
        parts.append(read_text(prompt_file))
    if _is_piped(have_prompt=any(parts)):
        parts.append(_decode(_read_stdin(), "stdin"))
    prompt = "\n\n".join(part.rstrip("\n") for part in parts if part.strip())
    if not prompt:
        raise ConfigurationError(
            "There is no prompt", cure='Write qianda run "PROMPT", --prompt-file FILE, or pipe it in'
        )
    return prompt


def attach(prompt: str, files: Sequence[str], images: Sequence[str]) -> Content:
    """The prompt with the text of files after it and images beside it.

    Raises:
        ConfigurationError: a file is missing, cannot be read, or is of the wrong kind.
    """
    text = prompt + "".join(f'\n\n<file name="{name}">\n{read_text(name).rstrip()}\n</file>' for name in files)
    if not images:
        return text
    parts: list[Part] = [TextPart(text)]
    parts.extend(_read_image(name) for name in images)
    return tuple(parts)


def read_text(name: str) -> str:
    """The text of a file.

    Raises:
        ConfigurationError: it is missing, cannot be read, too large, or not text.
    """
    return _decode(_read(name), name)


def _read_image(name: str) -> MediaPart:
    _read(name)
    try:
        part = MediaPart.from_file(name)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    if part.type != "image":
        raise ConfigurationError(f"{name} is not an image (its name says: {part.type})")
    return part


def _read(name: str) -> bytes:
    try:
        with Path(name).open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise ConfigurationError(f"{name} does not exist", cure="Correct the path") from None
    except IsADirectoryError:
        raise ConfigurationError(f"{name} is a folder", cure="Name the files in it") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{name} cannot be read: {why}") from error
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(
            f"{name} is larger than {LARGEST_FILE // 1_000_000} MB", cure="Attach the part that matters"
        )
    return content


def _decode(content: bytes, name: str) -> str:
    try:
        if b"\0" in content:
            raise ConfigurationError(f"{name} is a binary file, not text", cure="Pictures are attached with --image")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{name} is not UTF-8 text (byte 0x{content[error.start]:02x} at {error.start})",
            cure="Convert it to UTF-8; pictures are attached with --image",
        ) from error


def _is_piped(*, have_prompt: bool) -> bool:
    """Whether stdin holds (part of) the prompt; a device such as /dev/null does not."""
    if is_terminal(sys.stdin):
        return False
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return not have_prompt or stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)


def _read_stdin() -> bytes:
    """All of stdin; a pipe that stays open and silent is said, as nobody would guess what is waited for."""
    stream = sys.stdin.buffer
    if not select.select([stream], [], [], _SILENCE)[0]:
        from qianda.cli.exits import complain

        complain("Waiting for the rest of the prompt on stdin; end it with Ctrl+D, or use </dev/null")
    content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ConfigurationError(f"stdin is larger than {LARGEST_FILE // 1_000_000} MB")
    return content
