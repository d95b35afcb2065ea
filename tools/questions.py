"""What a running tool may ask the user, and how an answer is fitted to what was asked for."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from qianda.models.errors import ToolError

Answer = str | dict[str, Any] | None
C = TypeVar("C", bound=Callable[..., Any])
_AT_ONCE = "asked_at_once"

NOBODY = "nobody is there to answer questions; go on with your best judgement and say what you assumed"


def asked_at_once(approve: C) -> C:
    """Mark an ``approve=`` that may be asked for the next approval before it has answered the last: it has a queue."""
    vars(getattr(approve, "__func__", approve))[_AT_ONCE] = True  # of a method, its function has the attributes
    return approve


def is_asked_at_once(approve: object) -> bool:
    """Whether a function, or the function of a method, is marked so."""
    return getattr(approve, _AT_ONCE, False) is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of a tool to the user.

    Args:
        question: what is asked, for a person.
        options: answers to choose from; another text may be given all the same.
        schema: JSON Schema of a form, an object, or None where a text is wanted.
        request_id: what ``run.answer`` takes.
        run_id: the run that it belongs to.
        call_id: the call that asks.
    """

    question: str
    options: tuple[str, ...] = ()
    schema: dict[str, Any] | None = None
    request_id: str = ""
    run_id: str = ""
    call_id: str = ""

    def read(self, answer: Answer) -> Answer:
        """The answer, as it was asked for: a text, or an object that fits the form; None when it was declined.

        Raises:
            ToolError: it does not fit.
        """
        from qianda.tools.validation import parse_arguments

        if answer is None or self.schema is None:
            return answer if answer is None or isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        fields = list(self.schema.get("properties", {}))
        if isinstance(answer, str) and len(fields) == 1 and not answer.lstrip().startswith("{"):
            answer = {fields[0]: answer}
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return parse_arguments("the user's answer", text, self.schema, extra=True)


Asking = Callable[[Question], Awaitable[Answer]]


async def ask_nobody(question: Question) -> Answer:  # noqa: ARG001 - nobody hears it
    """Where there is no one to ask.

    Raises:
        ToolError: always.
    """
    raise ToolError(NOBODY)


async def fill_in(question: Question, ask: Callable[[str, tuple[str, ...]], Awaitable[str | None]]) -> Answer:
    """Have a person answer a question: a text at once, a form field by field.

    Args:
        question: the question.
        ask: asks for one text, given options; None when the person declines.

    Returns:
        The text, or the texts of a form by field; None when it, or a field that has to be filled, was declined.
    """
    if question.schema is None:
        return await ask(question.question, question.options)
    fields: dict[str, dict[str, Any]] = question.schema.get("properties", {})
    filled: dict[str, Any] = {}
    text = question.question + "\n"
    for name, field in fields.items():
        needed = name in question.schema.get("required", []) and "default" not in field
        about = ": ".join(filter(None, [field.get("title") or name, field.get("description", "")]))
        options = ("true", "false") if field.get("type") == "boolean" else tuple(map(str, field.get("enum", ())))
        answer = await ask(text + about + ("" if needed else " (may be left empty)"), options)
        if answer:
            filled[name] = answer
        elif needed:
            return None
        text = ""
    return filled
