"""``qianda doctor``: what would be used and why, what else is there, and where things are kept."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from qianda.cli.exits import DONE, complain, exit_code
from qianda.cli.models import models_at
from qianda.cli.opening import Choices, choose_endpoint, load_settings
from qianda.cli.terminal import Terminal, clean
from qianda.models.config import Config, data_dir
from qianda.models.errors import QiandaError

if TYPE_CHECKING:
    from qianda.models.resolve import Endpoint
    from qianda.models.servers import FoundModel, FoundServer

EXTRAS = {"local": "xllamacpp"}

Report = dict[str, Any]


def doctor(server: str | None, workspace: Path, *, as_json: bool) -> int:
    """Look, and say what was found.

    Args:
        server: look at this one instead of the one that would be chosen.
        workspace: the folder whose settings hold.
        as_json: write one JSON document.

    Returns:
        0 when a model can be used, else the exit code of what keeps it from that.

    Raises:
        ConfigurationError: a configuration file is wrong.
    """
    config = load_settings(workspace)
    report, error = asyncio.run(_look(Choices(server=server, workspace=workspace), config))
    if as_json:
        import json

        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        terminal = Terminal.current()
        for title, rows in _sections(report):
            typer.echo(terminal.style(title, "call"))
            for name, text in rows:
                typer.echo(f"  {name:<12}  {clean(text)}")
    if error is None:
        return DONE
    complain(str(error))
    return exit_code(error)


async def _look(choices: Choices, config: Config) -> tuple[Report, QiandaError | None]:
    from qianda.models.embedded import available, weights_present
    from qianda.models.resolve import probe_local

    async with asyncio.TaskGroup() as tasks:
        probing = tasks.create_task(probe_local())
        choosing = tasks.create_task(_choose(choices, config))
    endpoint, models, error = choosing.result()
    report = {
        "usable": error is None,
        "error": str(error) if error else None,
        **_of_endpoint(endpoint, models),
        "found": [_of_server(found) for found in probing.result()],
        "embedded": {"installed": available(), "demo_model": weights_present()},
        "extras": {name: importlib.util.find_spec(module) is not None for name, module in EXTRAS.items()},
        "config_files": [str(path) for path in config.files],
        "ignored": list(config.ignored),
        "data_folder": str(data_dir()),
        "data_bytes": _sizes(data_dir()),
    }
    return report, error


async def _choose(
    choices: Choices, config: Config
) -> tuple[Endpoint | None, tuple[FoundModel, ...], QiandaError | None]:
    try:
        endpoint = await choose_endpoint(choices, config, complain)
    except QiandaError as error:
        return None, (), error
    try:
        return endpoint, await models_at(endpoint), None
    except QiandaError as error:
        return endpoint, (), error
    finally:
        if endpoint.engine is not None:
            await asyncio.to_thread(endpoint.engine.close)


def _of_endpoint(endpoint: Endpoint | None, models: tuple[FoundModel, ...]) -> Report:
    if endpoint is None:
        return dict.fromkeys(("server", "kind", "url", "model", "why", "window", "demo", "models", "model_listed"))
    ids = [model.id for model in models]
    return {
        "server": endpoint.title,
        "kind": endpoint.kind.kind,
        "url": endpoint.url,
        "model": endpoint.model,
        "why": endpoint.why,
        "window": endpoint.window,
        "demo": endpoint.demo,
        "models": ids,
        "model_listed": endpoint.model in ids,
    }


def _of_server(found: FoundServer) -> Report:
    return {"url": found.url, "kind": found.kind.title, "models": [model.id for model in found.models]}


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes by entry of the data folder; what cannot be read counts nothing."""

    def size(path: Path) -> int:
        try:
            files = path.rglob("*") if path.is_dir() else (path,)
            return sum(file.lstat().st_size for file in files if not file.is_dir())
        except OSError:
            return 0

    try:
        return {path.name: size(path) for path in sorted(folder.iterdir())}
    except OSError:
        return {}


def _sections(report: Report) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    if report["server"]:
        listed = "" if report["model_listed"] else " (the server does not list it)"
        window = f"{report['window']:,} tokens" if report["window"] else "unknown: the server does not say"
        rows = [
            ("server", report["server"]),
            ("model", f"{report['model']}{', a demo model, not a Qwen' if report['demo'] else ''}{listed}"),
            ("why", report["why"]),
            ("window", window),
        ]
        others = [name for name in report["models"] if name != report["model"]]
        if others:
            rows.append(
                ("also there", ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else ""))
            )
        yield "Would use", rows
    else:
        yield "Would use", [("nothing", "no model can be used; the last line says why")]
    found = [(server["kind"], f"{server['url']}: {', '.join(server['models'])}") for server in report["found"]]
    yield "Answers on this machine", found or [("nothing", "no model server on the usual ports")]
    engine = report["embedded"]
    yield (
        "Embedded engine",
        [
            ("llama.cpp", "installed" if engine["installed"] else "not installed: pip install 'qianda[local]'"),
            ("demo model", "here" if engine["demo_model"] else "not here: qianda models pull demo"),
        ],
    )
    files = [("read", path) for path in report["config_files"]] or [("read", "no file")]
    yield "Settings", files + [("ignored", f"{line} (until qianda trust)") for line in report["ignored"]]
    sizes = [(name, _human(size)) for name, size in report["data_bytes"].items()]
    yield "Data", [("folder", report["data_folder"]), *sizes]


def _human(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB" if size >= 100_000 else f"{size / 1_000:,.1f} kB"
