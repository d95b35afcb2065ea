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
        preserve_switch: its template shows that reasoning only when ``preserve_thinking`` asks for it.
        resend: fields in which reasoning is resent, when these are not the server's own one.
        calls: how it writes tool calls in text.
        reasoning: sampling while thinking.
        plain: sampling without thinking.
        coding: sampling while thinking about code, where the model card has a preset of its own.
        soft_switch: ``/think`` and ``/no_think`` in a prompt switch thinking.
        efforts: what ``reasoning_effort`` may be, the default first; empty when there are no levels.
        max_output: tokens of one reply that leave room for long reasoning.
        vocabulary: which tokenizer it has: ``qwen`` (1 to 3) or ``qwen3.5``.
        image_factor: side of the square that becomes one image token, in pixels.
    """

    name: str
    qwen: bool = True
    thinking: Literal["none", "only", "on", "off", "unknown"]
    opens: bool = False
    preserve: bool = False
    preserve_switch: bool = False
    resend: tuple[str, ...] = ()
    calls: Literal["hermes", "xml", "react"]
    reasoning: Sampling = Sampling()
    plain: Sampling = Sampling()
    coding: Sampling = Sampling()
    soft_switch: bool = False
    efforts: tuple[str, ...] = ()
    max_output: int = 32768
    vocabulary: Literal["qwen", "qwen3.5"] = "qwen"
    image_factor: int = 32

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
def _rows() -> list[dict[str, Any]]:
    return tomllib.loads(Path(__file__).with_name("family.toml").read_text(encoding="utf-8"))["family"]


@cache
def find_family(model: str) -> Family:
    """The family that a model's name means; loose: publisher, case, quantisation and file endings do not matter.

    Args:
        model: a name, or the path of a file or folder: of a path, the last part that names a Qwen counts.
    """
    found = [_match(part) for part in reversed(name_parts(model))]
    return next((family for family in found if family.qwen), found[0] if found else _match(""))


def name_parts(model: str) -> list[str]:
    """The parts of a path, or the one name without its publisher, as the patterns of the tables want them.

    Ollama's bare ``qwen:7b`` is Qwen1.5. A point may be written as ``p``, ``_`` or ``-``: ``qwen2p5``, ``qwen3-5-27b``.
    """
    lower = model.strip().lower()
    bare = lower.removeprefix("registry.ollama.ai/").removeprefix("library/")
    if bare == "qwen" or bare.startswith("qwen:"):
        lower = "qwen1.5" + bare.removeprefix("qwen")
    lower = lower.replace("qwen-1_8b", "qwen-1.8b").replace("--", "/")  # a cache's folder: models--Qwen--Qwen3-8B
    lower = re.sub(r"[_:\s]+", "-", lower)
    lower = re.sub(r"(qwen-?[1-3])[p-]([5-8])(?=-)", r"\1.\2", lower)
    parts = [part for part in lower.split("/") if part]
    return parts if model.startswith(("/", ".", "~")) else parts[-1:]


def _match(name: str) -> Family:
    row = next(row for row in _rows() if re.search(row["match"], name))
    fields: dict[str, Any] = {key: value for key, value in row.items() if key != "match"}
    for preset in ("reasoning", "plain", "coding"):
        fields[preset] = _sampling(row.get(preset, []))
    fields["efforts"] = tuple(row.get("efforts", ()))
    fields["resend"] = tuple(row.get("resend", ()))
    return Family(**fields)
