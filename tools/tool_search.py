"""Tools on demand: where there are more than fit, the model looks for those that it needs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from qianda.models.errors import ToolError
from qianda.models.messages import ToolSchema
from qianda.tools.context import Context
from qianda.tools.results import ToolResult
from qianda.tools.tool import Tool
from qianda.tools.validation import parse_arguments

FIND_TOOLS = "find_tools"
BUDGET = 8_000
"""Characters of schemas that a small model still understands, and that a local one reads in bearable time."""
_MOST_FOUND = 5
_LONGEST_NAMES = 600
_LONGEST_LINE = 120
_PREFIX = 4
# BM25's constants, as everybody sets them.
_K, _B = 1.5, 0.75
_WORDS = re.compile(r"[a-z0-9]+|[^\W\d_a-z]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "what you want to do, or a tool's name"}},
    "required": ["query"],
}


@dataclass(frozen=True, kw_only=True, eq=False)
class ToolSearch(Tool):
    """Finds tools, which the model can then call for the rest of the run; make one by ``on_demand``.

    Args:
        tools: what can be found.
    """

    tools: tuple[Tool, ...] = field(repr=False)

    @cached_property
    def _index(self) -> Index:
        return Index([f"{tool.name} {tool.name} {tool.schema.description}" for tool in self.tools])

    @property
    def schema(self) -> ToolSchema:
        """Name, description and parameters as the model sees them."""
        return self._schema

    @cached_property
    def _schema(self) -> ToolSchema:
        text = f"Find more tools; what is found can be called then. There are {len(self.tools)}: {self._names()}"
        return ToolSchema(self.name, text, _PARAMETERS)

    def read_arguments(self, text: str) -> dict[str, Any]:
        """Parse the arguments.

        Raises:
            ToolError: there is no query.
        """
        return parse_arguments(self.name, text, _PARAMETERS, extra=False)

    async def invoke(self, arguments: dict[str, Any], context: Context) -> ToolResult:
        """Find tools, and let the model call them.

        Raises:
            ToolError: there is none that fits.
        """
        query = str(arguments["query"])
        found = [tool for tool in self.tools if tool.name == query.strip()]
        found = found or [self.tools[place] for place in self._index.search(query)[:_MOST_FOUND]]
        if not found:
            raise ToolError(f'no tool fits "{query}"; search by a tool\'s name: {self._names(10 * _LONGEST_NAMES)}')
        context.add_tools(found)
        lines = [f"{tool.name}: {_line(tool.schema.description)}" for tool in found]
        return ToolResult("\n".join(["These can be called now:", *lines]))

    def _names(self, limit: int = _LONGEST_NAMES) -> str:
        """The tools' names, as many as fit."""
        names = ", ".join(tool.name for tool in self.tools)
        return names if len(names) <= limit else f"{names[: names.rfind(',', 0, limit)]}, …"


def on_demand(tools: Iterable[Tool]) -> list[Tool]:
    """The tools as one ``find_tools``, by which the model finds those that it needs.

    What is found is added to the requests of that run; until then the prompt holds the names only.
    """
    return [ToolSearch(name=FIND_TOOLS, tools=tuple(tools), read_only=True, idempotent=True, consent=True)]


def fit(tools: Sequence[Tool], budget: int = BUDGET) -> list[Tool]:
    """The tools themselves where their schemas fit, else on demand.

    Args:
        tools: any number.
        budget: characters of names, descriptions and parameters, as they are sent.
    """
    return list(tools) if schema_size(tools) <= budget else on_demand(tools)


def schema_size(tools: Iterable[Tool]) -> int:
    """Characters that the schemas of tools add to every prompt."""
    import orjson

    return sum(len(orjson.dumps(tool.schema).decode()) for tool in tools)


class Index:
    """Ranks texts by BM25 over words, the beginnings of words, and pairs of characters in scripts without spaces.

    Args:
        texts: what is searched.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [Counter(terms(text)) for text in texts]
        self._lengths = [sum(text.values()) for text in self._texts]
        self._mean = sum(self._lengths) / (len(texts) or 1) or 1.0
        self._within = Counter(term for text in self._texts for term in text)

    def search(self, query: str) -> list[int]:
        """The places of the texts that fit, best first."""
        wanted = set(terms(query))
        scores = {place: self._score(place, wanted) for place in range(len(self._texts))}
        return sorted((place for place in scores if scores[place] > 0), key=lambda place: -scores[place])

    def _score(self, place: int, wanted: set[str]) -> float:
        text, score = self._texts[place], 0.0
        norm = _K * (1 - _B + _B * self._lengths[place] / self._mean)
        for term in wanted & text.keys():
            rarity = math.log(1 + (len(self._texts) - self._within[term] + 0.5) / (self._within[term] + 0.5))
            score += rarity * text[term] * (_K + 1) / (text[term] + norm)
        return score


def terms(text: str) -> list[str]:
    """What a text is found by: words and their beginnings, of Chinese and the like single characters and pairs."""
    found: list[str] = []
    for word in _WORDS.findall(_CAMEL.sub(" ", text).casefold()):
        if word.isascii():
            found += [word] if len(word) < _PREFIX else [word, word[:_PREFIX]]
        else:
            found += [*word, *(word[place : place + 2] for place in range(len(word) - 1))]
    return found


def _line(text: str) -> str:
    """The beginning of a description."""
    first = text.strip().partition("\n")[0]
    return first if len(first) <= _LONGEST_LINE else f"{first[:_LONGEST_LINE]}…"
