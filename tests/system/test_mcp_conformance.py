"""MCP's official conformance suite: the server's side whole, of the client's side what takes no minutes.

``python tests/conformance/suite.py`` runs all of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).resolve().parents[1] / "conformance/suite.py"
# Read before the tests get a home of their own.
PARTS = Path(os.environ.get("QIANDA_PARTS") or Path.home() / ".cache/qianda-parts")
QUICK = ("tools_call", "initialize", "sep-2322-client-request-state", "http-invalid-tool-headers", "auth/basic-cimd")


@pytest.mark.node
@pytest.mark.timeout(180)
@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("side", ["server", "client"])
def test_every_required_scenario_passes(side: str, revision: str) -> None:
    if not (PARTS / "conformance/npm.done").exists():
        pytest.skip("the conformance suite is not here: tests/servers/setup_conformance.sh")
    chosen = QUICK if side == "client" else ()
    done = subprocess.run(
        [sys.executable, str(SUITE), side, revision, *chosen],
        env={**os.environ, "QIANDA_PARTS": str(PARTS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
