"""The rules that a person saved while being asked: a TOML file, by workspace."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from qianda.models.errors import ConfigurationError
from qianda.models.whole_file import write_whole


def read_saved(store: Path, workspace: Path) -> list[str]:
    """The allow rules that were saved for a workspace.

    Raises:
        ConfigurationError: the file cannot be read or understood.
    """
    return _read(store).get(str(workspace), [])


def save_rule(store: Path, workspace: Path, rule: str) -> None:
    """Add an allow rule for a workspace.

    Raises:
        ConfigurationError: the file cannot be read, understood or written.
    """
    saved = _read(store)
    rules = saved.setdefault(str(workspace), [])
    if rule in rules:
        return
    rules.append(rule)
    _write(store, saved)


def remove_rule(store: Path, workspace: Path, rule: str) -> None:
    """Delete an allow rule of a workspace; nothing happens when it is not there.

    Raises:
        ConfigurationError: the file cannot be read, understood or written.
    """
    saved = _read(store)
    rules = saved.get(str(workspace), [])
    if rule in rules:
        rules.remove(rule)
        _write(store, {folder: texts for folder, texts in saved.items() if texts})


def _write(store: Path, saved: Mapping[str, list[str]]) -> None:
    lines = ["# Saved by Qianda when a call was always allowed, by workspace. Lines may be removed."]
    for folder, texts in saved.items():
        lines += ["", f"[{_quoted(folder)}]", "allow = [", *(f"    {_quoted(text)}," for text in texts), "]"]
    try:
        write_whole(store, "\n".join(lines) + "\n")
    except OSError as error:
        raise ConfigurationError(f"The rules cannot be saved in {store}: {error.strerror}") from error


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but that TOML also wants DEL escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(store: Path) -> dict[str, list[str]]:
    try:
        values: dict[str, Any] = tomllib.loads(store.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{store} cannot be read: {error}", cure="Correct it, or remove it") from error
    saved: dict[str, list[str]] = {}
    for folder, table in values.items():
        rules: object = cast("dict[str, object]", table).get("allow") if isinstance(table, dict) else None
        if not isinstance(rules, list) or not all(isinstance(item, str) for item in cast("list[object]", rules)):
            raise ConfigurationError(f'{store}: "{folder}" has no list of rules', cure="Correct it, or remove it")
        saved[folder] = cast("list[str]", rules)
    return saved
