"""``qianda doctor``: what would be used and why, what that server does, what else is there."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from qianda.cli.doctor_report import Progress, markdown, marked, sections, verdict
from qianda.cli.exits import DONE, INTERRUPTED, complain, exit_code
from qianda.cli.opening import Choices, choose_endpoint, load_settings
from qianda.cli.terminal import Terminal, clean
from qianda.models.config import data_dir
from qianda.models.errors import ConfigurationError, QiandaError, ServerError, ServerUnreachable

if TYPE_CHECKING:
    from qianda.cli.live_cases import Case
    from qianda.cli.live_checks import Outcome
    from qianda.models.detection import FoundModel, FoundServer
    from qianda.models.probes import Finding
    from qianda.models.resolve import Endpoint

QUICK_SECONDS = 7.5  # ten with the start and the end of the program, on a busy machine
PATIENT_SECONDS = 120.0  # with --full
CHECK_SECONDS = 30.0  # of one probe, with --full
EXTRAS = {"local": "xllamacpp"}

Report = dict[str, Any]


@dataclass(kw_only=True)
class _Seen:
    """What was seen of the chosen server."""

    endpoint: Endpoint | None = None
    models: tuple[FoundModel, ...] = ()
    version: str = ""
    findings: list[Finding] = field(default_factory=list["Finding"])
    error: QiandaError | None = None


def doctor(choices: Choices, *, full: bool = False, file: str | None = None, as_json: bool = False) -> int:
    """Look, and say what was found.

    Args:
        choices: the server and the workspace.
        full: run the live checks.
        file: write a Markdown report there, or None.
        as_json: write one JSON document.

    Returns:
        0 when a model can be used, else the exit code of what keeps it from that; 1 when a live check failed.

    Raises:
        ConfigurationError: a configuration file is wrong, or the report cannot be written.
    """
    return asyncio.run(_Doctor(choices, full=full, file=file, as_json=as_json).run())


class _Doctor:
    def __init__(self, choices: Choices, *, full: bool, file: str | None, as_json: bool) -> None:
        self._choices, self._full, self._file, self._as_json = choices, full, file, as_json
        self._config = load_settings(choices.workspace)
        self._terminal = Terminal.current()
        self._progress = Progress(self._terminal)
        self._seen = _Seen()
        self._deadline = time.monotonic() + (PATIENT_SECONDS if full else QUICK_SECONDS)

    async def run(self) -> int:
        from qianda.models.resolve import probe_local

        seen = self._seen
        checks: list[Outcome] = []
        stopped = False
        try:
            async with asyncio.TaskGroup() as tasks:
                probing = tasks.create_task(probe_local())
                tasks.create_task(self._look())
            self._progress.clear()
            if isinstance(seen.error, ServerUnreachable):
                here = ", ".join(found.url for found in probing.result()) or "nothing on this machine's usual ports"
                seen.error.cure = seen.error.cure.replace("qianda doctor shows what is there", f"what answers: {here}")
            report = self._report(probing.result())
            self._show(sections(report, self._terminal))
            if self._full and seen.endpoint and not seen.error:
                checks, stopped = await self._check(seen.endpoint)
                report["checks"] = [asdict(check) for check in checks]
        finally:
            self._progress.clear()
            if seen.endpoint and seen.endpoint.engine is not None:
                await asyncio.to_thread(seen.endpoint.engine.close)
        self._write(report)
        if seen.error is not None:
            complain(str(seen.error))
            return exit_code(seen.error)
        failed = [check.name for check in checks if check.status == "fail"]
        if failed:
            complain(f"{len(failed)} of {len(checks)} live checks failed: {', '.join(failed)}")
        return INTERRUPTED if stopped else 1 if failed else DONE

    async def _look(self) -> None:
        """Find the server, and see what it has and does."""
        choices, patience = self._choices, self._deadline - time.monotonic()
        self._progress.show(f"Looking for {choices.server or 'a model server'} …")
        try:
            try:
                async with asyncio.timeout(patience):
                    self._seen.endpoint = await choose_endpoint(choices, self._config, complain)
            except TimeoutError:
                raise ServerUnreachable(
                    f"{choices.server or 'The model server'} did not answer within {patience:.0f} s",
                    cure="Look whether it still works or is loading its model; qianda doctor --full waits longer",
                ) from None
            await self._examine(self._seen.endpoint)
        except QiandaError as error:
            self._seen.error = error

    async def _examine(self, endpoint: Endpoint) -> None:
        """See what the server has and does, and keep what was found for the runs that follow.

        The engine in this process is told apart by its model: the demo model is known and not probed.
        """
        from qianda.models.detection import FoundModel, FoundServer, detect, server_version
        from qianda.models.http import open_http
        from qianda.models.probes import probe
        from qianda.models.profile_cache import remember_findings
        from qianda.models.resolve import bearer

        seen, headers = self._seen, bearer(endpoint.api_key)
        if endpoint.engine is not None:
            seen.models = (FoundModel(endpoint.model, endpoint.window),)
        if endpoint.demo:
            return
        left = self._deadline - time.monotonic()
        self._progress.show(f"Asking {endpoint.model} a few small things, {left:.0f} s at most …")

        async def models() -> tuple[FoundModel, ...]:
            try:
                found = await detect(http, endpoint.url, headers=headers, seconds=left, expected=endpoint.kind)
            except QiandaError:  # too busy now; it answered before
                return seen.models
            return found.models

        async with open_http(endpoint.url, transport=endpoint.transport) as http:
            seen.models, seen.version, seen.findings = await asyncio.gather(
                models(),
                server_version(http, FoundServer(endpoint.url, endpoint.kind, ()), headers=headers),
                probe(endpoint, http, seconds=left, each=CHECK_SECONDS if self._full else left),
            )
        answers = next((one for one in seen.findings if one.check == "answers"), None)
        if answers and answers.status == "problem":
            seen.error = ServerError(answers.seen, cure=answers.cure)
        if endpoint.engine is None:
            remember_findings(endpoint, seen.version, seen.findings)

    async def _check(self, endpoint: Endpoint) -> tuple[list[Outcome], bool]:
        """Run the live checks; their outcomes, and whether somebody stopped it."""
        from qianda.cli.live_checks import CASES, FULL_SECONDS, run_checks

        def begin(case: Case, done: int) -> None:
            self._progress.show(f"{done} of {len(CASES)} done, {case.about}: {case.name} …")

        def tell(outcome: Outcome) -> None:
            self._progress.clear()
            self._say(f"  {marked(outcome.status, clean(outcome.line), self._terminal)}")

        began = time.monotonic()
        self._say(self._terminal.style("Live checks", "call"))
        self._say(f"  {len(CASES)} of them, {FULL_SECONDS / 60:.0f} minutes at most; Ctrl+C keeps what there is")
        checks, stopped = await run_checks(endpoint, self._seen.findings, begin=begin, tell=tell)
        self._progress.clear()
        how = "stopped after" if stopped else "in"
        self._say(f"  {verdict(check.status for check in checks)}, {how} {time.monotonic() - began:.0f} s")
        return checks, stopped

    def _say(self, line: str) -> None:
        if not self._as_json:
            typer.echo(line)

    def _show(self, titles: Iterable[tuple[str, list[tuple[str, str]]]]) -> None:
        for title, rows in titles:
            self._say(self._terminal.style(title, "call"))
            column = max(12, *(len(name) for name, _ in rows))
            for name, text in rows:
                self._say(f"  {name:<{column}}  {text}")

    def _report(self, local: Sequence[FoundServer]) -> Report:
        from qianda.models.embedded import available, weights_present
        from qianda.tools.sandbox import sandbox_problem

        error, config = self._seen.error, self._config
        return {
            "usable": error is None,
            "error": str(error) if error else None,
            **_of_endpoint(self._seen),
            "found": [_of_server(found) for found in local],
            "embedded": {"installed": available(), "demo_model": weights_present()},
            "extras": {name: importlib.util.find_spec(module) is not None for name, module in EXTRAS.items()},
            "config_files": [str(path) for path in config.files],
            "ignored": list(config.ignored),
            "sandbox": sandbox_problem() or "works",
            "data_folder": str(data_dir()),
            "data_bytes": _sizes(data_dir()),
        }

    def _write(self, report: Report) -> None:
        """Write the JSON document and the Markdown file, where they are wanted."""
        if self._as_json:
            import json

            typer.echo(json.dumps(report, ensure_ascii=False, indent=2))
        path = self._file
        if path is None:
            return
        key = self._seen.endpoint.api_key if self._seen.endpoint else None
        try:
            Path(path).expanduser().write_text(markdown(report, secrets=[key or ""]), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"The report cannot be written to {path}: {error.strerror}", cure="Choose another file with --report"
            ) from error
        complain(f"the report is in {path}")


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
        "model_listed": endpoint.model in ids if endpoint and ids else None,
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
