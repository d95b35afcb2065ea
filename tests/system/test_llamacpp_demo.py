"""``make demo``'s runner with the real engine: real tool calls, right results on disk."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(600)]


def test_the_demonstration_ends_with_the_right_answers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "qianda.cli.demo"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The answer is 58.5." in done.stdout
    assert (tmp_path / "demo/result.txt").read_text().strip() == "391"
    for call in ("read_file", "calculator", "write_file", "list_files"):
        assert f"{call} " in done.stderr
