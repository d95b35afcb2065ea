"""``qianda config``: every setting with its value and where it came from; reading and changing one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import typer

from qianda.cli.exits import DONE, GAVE_UP, complain
from qianda.cli.opening import load_settings
from qianda.cli.terminal import Terminal, clean, is_terminal, width
from qianda.models.config import SETTINGS, Config, RuleSetting, mask, user_config_path
from qianda.models.config_file import change_setting, read_value
from qianda.models.errors import ConfigurationError
from qianda.models.settings import DEFAULT_LIMITS, LIMITS, Setting, find_setting

_UNSET = {"server": "(what is found)", "model": "(the server's)", "thinking": "(the model's default)"}


def show(workspace: Path) -> int:
    """Print all settings, what was ignored, and the files that were read."""
    terminal = Terminal.current()
    config = load_settings(workspace)
    rows = [row for setting in SETTINGS.values() for row in _rows(config, setting)]
    first = max(width(row[0]) for row in rows)
    second = max(width(row[1]) for row in rows)
    for key, value, origin in rows:
        padded = value + " " * (second - width(value))
        typer.echo(f"{key:<{first}}  {padded}  {terminal.style(origin, 'dim')}".rstrip())
    typer.echo("")
    for path in config.files:
        typer.echo(f"read: {clean(str(path))}")
    if user_config_path() not in config.files:
        typer.echo(f"not there yet: {clean(str(user_config_path()))}")
    for line in config.ignored:
        typer.echo(f"ignored until qianda trust: {clean(line)}")
    return DONE


def get(key: str, workspace: Path) -> int:
    """Print one value; a secret is masked."""
    name, _, server = key.partition(".")
    setting = find_setting(name, "qianda config")
    value = getattr(load_settings(workspace), name)
    if setting.kind == "keys":
        keys = cast("Mapping[str, str]", value)
        value = keys.get(server) if server else ", ".join(keys)
    elif setting.kind == "rules":
        value = "\n".join(f"{rule.action} {rule.text}" for rule in cast("tuple[RuleSetting, ...]", value))
    elif setting.kind == "hooks":
        value = "\n".join(f"{point} {line}" for point, lines in value.items() for line in lines)
    elif setting.kind == "limits":
        bounds: dict[str, Any] = {**DEFAULT_LIMITS, **value}
        value = bounds.get(server) if server else "\n".join(f"{name} {bound}" for name, bound in bounds.items())
    elif server:
        raise ConfigurationError(f"{name} has no parts", cure=f"Write qianda config get {name}")
    if value is None or value == "":
        complain(f"{key} is not set")
        return GAVE_UP
    typer.echo(clean(mask(value) if setting.secret and (server or setting.kind == "text") else _text(value)))
    return DONE


def set_value(key: str, value: str | None) -> int:
    """Write one value into the user's file; without a value it is asked for, a key unseen."""
    name = key.partition(".")[0]
    setting = find_setting(name, "qianda config")
    if value is None:
        value = _ask(key, setting)
    change_setting(user_config_path(), key, read_value(key, value))
    _warn_if_overridden(setting)
    return DONE


def unset(key: str) -> int:
    """Remove one value from the user's file."""
    find_setting(key.partition(".")[0], "qianda config")
    if not change_setting(user_config_path(), key, None):
        complain(f"{key} was not set in {user_config_path()}")
    return DONE


def _ask(key: str, setting: Setting) -> str:
    if not is_terminal(sys.stdin):
        value = sys.stdin.readline().strip()
    elif setting.secret:
        import getpass

        value = getpass.getpass(f"{key}: ").strip()
    else:
        value = input(f"{key} ({setting.meaning}): ").strip()
    if not value:
        raise ConfigurationError(f"No value for {key}", cure=f"Allowed: {setting.values}")
    return value


def _warn_if_overridden(setting: Setting) -> None:
    import os

    if setting.environment and os.environ.get(setting.environment):
        complain(f"Written, but the environment variable {setting.environment} overrides it here")


def _rows(config: Config, setting: Setting) -> list[tuple[str, str, str]]:
    origin = config.origins.get(setting.key, "")
    if setting.kind == "keys":
        return [(f"api_keys.{clean(server)}", mask(key), origin) for server, key in config.api_keys.items()]
    if setting.kind == "rules":
        return [(f"rules.{rule.action}", clean(rule.text), rule.origin) for rule in config.rules]
    if setting.kind == "hooks":
        return [(f"hooks.{point}", clean(line), origin) for point, lines in config.hooks.items() for line in lines]
    if setting.kind == "limits":
        set_by = {**dict.fromkeys(DEFAULT_LIMITS, "the default"), **dict.fromkeys(config.limits, origin)}
        bounds = {**dict.fromkeys(LIMITS, "(none)"), **DEFAULT_LIMITS, **config.limits}
        return [(f"limits.{name}", str(bounds[name]), set_by.get(name, "")) for name in LIMITS]
    value = getattr(config, setting.key)
    if value is None:
        return [(setting.key, _UNSET.get(setting.key, "(none)"), "")]
    return [(setting.key, mask(value) if setting.secret else clean(_text(value)), origin or "the default")]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
