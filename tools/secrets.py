"""Keeps keys out of what tools are given and of what they give back: known values, and what has the shape of a key."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from qianda.models.errors import QiandaError
from qianda.models.messages import Content, TextPart

# Programs that think that nobody reads along neither colour their output nor wait for an answer.
_PLAIN = {"TERM": "dumb", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0"}
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|(?:^|_)PAT$", re.IGNORECASE)
_SHORTEST = 12  # characters of a known value that is looked for: shorter ones are words, numbers and switches
_CREDENTIALS_IN_URL = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
_PLACEHOLDER = re.compile(r"\[secret [\w .-]+ kept out\]")
_DIGITS = 3  # that a key has at least

# What each shape is called, what is in every key of it (looked for first: most texts hold none), and the shape.
_SHAPES = tuple(
    (name, sign, re.compile(shape))
    for name, sign, shape in (
        ("API key", "sk-", r"sk-[A-Za-z0-9_-]{20,}"),
        ("AWS key", "AKIA", r"AKIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
        ("AWS key", "ASIA", r"ASIA[A-Z0-9]{16}(?![A-Za-z0-9])"),
        ("Alibaba Cloud key", "LTAI", r"LTAI[A-Za-z0-9]{16,26}(?![A-Za-z0-9])"),
        ("Google key", "AIza", r"AIza[A-Za-z0-9_-]{35}"),
        *(("GitHub token", f"gh{kind}_", rf"gh{kind}_[A-Za-z0-9]{{36,}}") for kind in "pousr"),
        ("GitHub token", "github_pat_", r"github_pat_[A-Za-z0-9_]{22,}"),
        ("GitLab token", "glpat-", r"glpat-[A-Za-z0-9_-]{20,}"),
        ("Slack token", "xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
        ("Hugging Face token", "hf_", r"hf_[A-Za-z0-9]{34,}"),
        ("npm token", "npm_", r"npm_[A-Za-z0-9]{36}"),
        ("PyPI token", "pypi-AgEIcHlwaS5vcmc", r"pypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}"),
        ("signed token", "eyJ", r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    )
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----[^-]*(?:-----END [A-Z0-9 ]{0,60}-----)?"
)

_known: dict[str, str] = {}  # the name by value


def know_secrets(workspace: Path | None = None, keys: Iterable[str | None] = ()) -> None:
    """Look for the values that must not get out: in the environment, the configuration, and a workspace's ``.env``.

    Args:
        workspace: the folder whose ``.env`` is read.
        keys: more of them: those of the server that is used.
    """
    _note((name, os.environ.get(name, "")) for name in os.environ if _SECRET_NAME.search(name))
    _read_files(workspace)
    _note(("API key", key or "") for key in keys)


@cache
def _read_files(workspace: Path | None) -> None:
    """The secrets in files, read once: an agent that is asked often does not read them each time."""
    from qianda.models.config import load_config

    with suppress(QiandaError):  # what is wrong with it is said where it is used
        config = load_config(workspace or Path.cwd(), trusted=True)
        keys = ((f"api_keys.{name}", key) for name, key in config.api_keys.items())
        _note([("api_key", config.api_key or ""), *keys])
    if workspace is not None:
        with suppress(OSError, UnicodeDecodeError):
            lines = (workspace / ".env").read_text("utf-8").splitlines()
            pairs = (line.removeprefix("export ").partition("=")[::2] for line in lines)
            _note((name.strip(), value.strip().strip("\"'")) for name, value in pairs if _SECRET_NAME.search(name))


def clean_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a tool's process: without the variables that look like secrets, by name or by value."""
    source = os.environ if environment is None else environment
    return {
        name: value
        for name, value in source.items()
        if not _SECRET_NAME.search(name) and not _CREDENTIALS_IN_URL.search(value) and redact(value) == value
    } | _PLAIN


def redact(text: str) -> str:
    """The text with ``[secret NAME kept out]`` in the place of every key."""
    for value, name in _known.items():
        if value in text:
            text = text.replace(value, _kept_out(name))
    for name, sign, shape in _SHAPES:
        if sign in text:
            text = shape.sub(lambda found, name=name: found[0] if _is_word(name, found) else _kept_out(name), text)
    if "PRIVATE KEY" in text:
        text = _PRIVATE_KEY.sub(_kept_out("private key"), text)
    return text


def redact_content(content: Content) -> Content:
    """``redact`` for text and for the texts among parts."""
    if isinstance(content, str):
        return redact(content)
    return tuple(TextPart(redact(part.text)) if isinstance(part, TextPart) else part for part in content)


def has_placeholder(text: str) -> bool:
    """Whether something was kept out of a text: written to a file it would destroy the secret there."""
    return _PLACEHOLDER.search(text) is not None


def _note(found: Iterable[tuple[str, str]]) -> None:
    for name, value in found:
        if len(value) >= _SHORTEST and not value.startswith(("/", "~", "./")):  # where a key is, is none
            _known.setdefault(value, re.sub(r"[^\w.-]+", " ", name))


def _is_word(name: str, found: re.Match[str]) -> bool:
    """Whether it only looks like a key: it is the end of a longer word, or a style sheet's class (``sk-…``)."""
    before = found.string[found.start() - 1 : found.start()]
    return re.match(r"[A-Za-z0-9_-]", before) is not None or (
        name == "API key" and sum(map(str.isdigit, found[0])) < _DIGITS
    )


def _kept_out(name: str) -> str:
    return f"[secret {name} kept out]"
