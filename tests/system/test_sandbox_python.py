"""The Python interpreter and the readers of documents in a real sandbox."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from qianda.testing.http_server import LoopbackServer, Request, Response
from qianda.tools import Context, read_document, web
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


async def test_documents_and_pages_are_read_in_it(tmp_path: Path, house: Path) -> None:
    class Site(LoopbackServer):
        async def answer(self, request: Request, response: Response) -> None:
            await response.send(200, b"<p>A page of one line.</p>", {"content-type": "text/html"})

    (tmp_path / "x.pdf").write_bytes((house / "tests/fixtures/documents/two-pages.pdf").read_bytes())
    context = Context(workspace=tmp_path, sandbox=Sandbox(workspace=tmp_path))
    assert "[page 2]\nSecond page." in str((await read_document.call({"path": "x.pdf"}, context)).content)
    async with Site() as site:
        fetch = web(allow_private=["127.0.0.1"])[0]
        assert "A page of one line." in str((await fetch.call({"url": site.origin}, context)).content)
