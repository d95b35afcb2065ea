"""``qianda doctor`` on a real llama.cpp that serves the demo model, over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from qianda.cli.live_cases import CASES
from qianda.cli.main import main
from qianda.models.embedded import EmbeddedServer, start_embedded

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(300)]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedServer]:
    server = asyncio.run(start_embedded(None, download=False, notify=print))
    monkeypatch.setenv("QIANDA_API_KEY", server.api_key)
    yield server
    server.close()


def test_it_says_what_is_there(
    engine: EmbeddedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # All the time that a busy machine may need: here it is what is found that counts.
    monkeypatch.setattr("qianda.cli.doctor.QUICK_SECONDS", 200)
    assert main(["doctor", engine.url, "--json", "--report", "report.md"]) == 0
    report = json.loads(capsys.readouterr().out)
    findings = {finding["check"]: finding for finding in report["findings"]}
    assert (report["kind"], report["qwen"], report["window"]) == ("llamacpp", False, engine.window)
    assert report["version"]
    assert {check: finding["status"] for check, finding in findings.items()} == {
        "answers": "ok",
        "window": "problem",
        "tools": "ok",
        "structured": "ok",
        "images": "no",
    }
    assert "-c 32768" in findings["window"]["cure"]
    shared = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert engine.api_key not in shared
    assert "smollm2-135m-demo" in shared


def test_it_takes_ten_seconds_at_most(engine: EmbeddedServer, capsys: pytest.CaptureFixture[str]) -> None:
    started = time.monotonic()
    assert main(["doctor", engine.url, "--json"]) == 0
    assert time.monotonic() - started < 10
    assert "findings" in json.loads(capsys.readouterr().out)


def test_the_live_checks_finish_and_say_how_it_went(
    engine: EmbeddedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # On two busy cores all of them take five minutes; what has no time left is said to have had none.
    monkeypatch.setattr("qianda.cli.live_checks.FULL_SECONDS", 20)
    assert main(["doctor", engine.url, "--full", "--json", "--report", "report.md"]) in (0, 1)
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert len(checks) == len(CASES)
    assert {"pass", "skip"} <= {check["status"] for check in checks}
    assert all(check["seen"] for check in checks if check["status"] != "pass")
    assert engine.api_key not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_the_engine_of_this_process_is_not_probed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "embedded", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["demo"], report["findings"]) == (True, [])
