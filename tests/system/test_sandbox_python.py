"""The Python interpreter in a real sandbox: it keeps its variables, and changes nothing outside."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from qianda.tools import Context
from qianda.tools.builtin.python import run_python
from qianda.tools.sandbox import Sandbox

pytestmark = pytest.mark.sandbox


async def run(context: Context, code: str, **arguments: Any) -> str:
    return str((await run_python.call({"code": code, **arguments}, context)).content)


async def test_it_runs_in_the_sandbox(tmp_path: Path) -> None:
    box = Sandbox(workspace=tmp_path)
    async with AsyncExitStack() as closing:
        context = Context(workspace=tmp_path, closing=closing, sandbox=box)
        assert await run(context, "open('inside', 'w').write('x')") == "1"
        outside = await run(context, "open('/var/tmp/qianda-outside', 'w')")
        assert "the sandbox lets commands write in the workspace" in outside
        fetch = "import urllib.request as web; web.urlopen('http://example.com')"
        assert "the sandbox has no network" in await run(context, fetch)
        assert "the variables are kept" in await run(context, "while True: pass", timeout=1)
