"""``qianda models``: the table of Qwen models, one model in full, and what fits into so much memory."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import typer

from qianda.cli.exits import DONE
from qianda.cli.terminal import Terminal, clean, width
from qianda.models.catalog.entries import BITS, Model, Named, table, understand
from qianda.models.errors import ConfigurationError
from qianda.models.family import Family, Sampling

_UNITS = {"": 1.0, "g": 1.0, "gb": 1.0, "gib": 1.073741824, "m": 0.001, "mb": 0.001, "t": 1000.0, "tb": 1000.0}
_THINKING = {
    "none": "never",
    "only": "always",
    "on": "on, can be switched off",
    "off": "off, can be switched on",
    "unknown": "not known",
}
_PLACES = {"Hugging Face": "https://huggingface.co/", "ModelScope": "https://modelscope.cn/models/"}


def show_models(name: str | None, *, fits: str | None, as_json: bool) -> int:
    """Print the table, the part of it that a name means, or one model.

    Args:
        name: of a model or a generation, however it is written.
        fits: memory, such as ``12GB``: open models that run in it, largest first.
        as_json: write JSON.

    Raises:
        ConfigurationError: ``fits`` is no amount of memory.
    """
    memory = None if fits is None else _gigabytes(fits)
    named = None if name is None else understand(name)
    if named is not None and named.model is not None and memory is None:
        _write_json(_described(named, named.model)) if as_json else _show_one(named, named.model)
        return DONE
    models = table() if name is None or named is None else _meant(name, named.family)
    if memory is not None:
        fitting = [(model, best) for model in models if (best := _best(model, memory))]
        fitting.sort(key=lambda found: -(found[0].parameters or 0))
        _write_json([asdict(model) | {"precision": best} for model, best in fitting]) if as_json else _rows(fitting)
    elif name is not None and named is not None and not models:
        _write_json({"family": asdict(named.family), "model": None}) if as_json else _show_unknown(name, named.family)
    elif as_json:
        _write_json([asdict(model) for model in models])
    elif name is None:
        _groups(models)
    else:
        _rows([(model, "") for model in models])
    return DONE


def _gigabytes(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or found.group(2) not in _UNITS:
        raise ConfigurationError(f"{text!r} is no amount of memory", cure="Write it like 12GB")
    return float(found.group(1)) * _UNITS[found.group(2)]


def _best(model: Model, memory: float) -> str:
    """The finest precision in which the model fits, "" when it fits in none."""
    needs = {precision: model.needs(precision) for precision in ("bf16", "int8", "int4")}
    return next((precision for precision, need in needs.items() if need is not None and need <= memory), "")


def _meant(name: str, family: Family) -> tuple[Model, ...]:
    """The models of a group whose name begins so, else of the family."""
    wanted = name.strip().lower()
    group = tuple(model for model in table() if re.match(rf"{re.escape(wanted)}(?![.\d])", model.group.lower()))
    if group or not family.qwen or family.name == "unknown Qwen":
        return group
    return tuple(model for model in table() if model.family.name == family.name)


def _groups(models: Sequence[Model]) -> None:
    lines: list[tuple[str, ...]] = [("", "sizes", "window", "thinking", "licence")]
    for group, members in groupby(models, key=lambda model: model.group):
        rows = list(members)
        names = (
            [row.name for row in rows] if rows[0].api else list(dict.fromkeys(_size(row) or row.name for row in rows))
        )
        windows = list(dict.fromkeys(_window(row) for row in rows if row.window))
        thinking = list(dict.fromkeys(row.family.thinking for row in rows))
        licences = list(dict.fromkeys(row.licence.partition(" (")[0] for row in rows if row.licence))
        columns = (names, windows, thinking, licences)
        lines.append((group, *(", ".join(column) for column in columns)))
    _columns(lines, wrap=1)


def _rows(models: Sequence[tuple[Model, str]]) -> None:
    lines: list[tuple[str, ...]] = [("", "size", "window", "int4", "int8", "bf16", "thinking", "licence")]
    for model, best in models:
        memory = [
            "" if need is None else f"{need:g} GB{' *' if precision == best else ''}"
            for precision in BITS
            for need in [model.needs(precision)]
        ]
        licence = model.licence.partition(" (")[0]
        lines.append((model.name, _size(model), _window(model), *memory, model.family.thinking, licence))
    _columns(lines)
    if not models:
        typer.echo("None")
    elif any(best for _, best in models):
        typer.echo(Terminal.current().style("* the finest that fits, with a window of a few thousand tokens", "dim"))


def _columns(lines: Sequence[tuple[str, ...]], *, wrap: int | None = None) -> None:
    """Print columns; one of them, the widest, is wrapped between its words so that the lines fit the terminal."""
    terminal = Terminal.current()
    widths = [max(width(line[column]) for line in lines) for column in range(len(lines[0]))]
    if wrap is not None:
        others = sum(widths) - widths[wrap] + 2 * (len(widths) - 1)
        widths[wrap] = max(24, min(widths[wrap], max(terminal.columns, 100) - others))
    for number, line in enumerate(lines):
        pieces = [""] if wrap is None else _wrapped(line[wrap], widths[wrap])
        for row, piece in enumerate(pieces):
            cells = [piece if column == wrap else "" if row else cell for column, cell in enumerate(line)]
            text = "  ".join(
                cell + " " * (size - width(cell)) for cell, size in zip(cells, widths, strict=True)
            ).rstrip()
            typer.echo(terminal.style(text, "dim") if number == 0 else text)


def _wrapped(text: str, cells: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and width(lines[-1]) + 1 + width(word) > cells:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _show_one(named: Named, model: Model) -> None:
    memory = [
        f"{precision} {need:g} GB{'' if precision in model.memory else ' (estimate)'}"
        for precision in BITS
        for need in [model.needs(precision)]
        if need is not None
    ] + [f"{precision} {need:g} GB" for precision, need in model.memory.items() if precision not in BITS]
    scores = [f"{name} {score} ({variant})" for variant, found in model.scores.items() for name, score in found.items()]
    tokens = f"{model.training_tokens:g} trillion tokens" if model.training_tokens else ""
    extended = f", {model.extended:,} with YaRN" if model.extended else ""
    facts = {
        "group": model.group,
        "parameters": _size(model, long=True),
        "window": f"{model.window:,} tokens{extended}" if model.window else "",
        "output": f"at most {model.max_output:,} tokens" if model.max_output else "",
        "reads": ", ".join(model.input),
        **_behaviour(model.family),
        "licence": model.licence,
        "released": model.released,
        "languages": model.languages,
        "trained on": tokens,
        "scores": " · ".join(scores),
        "memory": " · ".join(memory),
        "price": " · ".join(
            f"{price.input:g} in, {price.output:g} out"
            + (f" from {price.over:,} tokens of input" if price.over else "")
            for price in model.prices
        )
        + (" (USD per million tokens)" if model.prices else ""),
        "note": model.note,
    }
    typer.echo(model.name)
    _facts(facts)
    if named.quantisation:
        typer.echo(f"  {'this name':<12}  says {clean(named.quantisation)}")
    if named.derived:
        typer.echo(f"  {'this name':<12}  is that of a model made from it")
    for place, address in _PLACES.items():
        for at, (variant, repository) in enumerate(model.variants.items()):
            typer.echo(f"  {'' if at else place:<12}  {variant:<5} {address}{repository}")


def _show_unknown(name: str, family: Family) -> None:
    what = family.name if family.qwen and family.name != "unknown Qwen" else ""
    said = what or ("a Qwen that the table does not have" if family.qwen else "not a Qwen, as far as its name tells")
    typer.echo(f"{clean(name)}: {said}")
    _facts(_behaviour(family))


def _behaviour(family: Family) -> dict[str, str]:
    """What a run makes of it."""
    presets = {"thinking": family.reasoning, "coding": family.coding, "plain": family.plain}
    sampling = [f"{name} {_preset(preset)}" for name, preset in presets.items() if preset != Sampling()]
    switch = "; /think and /no_think in a prompt" if family.soft_switch else ""
    effort = f"; effort {', '.join(family.efforts)}" if family.efforts else ""
    return {
        "thinking": _THINKING[family.thinking] + switch + effort,
        "tool calls": f"{family.calls}, where they come as text",
        "sampling": " · ".join(sampling) or "left to the server",
    }


def _preset(preset: Sampling) -> str:
    fields = {"presence_penalty": "presence", "repetition_penalty": "repetition"}
    said = {fields.get(key, key): value for key, value in asdict(preset).items() if value not in (None, 0.0)}
    return ", ".join(f"{key} {value:g}" for key, value in said.items())


def _facts(facts: dict[str, str]) -> None:
    for name, value in facts.items():
        if value:
            typer.echo(f"  {name:<12}  {value}")


def _size(model: Model, *, long: bool = False) -> str:
    if model.parameters is None:
        return ""
    size = f"{model.parameters / 1000:g}T" if model.parameters >= 1000 else f"{model.parameters:g}B"
    if model.active is None:
        return size
    return f"{size}, {model.active:g}B active" if long else f"{size}-A{model.active:g}B"


def _window(model: Model) -> str:
    return (
        f"{model.window / 1024:g}K".replace("1024K", "1M")
        if model.window and model.window < 900_000
        else "1M" * bool(model.window)
    )


def _described(named: Named, model: Model) -> dict[str, Any]:
    memory = {precision: need for precision in BITS if (need := model.needs(precision)) is not None}
    links = {
        place: {variant: address + repository for variant, repository in model.variants.items()}
        for place, address in _PLACES.items()
    }
    return asdict(model) | {
        "family": asdict(model.family),
        "needs": memory,
        "links": links if model.variants else {},
        "quantisation": named.quantisation,
        "derived": named.derived,
    }


def _write_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))
