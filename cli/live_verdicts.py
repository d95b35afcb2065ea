"""What must come of the live checks of ``qianda doctor --full``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from qianda.agents.result import RunResult
from qianda.models.messages import AssistantMessage

Verdict = Callable[[RunResult[Any]], str]
"""Says what is wrong with a result, "" when nothing is."""


def calls_of(result: RunResult[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every call of the last run with its arguments, in order."""
    return [(call.name, json.loads(call.arguments)) for message in _replies(result) for call in message.tool_calls]


def _replies(result: RunResult[Any]) -> list[AssistantMessage]:
    last = max((at for at, message in enumerate(result.messages) if message.role == "user"), default=0)
    return [message for message in result.messages[last:] if isinstance(message, AssistantMessage)]


def called(tool: str, answer: str = "", **wanted: Any) -> Verdict:
    """One of the calls is this one, with these arguments among its own, and the answer says this."""

    def verdict(result: RunResult[Any]) -> str:
        calls = calls_of(result)
        if not any(call == tool and wanted.items() <= arguments.items() for call, arguments in calls):
            return f"wanted {tool}({wanted}), got {_shown(calls)}"
        return says(answer)(result)

    return verdict


def _shown(calls: list[tuple[str, dict[str, Any]]]) -> str:
    return ", ".join(f"{name}({json.dumps(arguments, ensure_ascii=False)})" for name, arguments in calls) or "no call"


def says(pattern: str, *, calls: bool = True) -> Verdict:
    """The answer matches, without markup in it, and, where ``calls`` is False, came without a call."""

    def verdict(result: RunResult[Any]) -> str:
        made = calls_of(result)
        if made and not calls:
            return f"wanted no call, got {_shown(made)}"
        if leaked := re.search(r"</?(think|tool_call|tool_response)>", result.output):
            return f"{leaked[0]} is in the answer"
        return "" if re.search(pattern, result.output, re.IGNORECASE) else f"answered {result.output[:80]!r}"

    return verdict


def together(result: RunResult[Any]) -> str:
    """One reply asked for both cities."""
    cities = [[json.loads(call.arguments).get("city") for call in reply.tool_calls] for reply in _replies(result)]
    return (
        "" if any({"Paris", "Tokyo"} <= set(asked) for asked in cities) else f"asked for {cities}, one list per reply"
    )


def thought(*, wanted: bool, then: Verdict) -> Verdict:
    """It thought, or did not, and then this."""

    def verdict(result: RunResult[Any]) -> str:
        thinking = any(reply.reasoning.strip() for reply in _replies(result))
        if thinking != wanted:
            return "it thought" if thinking else "it did not think"
        return then(result)

    return verdict


def is_object(wanted: Any) -> Verdict:
    """The validated answer is this."""

    def verdict(result: RunResult[Any]) -> str:
        return "" if result.output == wanted else f"answered {result.output!r:.80}"

    return verdict


def cut(result: RunResult[Any]) -> str:
    """The answer was cut, and the server says so."""
    return "" if result.finish == "length" else f"ended with {result.finish}, not with length"


def in_language(city: str, script: str) -> Verdict:
    """A call for the city, as it may be spelt, and an answer in the language."""

    def verdict(result: RunResult[Any]) -> str:
        calls = calls_of(result)
        if not any(name == "get_weather" and re.search(city, str(arguments.get("city"))) for name, arguments in calls):
            return f"wanted a call for {city}, got {_shown(calls)}"
        return says(script)(result)

    return verdict
