"""The programs in the document on tools run, and print what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from qianda.testing import Call, ScriptedServer, Turn, serving
from qianda.tools import TOOLSETS


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
    (program,) = [block for block in blocks(house, "python") if "max_output=" in block]
    schema, error = run(program).splitlines()
    assert schema == "{'type': 'object', 'properties': {'path': {'type': 'string'}}, 'required': ['path']}"
    assert error.startswith("count failed: FileNotFoundError")


def test_the_program_with_a_generator(house: Path) -> None:
    (program,) = [block for block in blocks(house, "python") if "yield" in block]
    call = "\nimport asyncio\nfrom qianda import Context\nshow = Context(progress=lambda text: print(text, end=''))"
    assert run(f"{program}{call}\nprint(asyncio.run(count.call({{'to': 2}}, show)).content)") == (
        '1 of 2\n2 of 2\n{"counted":2}\n'
    )


def test_the_program_that_asks(house: Path) -> None:
    (program,) = [block for block in blocks(house, "python") if "context.ask" in block]
    with serving(ScriptedServer(Turn(calls=[Call("paint")]), "Painted.")) as server:
        assert run(program + "\nprint(agent.run_sync('go').output)", QIANDA_SERVER=server.url) == "Painted.\n"
        assert server.requests[-1]["messages"][-1]["content"] == "painted red"


def test_the_program_with_toolsets(house: Path) -> None:
    (program,) = [block for block in blocks(house, "python") if "Toolset" in block]
    shown = "\nprint([tool.name for tool in (*reading, *writing, *searched)])"
    names = ["repo_read_file", "repo_grep", "list_files", "read_file", "save", "edit_file", "move_file", "grep"]
    assert run(program + shown) == f"{[*names, 'find_tools']}\n"


def test_every_tool_that_can_be_named_is_described(house: Path) -> None:
    text = (house / "docs/tools.md").read_text()
    names = [tool.name for toolset in TOOLSETS.values() for tool in toolset()]
    assert [name for name in names if f"`{name}" not in text] == []
