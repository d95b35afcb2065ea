"""The programs in the document on tools run, and print what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from qianda.testing import Call, ScriptedServer, Turn, serving


def blocks(house: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (house / "docs/tools.md").read_text(), re.DOTALL)


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_program(house: Path) -> None:
    program = blocks(house, "python")[0]
    call = Turn(calls=[Call("weather", {"city": "Hangzhou"})])
    with serving(ScriptedServer(call, "Yes.")) as server:
        assert run(program, QIANDA_SERVER=server.url) == "Yes.\n"
        assert server.requests[-1]["messages"][-1]["content"] == "Hangzhou: 1 day(s) of light rain, 18 °C"
        sent = server.requests[0]["tools"][0]["function"]["parameters"]
    assert sent == json.loads(blocks(house, "json")[0])


def test_the_program_with_options(house: Path) -> None:
    schema, error = run(blocks(house, "python")[1]).splitlines()
    assert schema == "{'type': 'object', 'properties': {'path': {'type': 'string'}}, 'required': ['path']}"
    assert error.startswith("count failed: FileNotFoundError")
