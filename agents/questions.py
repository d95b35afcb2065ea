"""The questions that running tools ask the user: each recorded, so that a resumed run does not ask again."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from qianda.agents.resources import Resources
from qianda.tools.questions import Answer, Question

if TYPE_CHECKING:
    from qianda.agents.run import Run


@dataclass(frozen=True, slots=True)
class Answered:
    """What is recorded of a question."""

    value: Answer


class Questions:
    """The questions of one call.

    Args:
        run: where they go.
        resources: the record, and who answers.
        name: the tool that asks.
        key: the call's place in the record.
    """

    def __init__(self, run: Run[Any], resources: Resources, name: str, key: str) -> None:
        self._run = run
        self._resources = resources
        self._name = name
        self._key = key
        self._times: Counter[str] = Counter()

    async def ask(self, question: Question) -> Answer:
        """The recorded answer, or else the user's.

        Raises:
            ToolError: nobody is there to answer.
        """
        # By what it says: a tool that runs again may ask in another order.
        text = orjson.dumps([question.question, question.options, question.schema], option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(text).hexdigest()[:12]
        key = f"{self._key}/question/{digest}/{self._times[digest]}"
        self._times[digest] += 1
        asked = replace(question, request_id=f"{self._run.id}/{key}")

        async def ask() -> Answered:
            return Answered(await self._run.questions.ask_question(asked, self._name, self._resources.ask))

        step = self._resources.journal.step(self._run.id, key, ask, kind="question", repeat="safe", returns=Answered)
        return (await step).value
