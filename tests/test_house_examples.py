"""The examples and the README's Python do what they say, as programs of their own, against a model on loopback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from qianda.testing import Call, ScriptedServer, Turn, serving


def run_script(script: Path, server: ScriptedServer, *arguments: str, keys: str = "") -> str:
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, "QIANDA_SERVER": server.url},
        input=keys,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def told(server: ScriptedServer) -> object:
    """What the model was told last."""
    return server.requests[-1]["messages"][-1]["content"]


def test_weather(house: Path) -> None:
    calls = Turn(calls=[Call("weather", {"city": "Hangzhou"})])
    with serving(ScriptedServer(calls, "Yes, it will rain.")) as server:
        shown = run_script(house / "examples/weather.py", server, "Do I need an umbrella?")
        assert shown == "Yes, it will rain.\n"
        assert told(server) == "light rain, 18 °C"


@pytest.mark.parametrize(("key", "written"), [("y\n", True), ("n\n", False)])
def test_watch_a_run(house: Path, tmp_path: Path, key: str, written: bool) -> None:
    calls = Turn(calls=[Call("write_file", {"path": "count.txt", "content": "0"})])
    with serving(ScriptedServer(calls, "That was it.")) as server:
        shown = run_script(house / "examples/watch_a_run.py", server, "Write 0 into count.txt", keys=key)
    assert "-> write_file" in shown
    assert shown.endswith("That was it.\n")
    assert (tmp_path / "count.txt").exists() is written
    assert ("write_file done" in shown) is written
    assert ("write_file denied: The user said no: not now" in shown) is not written


def test_the_test_with_a_script(house: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", house / "examples/test_with_a_script.py"]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=50, check=False)
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_python_of_the_readme(house: Path, tmp_path: Path, readme: str) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (house / readme).read_text(encoding="utf-8"), flags=re.DOTALL)
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    calls = Turn(calls=[Call("weather", {"city": "杭州", "days": "2"})])
    with serving(ScriptedServer(calls, "Take an umbrella.")) as server:
        assert run_script(script, server) == "Take an umbrella.\n"
        assert "杭州" in str(told(server))
