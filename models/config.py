"""Settings: the user's and the project's TOML files and the environment, each value with where it came from."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from qianda.models.settings import (
    DEFAULT_LIMITS,
    HOOKS,
    MCP_SERVERS,
    PERMISSION_MODES,
    SETTINGS,
    PermissionMode,
    SandboxMode,
    check_value,
    read_config_file,
)

# What a folder that is not trusted may set, each to a value that is tighter than the user's: from tight to loose.
_TIGHTENED: Mapping[str, tuple[object, ...]] = MappingProxyType(
    {"permissions": PERMISSION_MODES, "sandbox": get_args(SandboxMode), "network": (False, True)}
)


@dataclass(frozen=True, slots=True)
class RuleSetting:
    """A rule as it stands in a file: what it does, such as ``write_file(docs/**)``, and the file."""

    action: Literal["allow", "ask", "deny"]
    text: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings that hold for one workspace.

    Args:
        server: URL or name of the model server, or None.
        model: name of the model, or None.
        api_key: key of ``server``, or None; see ``key_for``.
        api_keys: keys by server name or URL.
        thinking: on, off, or None for the model's own default.
        api: the server's interface: ``completions`` for prompts that are written here.
        permissions: what tools may do unasked.
        rules: the rules of all files.
        sandbox: whether commands run in a sandbox.
        network: whether commands in the sandbox may use the network.
        hooks: commands that are run around runs and calls.
        limits: what one run may use up, by the names of ``Limits``.
        record: whether runs are recorded.
        theme: name of the chat's colours; ``auto`` follows the terminal.
        language: of the chat; ``auto`` follows the environment.
        notify: whether the desktop is told what happens in a chat that has not the focus.
        plain: whether the chat is lines that are only appended.
        origins: for each key that was set, where: a file or ``environment NAME``.
        files: the configuration files that were read, in order.
        ignored: sentences: what a folder that is not trusted wanted and did not get.
    """

    server: str | None = None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_keys: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    thinking: bool | None = None
    api: Literal["chat", "completions"] = "chat"
    permissions: PermissionMode = "ask"
    rules: tuple[RuleSetting, ...] = ()
    sandbox: SandboxMode = "auto"
    network: bool = False
    hooks: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    limits: Mapping[str, float] = field(default_factory=dict[str, float])
    record: bool = True
    theme: str = "auto"
    language: str = "auto"
    notify: bool = True
    plain: bool = False
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    files: tuple[Path, ...] = ()
    ignored: tuple[str, ...] = ()

    def key_for(self, server: str | None) -> str | None:
        """The API key to send to ``server``, or None.

        A key that belongs to one server is never sent to another: only ``QIANDA_API_KEY``, which was set for
        this very process, goes to whichever server is used.
        """
        if self.api_key and self.origins.get("api_key") == "environment QIANDA_API_KEY":
            return self.api_key
        server = server or self.server
        if server is None:
            return None
        # The tables first: DASHSCOPE_API_KEY is in there, and the environment wins over files.
        keys = (key for name, key in self.api_keys.items() if _same_server(name, server))
        own = self.api_key if self.server is not None and _same_server(server, self.server) else None
        return next(keys, own)


def data_dir() -> Path:
    """The folder of records, weights, trust and logs; ``QIANDA_DATA_DIR`` overrides. It may not exist yet."""
    override = os.environ.get("QIANDA_DATA_DIR")
    if override:
        return Path(override).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("qianda")


def user_config_path() -> Path:
    """The user's configuration file; it may not exist."""
    import platformdirs

    return platformdirs.user_config_path("qianda") / "config.toml"


def saved_rules_path() -> Path:
    """Where the rules are that the user saved while being asked, by workspace; it may not exist."""
    return user_config_path().with_name("rules.toml")


def project_config_path(workspace: Path) -> Path:
    """The configuration file that a project brings; it may not exist."""
    return workspace / ".qianda" / "config.toml"


def load_config(workspace: Path, *, trusted: bool = False) -> Config:
    """Read the settings for a workspace: the user's file, then the project's, then the environment.

    Args:
        workspace: the folder that the run works in.
        trusted: whether the person trusts that folder; else its file may only tighten the permissions, and
            everything else that it wants is listed in ``Config.ignored``.

    Raises:
        ConfigurationError: a file cannot be read, or has an unknown key or a value of the wrong type.
    """
    config = Config()
    user, project = user_config_path(), project_config_path(workspace)
    for path in (user, project):
        values = read_config_file(path)
        if values is None:
            continue
        values.pop(MCP_SERVERS, None)
        config = replace(config, files=(*config.files, path))
        config = _merge(config, values, str(path)) if path == user or trusted else _tighten(config, values, path)
    return _environment(config)


def load_own_config() -> Config:
    """The settings of the user's own file alone, which are enough for how the chat looks, and read at once.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is wrong.
    """
    path = user_config_path()
    values = read_config_file(path) or {}
    values.pop(MCP_SERVERS, None)
    return _merge(Config(), values, str(path))


def mask(secret: str) -> str:
    """A secret as it may be shown: its last four characters, where it is long enough to spare them."""
    return f"****{secret[-4:]}" if len(secret) >= 16 else "****"


def _merge(config: Config, values: Mapping[str, Any], origin: str) -> Config:
    """``config`` with the values of one source over it."""
    values = dict(values)
    origins = {**config.origins, **dict.fromkeys(values, origin)}
    if "api_keys" in values:
        values["api_keys"] = {**config.api_keys, **values["api_keys"]}
    if "rules" in values:
        origins["rules"] = _and(config.origins.get("rules"), origin)
        values["rules"] = (*config.rules, *_rules(values["rules"], origin))
    if "hooks" in values:
        origins["hooks"] = _and(config.origins.get("hooks"), origin)
        both = (config.hooks, cast("dict[str, list[str]]", values["hooks"]))
        values["hooks"] = {point: tuple(line for each in both for line in each.get(point, ())) for point in HOOKS}
    if "limits" in values:
        origins["limits"] = _and(config.origins.get("limits"), origin)
        values["limits"] = {**config.limits, **values["limits"]}
    if "server" in values and "api_key" not in values and config.server is not None:
        # The key belongs to the server beside which it was written.
        if config.api_key is not None:
            values["api_keys"] = {config.server: config.api_key, **values.get("api_keys", config.api_keys)}
            origins.setdefault("api_keys", origins["api_key"])
            del origins["api_key"]
        values["api_key"] = None
    return replace(config, **values, origins=origins)


def _tighten(config: Config, values: Mapping[str, Any], path: Path) -> Config:
    """``config`` with what an untrusted folder may change: tighter permissions, sandbox and limits, stricter rules."""
    ignored = [f"{path} sets {key}" for key in values if key not in (*_TIGHTENED, "rules", "limits")]
    rules = _rules(values.get("rules", {}), str(path))
    ignored += [f"{path} allows {rule.text}" for rule in rules if rule.action == "allow"]
    if tight := tuple(rule for rule in rules if rule.action != "allow"):
        origins = {**config.origins, "rules": _and(config.origins.get("rules"), str(path))}
        config = replace(config, rules=config.rules + tight, origins=origins)
    for key, order in _TIGHTENED.items():
        wanted, held = values.get(key), getattr(config, key)
        if wanted is not None and order.index(wanted) < order.index(held):
            changed: dict[str, Any] = {key: wanted}
            config = replace(config, **changed, origins={**config.origins, key: str(path)})
        elif wanted is not None and wanted != held:
            ignored.append(f"{path} sets {key} to {str(wanted).lower()}")
    for name, bound in values.get("limits", {}).items():
        held = config.limits.get(name, DEFAULT_LIMITS.get(name, math.inf))
        if bound < held:
            origins = {**config.origins, "limits": _and(config.origins.get("limits"), str(path))}
            config = replace(config, limits={**config.limits, name: bound}, origins=origins)
        elif bound != held:
            ignored.append(f"{path} sets limits.{name} to {bound}")
    return replace(config, ignored=(*config.ignored, *ignored))


def _rules(table: Mapping[str, list[str]], origin: str) -> list[RuleSetting]:
    return [RuleSetting(action, text, origin) for action in ("deny", "ask", "allow") for text in table.get(action, ())]


def _environment(config: Config) -> Config:
    """``config`` with the environment over it."""
    for setting in SETTINGS.values():
        value = os.environ.get(setting.environment, "").strip() if setting.environment else ""
        if value:
            check_value(setting.key, value, setting.environment)
            config = _merge(config, {setting.key: value}, f"environment {setting.environment}")
    dashscope = os.environ.get("DASHSCOPE_API_KEY", "").strip()
    if dashscope:
        check_value("api_keys", {"modelstudio": dashscope}, "DASHSCOPE_API_KEY")
        keys = {name: key for name, key in config.api_keys.items() if not _same_server(name, "modelstudio")}
        origin = _and(config.origins.get("api_keys"), "environment DASHSCOPE_API_KEY")
        config = replace(
            config, api_keys={"modelstudio": dashscope, **keys}, origins={**config.origins, "api_keys": origin}
        )
    return config


def _and(first: str | None, second: str) -> str:
    return f"{first} and {second}" if first else second


def _same_server(one: str, other: str) -> bool:
    return _server_identity(one) == _server_identity(other)


def _server_identity(server: str) -> str:
    """A server's name or URL in the form in which two of them are compared."""
    server = server.strip().casefold().rstrip("/").removesuffix("/v1").rstrip("/")
    if server == "dashscope":
        return "modelstudio"
    scheme, separator, rest = server.partition("://")
    host = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2].partition(":")[0]
    # Anybody can have a bucket or a service below aliyuncs.com: only Model Studio's own hosts count.
    own = r"(^|[.])(dashscope(-\w+)?|\w[\w-]*[.]maas)[.]aliyuncs[.]com$"
    if separator and scheme == "https" and re.search(own, host):
        return "modelstudio"
    return server
