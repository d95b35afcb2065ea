"""``qianda doctor``: what would be used and why, what that server does, what else is there."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from qianda.cli.doctor_report import markdown, marked, sections
from qianda.cli.exits import DONE, complain, exit_code
from qianda.cli.opening import Choices, choose_endpoint, load_settings
from qianda.cli.terminal import Terminal, clean
from qianda.models.config import Config, data_dir
from qianda.models.errors import ConfigurationError, QiandaError, ServerError

if TYPE_CHECKING:
    from qianda.cli.live_checks import Outcome
    from qianda.models.detection import FoundModel, FoundServer
    from qianda.models.probes import Finding
    from qianda.models.resolve import Endpoint

EXTRAS = {"local": "xllamacpp"}

Report = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Looking:
    """What is to be looked at, and how it is shown.

    Args:
        choices: the server and the workspace.
        full: run the live checks.
        file: write a Markdown report there, or None.
        as_json: write one JSON document.
    """

    choices: Choices
    full: bool = False
    file: str | None = None
    as_json: bool = False


@dataclass(kw_only=True)
class _Seen:
    """What was seen of the chosen server."""

    endpoint: Endpoint | None = None
    models: tuple[FoundModel, ...] = ()
    version: str = ""
    findings: list[Finding] = field(default_factory=list["Finding"])
    checks: list[Outcome] | None = None
    error: QiandaError | None = None


def doctor(looking: Looking) -> int:
    """Look, and say what was found.

    Returns:
        0 when a model can be used, else the exit code of what keeps it from that; 1 when a live check failed.

    Raises:
        ConfigurationError: a configuration file is wrong, or the report cannot be written.
    """
    config = load_settings(looking.choices.workspace)
    terminal = Terminal.current()
    seen, report = asyncio.run(_look(looking, config, terminal))
    if looking.as_json:
        import json

        typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
    else:
        for title, rows in sections(report, terminal):
            typer.echo(terminal.style(title, "call"))
            for name, text in rows:
                typer.echo(f"  {name:<12}  {text}")
    if looking.file is not None:
        key = seen.endpoint.api_key if seen.endpoint else None
        _write(looking.file, markdown(report, secrets=[key or ""]))
        complain(f"the report is in {looking.file}")
    if seen.error is not None:
        complain(str(seen.error))
        return exit_code(seen.error)
    failed = [check.name for check in seen.checks or () if check.status == "fail"]
    if failed:
        complain(f"{len(failed)} of {len(seen.checks or ())} live checks failed: {', '.join(failed)}")
    return 1 if failed else DONE


def _write(path: str, text: str) -> None:
    try:
        Path(path).expanduser().write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"The report cannot be written to {path}: {error.strerror}", cure="Choose another file with --report"
        ) from error


async def _look(looking: Looking, config: Config, terminal: Terminal) -> tuple[_Seen, Report]:
    from qianda.models.embedded import available, weights_present
    from qianda.models.resolve import probe_local

    async with asyncio.TaskGroup() as tasks:
        probing = tasks.create_task(probe_local())
        choosing = tasks.create_task(_choose(looking, config, terminal))
    seen = choosing.result()
    report = {
        "usable": seen.error is None,
        "error": str(seen.error) if seen.error else None,
        **_of_endpoint(seen),
        "found": [_of_server(found) for found in probing.result()],
        "embedded": {"installed": available(), "demo_model": weights_present()},
        "extras": {name: importlib.util.find_spec(module) is not None for name, module in EXTRAS.items()},
        "config_files": [str(path) for path in config.files],
        "ignored": list(config.ignored),
        "data_folder": str(data_dir()),
        "data_bytes": _sizes(data_dir()),
    }
    if seen.checks is not None:
        report["checks"] = [asdict(check) for check in seen.checks]
    return seen, report


async def _choose(looking: Looking, config: Config, terminal: Terminal) -> _Seen:
    """Find the server, probe it, and run the live checks on it."""
    seen = _Seen()
    try:
        seen.endpoint = await choose_endpoint(looking.choices, config, complain)
    except QiandaError as error:
        seen.error = error
        return seen
    try:
        await _examine(seen, seen.endpoint)
        answers = next((one for one in seen.findings if one.check == "answers"), None)
        if answers and answers.status == "problem":
            seen.error = ServerError(answers.seen, cure=answers.cure)
        elif looking.full:
            from qianda.cli.live_checks import run_checks

            def tell(outcome: Outcome) -> None:
                if not looking.as_json:
                    typer.echo(marked(outcome.status, clean(outcome.line), terminal))

            seen.checks = await run_checks(seen.endpoint, seen.findings, tell)
    except QiandaError as error:
        seen.error = error
    finally:
        if seen.endpoint.engine is not None:
            await asyncio.to_thread(seen.endpoint.engine.close)
    return seen


async def _examine(seen: _Seen, endpoint: Endpoint) -> None:
    """See what the server has and does, and keep what was found for the runs that follow.

    The engine in this process is told apart by its model: the demo model is known and not probed.
    """
    from qianda.models.detection import FoundModel, detect, server_version
    from qianda.models.http import open_http
    from qianda.models.probes import probe
    from qianda.models.profile_cache import Profile, remember
    from qianda.models.resolve import bearer

    if endpoint.engine is not None:
        seen.models = (FoundModel(endpoint.model, endpoint.window),)
    if endpoint.demo:
        return
    headers = bearer(endpoint.api_key)
    async with open_http(endpoint.url) as http:
        found = await detect(http, endpoint.url, headers=headers, expected=endpoint.kind)
        seen.models = found.models
        seen.version, seen.findings = await asyncio.gather(
            server_version(http, found, headers=headers), probe(endpoint, http)
        )
    if endpoint.engine is None:
        facts = {finding.check: finding.fact for finding in seen.findings if finding.fact}
        remember(endpoint.url, endpoint.model, Profile(seen.version, facts, time.time()))


def _of_endpoint(seen: _Seen) -> Report:
    from qianda.models.family import find_family

    endpoint = seen.endpoint
    ids = [model.id for model in seen.models]
    family = find_family(endpoint.model) if endpoint else None
    return {
        "server": endpoint and endpoint.title,
        "kind": endpoint and endpoint.kind.kind,
        "version": seen.version or None,
        "url": endpoint and endpoint.url,
        "model": endpoint and endpoint.model,
        "family": family and family.name,
        "qwen": family and family.qwen,
        "why": endpoint and endpoint.why,
        "window": endpoint and endpoint.window,
        "demo": endpoint and endpoint.demo,
        "models": ids if endpoint else None,
        "model_listed": endpoint.model in ids if endpoint else None,
        "findings": [asdict(finding) for finding in seen.findings] if endpoint else None,
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
