"""Which Qwen generation a model name means, and what that generation needs (data in family.toml)."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from qianda.models.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is drawn; a field that is None is left to the server.

    Args:
        temperature: 0 is greedy.
        top_p: nucleus, 0 to 1.
        top_k: number of candidates.
        presence_penalty: -2 to 2.
        repetition_penalty: 1 is none.
        seed: for servers that repeat themselves on request.
        max_tokens: upper bound of one reply, reasoning included.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row of the table.

    Args:
        name: the generation.
        qwen: False for a model that is not a Qwen; everything then runs on safe defaults.
        thinking: ``none``, ``only``, ``on`` or ``off`` (hybrid, with that default), ``unknown``.
        opens: a reply starts inside the reasoning, because the template writes the opening tag.
        preserve: reasoning of earlier turns is resent, because the model was trained to see it.
        calls: how it writes tool calls in text.
        reasoning: sampling while thinking.
        plain: sampling without thinking.
    """

    name: str
    qwen: bool = True
    thinking: Literal["none", "only", "on", "off", "unknown"]
    opens: bool = False
    preserve: bool = False
    calls: Literal["hermes", "xml", "react"]
    reasoning: Sampling = Sampling()
    plain: Sampling = Sampling()

    def thinks(self, wanted: bool | None) -> bool | None:
        """Whether the model will think, given what is wanted (None: the model's default); None when unknown.

        Raises:
            ConfigurationError: the model cannot do what is wanted.
        """
        if wanted and self.thinking == "none":
            raise ConfigurationError(f"{self.name} cannot think", cure="Leave thinking out, or choose a thinking model")
        if wanted is False and self.thinking == "only":
            raise ConfigurationError(
                f"{self.name} always thinks", cure="Leave thinking out, or choose an Instruct model"
            )
        if wanted is not None:
            return wanted
        return {"none": False, "only": True, "on": True, "off": False}.get(self.thinking)


def _sampling(row: list[float]) -> Sampling:
    names: list[str] = ["temperature", "top_p", "top_k", "presence_penalty", "repetition_penalty"]
    fields: dict[str, Any] = dict(zip(names, row, strict=False))
    return Sampling(**fields)


@cache
def _table() -> tuple[tuple[re.Pattern[str], Family], ...]:
    rows = tomllib.loads(Path(__file__).with_name("family.toml").read_text(encoding="utf-8"))["family"]
    table: list[tuple[re.Pattern[str], Family]] = []
    for row in rows:
        pattern = re.compile(row.pop("match"))
        for preset in ("reasoning", "plain"):
            row[preset] = _sampling(row.get(preset, []))
        table.append((pattern, Family(**row)))
    return tuple(table)


@cache
def find_family(model: str) -> Family:
    """The family that a model's name means; loose: publisher, case, quantisation and file endings do not matter.

    Args:
        model: a name, or the path of a file or folder: of a path, the last part that names a Qwen counts.
    """
    parts = [part for part in re.sub(r"[_:\s]+|--", "-", model.lower()).split("/") if part]
    if not model.startswith(("/", ".", "~")):
        parts = parts[-1:]
    found = [_match(part) for part in reversed(parts)]
    return next((family for family in found if family.qwen), found[0] if found else _match(""))


def _match(name: str) -> Family:
    return next(family for pattern, family in _table() if pattern.search(name))
