"""Changing one setting in a TOML file, leaving its other lines and comments as they are."""

from __future__ import annotations

import contextlib
import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any, cast

from qianda.models.errors import ConfigurationError
from qianda.models.settings import MCP_SERVERS, SETTINGS, check_value, find_setting, read_config_file
from qianda.models.whole_file import write_whole

_HEADER = re.compile(r"^\s*\[")
_KEY = re.compile(r"""^\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*=""")


def read_value(key: str, text: str) -> str | bool | float:
    """The value that a person wrote for a setting on the command line.

    Args:
        key: the setting; ``api_keys.SERVER`` for the key of a server, ``limits.turns`` for one of the limits.
        text: what stood there.

    Raises:
        ConfigurationError: no such setting, or not one of its values.
    """
    name, dot, part = key.partition(".")
    setting = find_setting(name, "qianda config")
    if setting.kind in ("rules", "hooks"):
        line = 'allow = ["run_command(pytest *)"]' if name == "rules" else 'before_tool = ["./check.sh"]'
        cure = f"Write them into your config.toml: [{name}] and below it {line}"
        raise ConfigurationError(f"{name} are not set by a command", cure=cure)
    form = {"keys": "api_keys.SERVER", "limits": "limits.turns"}.get(setting.kind, name)
    if ("." in form) != bool(dot):
        raise ConfigurationError(f"{key!r} is not a setting that can be changed", cure=f"Write {form}")
    if setting.kind == "switch" and text.casefold() in ("true", "on", "yes", "false", "off", "no"):
        return text.casefold() in ("true", "on", "yes")
    if setting.kind == "limits":
        number = _number(text)
        check_value(name, {part: number}, "qianda config")
        return number
    check_value(name, {"server": text} if setting.kind == "keys" else text, "qianda config")
    return text


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        with contextlib.suppress(ValueError):
            return float(text)
    return math.nan  # which fits nothing


def change_setting(path: Path, key: str, value: str | bool | float | None) -> bool:
    """Set a value in a configuration file, or remove it.

    Args:
        path: the file; made when it is not there.
        key: the setting, ``api_keys.SERVER`` for the key of a server.
        value: the new value, or None to remove the setting.

    Returns:
        Whether the file was changed.

    Raises:
        ConfigurationError: the file cannot be read, understood or written.
    """
    values = read_config_file(path) or {}
    wanted = _with(values, key, value)
    if wanted == values:
        return False
    table, dot, name = key.partition(".")
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    new = edit(old, table if dot else "", name if dot else key, None if value is None else literal(value))
    write_checked(path, new, wanted, key)
    return True


def remember_server(path: Path, server: str, model: str | None, key: str | None) -> None:
    """Make a server the one that is used where nothing else is said.

    Args:
        path: the user's file.
        server: its name or URL.
        model: the model's name there, or None for the server's own choice.
        key: its key, or None.

    Raises:
        ConfigurationError: the file cannot be read, understood or written.
    """
    values = read_config_file(path) or {}
    if "api_key" in values:  # which goes to the server that it stands beside
        if "server" in values:
            change_setting(path, f"api_keys.{values['server']}", values["api_key"])
        change_setting(path, "api_key", None)
    change_setting(path, "server", server)
    change_setting(path, "model", model)
    if key is not None:
        change_setting(path, f"api_keys.{server}", key)


def write_checked(path: Path, text: str, wanted: dict[str, Any], what: str) -> None:
    """Write a file anew once it is sure that it says what is wanted; only its owner can read one with keys.

    Args:
        path: the file.
        text: what it shall hold.
        wanted: what that has to mean.
        what: is changed, for the error.

    Raises:
        ConfigurationError: the edit went wrong, or the file cannot be written.
    """
    try:
        understood = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        understood = False
    if not understood:
        raise ConfigurationError(
            f"{path} is written in a way that cannot be changed safely", cure=f"Change {what} by hand"
        )
    replace_file(path, text, private=any(name == MCP_SERVERS or SETTINGS[name].secret for name in wanted))


def _with(values: dict[str, Any], key: str, value: str | bool | float | None) -> dict[str, Any]:
    table, dot, name = key.partition(".")
    if not dot:
        return _put(values, key, value)
    if value is None and table not in values:
        return values
    return {**values, table: _put(values.get(table, {}), name, value)}


def _put(values: dict[str, Any], key: str, value: str | bool | float | None) -> dict[str, Any]:
    rest = {name: content for name, content in values.items() if name != key}
    return rest if value is None else {**values, key: value}


def literal(value: object) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, cast('list[object]', value)))}]"
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return f"{{ {', '.join(f'{literal_key(key)} = {literal(item)}' for key, item in pairs)} }}" if pairs else "{}"
    # JSON's escapes are TOML's, but that TOML also wants DEL escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def literal_key(key: str) -> str:
    """A key in TOML."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else literal(key)


def edit(text: str, table: str, key: str, value: str | None) -> str:
    """TOML with one line of a table changed.

    Args:
        text: the whole file.
        table: the table's name as it stands between brackets; "" for the top.
        key: the key.
        value: the value in TOML; None removes it.
    """
    # Not splitlines: TOML's lines end only here, and a value may hold what Python takes for an end of line.
    lines = text.removesuffix("\n").split("\n") if text else []
    headers = [number for number, line in enumerate(lines) if _HEADER.match(line)]
    if table:
        start = next((n for n in headers if re.match(rf"^\s*\[\s*{re.escape(table)}\s*\]", lines[n])), None)
        if start is None:
            lines += [*([""] if lines else []), f"[{table}]"]
            start = len(lines) - 1
        first = start + 1
    else:
        first = 0
    end = next((number for number in headers if number >= first), len(lines))
    place = next((number for number in range(first, end) if _key_of(lines[number]) == key), None)
    name = literal_key(key)
    if place is not None:
        lines[place : place + 1] = [] if value is None else [f"{name} = {value}"]
    elif value is not None:
        while end > first and not lines[end - 1].strip():
            end -= 1
        lines.insert(end, f"{name} = {value}")
    return "\n".join(lines) + "\n" if lines else ""


def _key_of(line: str) -> str | None:
    match = _KEY.match(line)
    if match is None:
        return None
    quoted, literal, bare = match.groups()
    if quoted is not None:
        with contextlib.suppress(ValueError):
            return str(json.loads(f'"{quoted}"'))
    return literal if bare is None else bare


def replace_file(path: Path, text: str, *, private: bool) -> None:
    """Write the file anew in one step; readable by its owner only when it holds keys."""
    try:
        target = path.resolve()
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        write_whole(target, text, mode=0o600 if private else mode)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}", cure="Correct its rights, or free space"
        ) from error
