"""Reads the table of models, finds a model by any of its names, and says what its weights need."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from qianda.models.family import Family, find_family, name_parts

# Bits a weight takes, scales and zero points included.
BITS = {"int4": 4.5, "int8": 8.5, "bf16": 16.0}
# Key/value cache and buffers on top of the weights, for a window of a few thousand tokens.
OVERHEAD = 1.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens.

    Args:
        input: of the prompt.
        output: of the reply, reasoning included.
        over: size of a request's input, in tokens, from which this row holds.
    """

    input: float
    output: float
    over: int = 0


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model of the table; what the sources do not say is None or empty.

    Args:
        name: its name, of an open model without the variant's ending.
        group: generation and line.
        parameters: in billions, all experts.
        active: of a mixture of experts, in billions per token.
        licence: its name; ``closed`` for a service.
        released: ISO date, year and month, or year.
        window: context window in tokens, as trained.
        extended: with YaRN, in tokens.
        max_output: of one reply, in tokens, where the service bounds it.
        input: what it reads.
        languages: how many, or which.
        training_tokens: in trillions.
        scores: benchmark results, by variant (``base``, ``chat``) and name.
        memory: GB of graphics memory that the model card gives, by ``int4`` and ``qlora``.
        variants: what is published, ``chat``, ``base``, ``awq`` …: ids on Hugging Face and ModelScope.
        api: only served, by Model Studio.
        prices: rows by size of the input, smallest first.
        note: what else is worth knowing.
    """

    name: str
    group: str
    parameters: float | None = None
    active: float | None = None
    licence: str = ""
    released: str = ""
    window: int | None = None
    extended: int | None = None
    max_output: int | None = None
    input: tuple[str, ...] = ("text",)
    languages: str = ""
    training_tokens: float | None = None
    scores: dict[str, dict[str, float | str]] = field(default_factory=dict[str, dict[str, float | str]])
    memory: dict[str, float] = field(default_factory=dict[str, float])
    variants: dict[str, str] = field(default_factory=dict[str, str])
    api: bool = False
    prices: tuple[Price, ...] = ()
    note: str = ""

    @cached_property
    def family(self) -> Family:
        """How it thinks, samples and calls tools."""
        return find_family(self.name)

    def needs(self, precision: str) -> float | None:
        """GB of memory to run it: what the model card gives, else estimated from the parameters.

        Args:
            precision: ``int4``, ``int8`` or ``bf16``.
        """
        if precision in self.memory:
            return self.memory[precision]
        if self.parameters is None:
            return None
        return round(self.parameters * BITS[precision] / 8 * OVERHEAD, 1)

    def price(self, input_tokens: int) -> Price | None:
        """The row that holds for a request with so much input, None when the price is not known."""
        return next((row for row in reversed(self.prices) if input_tokens >= row.over), None)


@dataclass(frozen=True, slots=True)
class Named:
    """What a model's name says.

    Args:
        family: how it thinks, samples and calls tools; always there, with safe defaults.
        model: its row of the table, None when there is none.
        quantisation: like ``awq``, ``q4_k_m`` or ``fp8``, "" when the name has none.
        derived: the name has words that are neither the model's nor a format's, as fine-tunes have.
    """

    family: Family
    model: Model | None
    quantisation: str
    derived: bool


QUANTISATION = re.compile(
    r"\b((?:i?q[2-8]|tq[12])(?:[_-](?:[0-3]|k|xxs|xs|s|m|l|xl|nl))*"
    r"|gptq(?:-int[48])?|awq(?:-int4)?|int[48]|w[48]a(?:8|16)|fp8|nvfp4|mxfp[48]|bnb-4bit|[348]-?bit|bf16|fp16|f16)\b",
    re.IGNORECASE,
)
# Words that may be missing in a name, or more in it than in the table.
_OPTIONAL = re.compile(r"a\d+(\.\d+)?b|2507|instruct|thinking|chat|preview|latest|base|it|hf|us")
_FORMAT = re.compile(
    r"\d\d|\d{4,}|of|gguf|mlx|onnx|ov|exl[23]|dynamic|ud|unsloth|i1|imat|imatrix|(i?q|tq)\d|k|[sml]|x{1,2}[sl]|nl|[0-3]|gptq|awq"
    r"|(u?int|w|nvfp|mxfp|fp|bf|f)\d+(a\d+)?|bnb|\d*-?bit|cloud|1m|snapshot|\d\dv|v\d+(\.\d+)?|marlin|quantized|channel|block"
)


def table(files: tuple[str, ...] = ("qwen1", "qwen2", "qwen3", "qwen3_5", "modelstudio")) -> tuple[Model, ...]:
    """The models, oldest first.

    Args:
        files: which parts of the table.
    """
    return tuple(model for file in files for model in _read(file))


@cache
def _read(file: str) -> tuple[Model, ...]:
    text = Path(__file__).with_name(f"{file}.toml").read_text(encoding="utf-8")
    return tuple(
        _model(name, group, row) for group in tomllib.loads(text)["group"] for name, row in group["models"].items()
    )


def _model(name: str, group: dict[str, Any], row: dict[str, Any]) -> Model:
    shared = {key: value for key, value in group.items() if key not in ("name", "publisher", "models")}
    fields: dict[str, Any] = shared | row
    publisher = group.get("publisher", "Qwen")
    variants = fields.get("variants", {} if fields.get("api") else {"chat": "{}"})
    fields["variants"] = {kind: f"{publisher}/{form.format(name)}" for kind, form in variants.items()}
    fields["input"] = tuple(fields.get("input", ("text",)))
    fields["prices"] = tuple(Price(**price) for price in fields.get("prices", ()))
    for key in ("window", "extended", "max_output"):
        fields[key] = fields.get(key) or None  # 0 takes back what the group says
    return Model(name=name, group=group["name"], **fields)


def understand(name: str) -> Named:
    """What a model's name means, however it is written.

    Args:
        name: a Hugging Face id, an Ollama tag, a file's name or path, a service's model.
    """
    family = find_family(name)
    found = QUANTISATION.search(name.replace(":", "-"))
    quantisation = found.group(0).lower() if found else ""
    if not family.qwen:
        return Named(family, None, quantisation, derived=False)
    for part in reversed(name_parts(name)):
        words = _words(part)
        fitting = [model for model in table() if _fits(model, words) and model.family.name == family.name]
        if fitting:
            best = max(fitting, key=lambda model: _closeness(model, words))
            extra = set(words) - set(_words(best.name.lower()))
            extra = {word for word in extra if not _OPTIONAL.fullmatch(word) and not _FORMAT.fullmatch(word)}
            return Named(family, best, quantisation, derived=bool(extra))
    return Named(family, None, quantisation, derived=False)


def _words(name: str) -> list[str]:
    name = name.lower().removesuffix(".gguf")
    name = re.sub(r"\.(?=[a-z])|_", "-", name)
    name = re.sub(r"qwen-(?=\d(\.\d)?-)", "qwen", name)
    if found := re.fullmatch(r"deepseek-r1-(1\.5b|7b|14b|32b)(.*)", name):  # Ollama's tags of the distilled models
        name = f"deepseek-r1-distill-qwen-{found.group(1)}{found.group(2)}"
    elif name.startswith("deepseek-r1-8b"):
        name = name.replace("deepseek-r1-8b", "deepseek-r1-0528-qwen3-8b")
    return [word for word in name.split("-") if word]


def _fits(model: Model, words: list[str]) -> bool:
    return all(word in words or _OPTIONAL.fullmatch(word) for word in _words(model.name))


def _closeness(model: Model, words: list[str]) -> tuple[int, int]:
    own = _words(model.name)
    return sum(word in words for word in own), -len(own)
