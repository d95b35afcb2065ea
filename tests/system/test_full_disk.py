"""A record on a disk that is really full: one clear error, a whole file, and the run goes on when there is room."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = 30
PROGRAM = Path(__file__).with_name("full_disk.py")
OWN_MOUNTS = ["unshare", "--user", "--map-root-user", "--mount"]


@pytest.mark.sandbox
def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(tmp_path: Path) -> None:
    try:
        subprocess.run([*OWN_MOUNTS, "mount", "-t", "tmpfs", "none", tmp_path], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    sizes = [16, 48, *range(72, 240, 16), 400, 6_000]  # in KiB
    command = [*OWN_MOUNTS, sys.executable, PROGRAM, tmp_path, *map(str, sizes)]
    found = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=50)
    assert found.returncode == 0, found.stderr
    runs = [json.loads(line) for line in found.stdout.splitlines()]
    assert [run["size"] for run in runs] == sizes
    for run in runs:
        assert run["whole"] == "ok"
        assert run["output"] == "All done."
        assert run["done"] == list(range(STEPS))
        assert ("Is the disk full" in run["said"]) == (run["size"] < 1_000)
    # It was full at the opening, before the prompt, before the first call, and later.
    assert {"opened" in run["said"] for run in runs} == {True, False}
    assert {run["began"] for run in runs} == {True, False}
    assert {run["before"] for run in runs} >= {0, 1, 2, STEPS}
