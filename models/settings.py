"""The settings that there are: what a configuration file may say, and reading one."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from qianda.models.errors import ConfigurationError

PermissionMode = Literal["read-only", "ask", "edits", "auto"]
APIS = ("chat", "completions")
PERMISSION_MODES: tuple[PermissionMode, ...] = ("read-only", "ask", "edits", "auto")  # from tight to loose
_RULES = ("allow", "ask", "deny")
HOOKS = ("before_tool", "after_tool", "run_start", "run_end")
LIMITS = ("turns", "tool_calls", "tokens", "cost", "seconds", "depth")
DEFAULT_LIMITS: Mapping[str, int] = MappingProxyType({"turns": 50, "tool_calls": 200, "depth": 3})
_FRACTIONS = ("cost", "seconds")
MCP_SERVERS = "mcp_servers"  # a table that is no setting: see qianda.tools.mcp.configured
SandboxMode = Literal["on", "auto", "off"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of the configuration files.

    Args:
        key: its name.
        kind: what its value is; ``keys`` is a table from server to API key, ``rules`` one of lists of rules,
            ``hooks`` one of lists of commands, ``limits`` one of numbers.
        meaning: one line for people.
        allowed: the values that a ``choice`` may have.
        environment: the variable that overrides the files, or "".
        secret: never shown.
    """

    key: str
    kind: Literal["text", "switch", "choice", "keys", "rules", "hooks", "limits"]
    meaning: str
    allowed: tuple[str, ...] = ()
    environment: str = ""
    secret: bool = False

    @property
    def values(self) -> str:
        """The allowed values, for an error message."""
        match self.kind:
            case "text":
                return "ASCII letters, digits and signs without spaces, in quotes" if self.secret else "text in quotes"
            case "switch":
                return "true or false"
            case "choice":
                return ", ".join(f'"{value}"' for value in self.allowed)
            case "keys":
                return "a table of text: a server's name or URL, and its key"
            case "rules":
                return 'a table of lists: allow = ["run_command(pytest *)"], ask = […], deny = […]'
            case "hooks":
                return 'a table of lists of commands: before_tool = ["./check.sh"], after_tool, run_start, run_end'
            case "limits":
                return f"a table of numbers above 0: {', '.join(LIMITS)}"


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        setting.key: setting
        for setting in (
            Setting(
                "server", "text", "URL, or a name: ollama, vllm, modelstudio, embedded …", environment="QIANDA_SERVER"
            ),
            Setting("model", "text", "name of the model at that server", environment="QIANDA_MODEL"),
            Setting("api_key", "text", "key of that server", environment="QIANDA_API_KEY", secret=True),
            Setting("api_keys", "keys", "keys of other servers", secret=True),
            Setting("thinking", "switch", "let the model think before it answers"),
            Setting("api", "choice", "completions: for base models and wrong chat templates", allowed=APIS),
            Setting("permissions", "choice", "what tools may do unasked", allowed=PERMISSION_MODES),
            Setting("rules", "rules", "what is allowed, asked or denied whatever the permissions say"),
            Setting(
                "sandbox", "choice", "where commands run: auto is where there is one", allowed=get_args(SandboxMode)
            ),
            Setting("network", "switch", "let commands in the sandbox use the network"),
            Setting("hooks", "hooks", "commands that are run around runs and calls"),
            Setting("limits", "limits", "what one run may use up"),
            Setting("record", "switch", "record runs, so that they can be shown and gone on with"),
            Setting("theme", "text", "colours of the chat: auto, or a name that /theme shows"),
            Setting("language", "text", "of the chat: auto, en, zh"),
            Setting("notify", "switch", "tell the desktop when a long run ends, or something is asked"),
            Setting("plain", "switch", "the chat as lines that are only appended, as with --plain"),
        )
    }
)


def read_config_file(path: Path) -> dict[str, Any] | None:
    """The validated contents of one configuration file, or None when there is no such file.

    Raises:
        ConfigurationError: it cannot be read, or has an unknown key or a value of the wrong type.
    """
    try:
        text = path.read_bytes().decode()
        values = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror}", cure="Correct its rights, or remove it"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 text", cure="Save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}", cure="Correct it, or remove it") from error
    for key, value in values.items():
        if key != MCP_SERVERS:
            check_value(key, value, str(path))
    return values


def find_setting(key: str, where: str) -> Setting:
    """The setting of that name.

    Args:
        key: the name.
        where: the file or command that named it, for the error.

    Raises:
        ConfigurationError: there is none.
    """
    if key in SETTINGS:
        return SETTINGS[key]
    import difflib

    close = difflib.get_close_matches(key, SETTINGS, 1)
    hint = f"Did you mean {close[0]}? " if close else ""
    raise ConfigurationError(f"{where}: unknown key {key!r}", cure=f"{hint}Allowed: {', '.join(SETTINGS)}")


def check_value(key: str, value: object, where: str) -> None:
    """See that a value fits its setting.

    Raises:
        ConfigurationError: it does not; the value itself is not in the message, as it may be a secret.
    """
    setting = find_setting(key, where)
    match setting.kind:
        case "text":
            good = isinstance(value, str) and (_fits_a_header(value) if setting.secret else value.strip() != "")
        case "switch":
            good = isinstance(value, bool)
        case "choice":
            good = value in setting.allowed
        case "keys":
            good = isinstance(value, dict) and all(
                isinstance(item, str) and _fits_a_header(item) for item in cast("dict[str, object]", value).values()
            )
        case "rules" | "hooks":
            good = isinstance(value, dict) and all(
                action in (_RULES if setting.kind == "rules" else HOOKS)
                and isinstance(texts, list)
                and all(isinstance(text, str) for text in cast("list[object]", texts))
                for action, texts in cast("dict[str, object]", value).items()
            )
        case "limits":
            good = isinstance(value, dict) and all(
                name in LIMITS and _is_bound(bound, whole=name not in _FRACTIONS)
                for name, bound in cast("dict[str, object]", value).items()
            )
    if not good:
        raise ConfigurationError(f"{where}: {key} has a value that is not allowed", cure=f"Allowed: {setting.values}")


def _fits_a_header(key: str) -> bool:
    """Whether an API key can be sent at all: HTTP headers carry visible ASCII."""
    return key.isascii() and key.isprintable() and key != "" and " " not in key


def _is_bound(value: object, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    return value > 0 and math.isfinite(value)
