"""``qianda web`` in a headless Chromium: a person types a prompt and sees the answer."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from qianda.testing import ScriptedServer, serving

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE = 45.0


class Page:
    """A page of the browser, by the DevTools protocol; what the terminal in it is sent is collected."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self.terminal = ""
        self.asked: list[str] = []
        self.errors: list[str] = []

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._connection.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(PATIENCE):
            while number not in self._answers:
                await self._read()
        return self._answers.pop(number)

    async def sees(self, text: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while text not in self.terminal:
                    await self._read()
        except TimeoutError:
            pytest.fail(f"{text!r} is not in the page: {self.terminal[-2000:]}")

    async def _read(self) -> None:
        message = json.loads(await self._connection.receive_str())
        params = message.get("params", {})
        match message.get("method"):
            case None:
                self._answers[message["id"]] = message.get("result", message)
            case "Network.webSocketFrameReceived" if params["response"]["opcode"] == 2:
                shown = base64.b64decode(params["response"]["payloadData"]).decode("utf-8", "replace")
                self.terminal += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(params))
            case _:
                pass


@asynccontextmanager
async def a_page(folder: Path) -> AsyncGenerator[Page]:
    """Chromium with one page."""
    assert CHROMIUM
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"]
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *options,
        f"--user-data-dir={folder / 'profile'}",
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        assert browser.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while not (found := re.search(rb"ws://(\S+?)/devtools", line := await browser.stderr.readline())):
                assert line, "Chromium did not start"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{found[1].decode()}/json") as answer:
                target = next(item for item in await answer.json() if item["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as connection:
                page = Page(connection)
                for domain in ("Page", "Network", "Runtime"):
                    await page.do(f"{domain}.enable")
                yield page
    finally:
        browser.terminate()
        await browser.communicate()


@pytest.fixture
def address() -> Generator[str]:
    """The address of a chat whose model is scripted."""
    with serving(ScriptedServer("It is 42.")) as server:
        command = [sys.executable, "-m", "qianda", "web", "--port", "0", "--server", server.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            yield program.stdout.readline().split()[-1]
            program.terminate()


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not there: tests/system/setup_browser.sh")
async def test_a_prompt_is_typed_in_chromium_and_the_answer_is_seen(address: str, tmp_path: Path) -> None:
    async with a_page(tmp_path) as page:
        await page.do("Page.navigate", url=address)
        await page.sees("Ask anything")  # and without a click it has the focus:
        await page.do("Input.insertText", text="What is 6*7?")
        await page.sees("What is 6*7?")
        for kind in ("keyDown", "keyUp"):
            await page.do(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
            )
        await page.sees("It is 42.")
        picture = base64.b64decode((await page.do("Page.captureScreenshot"))["data"])
        assert picture.startswith(b"\x89PNG")
        await page.do("Page.reload")
        page.terminal = ""
        await page.sees("It is 42.")
        base = address.partition("?")[0]
        assert not [url for url in page.asked if not url.startswith((base, base.replace("http", "ws"), "data:"))]
        assert not page.errors
