"""What an editor can switch in a session: permissions and plan mode, the model, thinking."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from acp.schema import SessionConfigOptionSelect, SessionConfigSelectOption, SessionMode, SessionModeState

from qianda.cli.opening import Choices
from qianda.models.config import PERMISSION_MODES, PermissionMode
from qianda.models.detection import FoundServer, detect
from qianda.models.errors import ConfigurationError, QiandaError
from qianda.models.http import open_http
from qianda.models.resolve import Endpoint, bearer

PLAN = "plan"
_MODES = {
    "read-only": ("Read only", "Looks, and changes nothing"),
    "ask": ("Ask", "Asks before it changes anything"),
    "edits": ("Edits", "Changes files in the folder unasked, and asks for the rest"),
    "auto": ("Auto", "Does everything unasked"),
    PLAN: ("Plan", "Plans first, and changes nothing before you have accepted the plan"),
}
_THINKING = {"default": "As the model does by itself", "on": "On", "off": "Off"}
_SECONDS = 2.0  # that the list of a server's models may take


class Switches:
    """The switches of one session.

    Args:
        choices: what was chosen on the command line.
        loosest: the loosest permissions that the agent's file lets anybody choose.
    """

    def __init__(self, choices: Choices, loosest: PermissionMode) -> None:
        self._first = choices
        self._modes = [*PERMISSION_MODES[: PERMISSION_MODES.index(loosest) + 1], PLAN]
        self._models: dict[str, Choices] = {}
        self._named: list[SessionConfigSelectOption] = []
        self._model, self._home = "", ""

    async def offer(self, endpoint: Endpoint, found: list[FoundServer]) -> None:
        """Take over the server and model in use, and other servers, as what can be chosen."""
        self._home = self._home or endpoint.url  # the only server that the key of the command line is for
        apart = endpoint.engine is not None or endpoint.transport is not None  # not to be found again by its address
        if not apart and endpoint.url not in [server.url for server in found]:
            found = [*await _models_beside(endpoint), *found]
        self._model = f"{endpoint.label} at {endpoint.title if apart else endpoint.url}"
        if apart:
            self._add(self._model, endpoint.label, endpoint.title, self._first)
        for server in found:
            key = self._first.api_key_env if server.url == self._home else None
            for name in dict.fromkeys([model.id for model in server.models]):
                chosen = replace(self._first, server=server.url, model=name, api_key_env=key)
                self._add(f"{name} at {server.url}", name, f"{server.kind.title} at {server.url}", chosen)
        if self._model not in self._models:
            key = self._first.api_key_env if endpoint.url == self._home else None
            chosen = replace(self._first, server=endpoint.url, model=endpoint.model, api_key_env=key)
            self._add(self._model, endpoint.label, endpoint.title, chosen)

    def _add(self, value: str, name: str, where: str, chosen: Choices) -> None:
        if value not in self._models:
            self._models[value] = chosen
            self._named.append(_value(value, name, where))

    def modes(self, mode: str) -> SessionModeState:
        """The modes, for editors that know no other switches."""
        known = [SessionMode(id=each, name=_MODES[each][0], description=_MODES[each][1]) for each in self._modes]
        return SessionModeState(current_mode_id=mode, available_modes=known)

    def shown(self, mode: str, thinking: Any) -> list[Any]:
        """All switches as they stand."""
        modes = [_value(each, *_MODES[each]) for each in self._modes]
        level = "on" if thinking is True else "off" if thinking is False else "default"
        return [
            _select("mode", "Mode", "mode", mode, modes),
            _select("model", "Model", "model", self._model, self._named),
            _select("thinking", "Thinking", "thought_level", level, [_value(*each) for each in _THINKING.items()]),
        ]

    def changes(self, switch: str, value: str) -> dict[str, Any]:
        """The fields of ``Choices`` that a switch changes.

        Raises:
            ConfigurationError: there is no such switch, or no such value of it.
        """
        if switch == "mode" and value in self._modes:
            return {"plan": True} if value == PLAN else {"plan": False, "permissions": value}
        if switch == "model" and value in self._models:
            chosen = self._models[value]
            return {"server": chosen.server, "model": chosen.model, "api_key_env": chosen.api_key_env}
        if switch == "thinking" and value in _THINKING:
            return {"thinking": self._first.thinking if value == "default" else value == "on"}
        raise ConfigurationError(f"There is no {switch} {value!r} to switch to")


def _value(value: str, name: str, description: str | None = None) -> SessionConfigSelectOption:
    return SessionConfigSelectOption(value=value, name=name, description=description)


def _select(name: str, title: str, category: Any, value: str, options: Any) -> SessionConfigOptionSelect:
    return SessionConfigOptionSelect(
        type="select", id=name, name=title, category=category, current_value=value, options=options
    )


async def _models_beside(endpoint: Endpoint) -> list[FoundServer]:
    """The server in use with all its models; nothing where it does not say in time."""
    try:
        async with asyncio.timeout(_SECONDS), open_http(endpoint.url) as http:
            return [await detect(http, endpoint.url, headers=bearer(endpoint.api_key), seconds=_SECONDS)]
    except (QiandaError, TimeoutError):
        return []
