"""What an agent wants of the model: met where it can be, else said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qianda.models.errors import ConfigurationError
from qianda.models.family import find_family
from qianda.models.resolve import Endpoint, is_model
from qianda.models.thinking import Thinking, check_thinking

Need = Literal["vision", "audio", "video", "thinking"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What an agent wants; nothing of it is an error where it cannot be had.

    Args:
        agent: the agent's name.
        model: a model's name, however it is written.
        needs: what the model should be able to do.
        thinking: whether, and how much, it should think.
        refused: sentences: what else the agent's file wants and does not get.
    """

    agent: str
    model: str | None = None
    needs: tuple[Need, ...] = ()
    thinking: Thinking | None = None
    refused: tuple[str, ...] = ()

    def thinking_on(self, endpoint: Endpoint) -> Thinking | None:
        """The wanted thinking, None where this model or this server cannot do it."""
        return None if self._thinking_problem(endpoint) else self.thinking

    def unmet(self, endpoint: Endpoint) -> list[str]:
        """Sentences: what a server and its model do not have."""
        lines = list(self.refused)
        if self.model and not is_model(endpoint.model, self.model):
            lines.append(f"The agent {self.agent} wants the model {self.model}; {endpoint.label} is used in its place")
        if self.needs:
            lines += [
                f"The agent {self.agent} needs {need}, which {endpoint.label} does not have"
                for need in self.needs
                if self._lacks(endpoint, need)
            ]
        if problem := self._thinking_problem(endpoint):
            lines.append(f"The agent {self.agent} does not think as it should: {problem}")
        return lines

    def _thinking_problem(self, endpoint: Endpoint) -> str:
        try:
            check_thinking(self.thinking, find_family(endpoint.model), endpoint.kind)
        except ConfigurationError as error:
            return error.message
        return ""

    @staticmethod
    def _lacks(endpoint: Endpoint, need: Need) -> bool:
        """Whether a model is known not to have something; nothing is said of one that is not known."""
        from qianda.models.catalog.entries import understand

        named = understand(endpoint.model)
        if need == "thinking":
            return named.family.thinking == "none"
        return named.model is not None and {"vision": "image"}.get(need, need) not in named.model.input
