"""The chat in the browser: who gets in, and a conversation through the page's own connection."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from http.cookies import SimpleCookie

import aiohttp
import pytest

from qianda.cli.main import main
from qianda.testing import ScriptedServer, serving


@pytest.fixture(scope="module")
def model() -> Generator[ScriptedServer]:
    with serving(ScriptedServer("It is 42.", "And 43.")) as server:
        yield server


@pytest.fixture
def address(model: ScriptedServer) -> Generator[str]:
    """The address that the program prints."""
    command = [sys.executable, "-m", "qianda", "web", "--port", "0", "--server", model.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, line
            yield found[0]
        finally:
            program.send_signal(signal.SIGINT)
            assert program.wait(30) == 0


async def _sees(page: aiohttp.ClientWebSocketResponse, text: str) -> None:
    """Read what the page is sent until a text is in it."""
    seen = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            async for message in page:
                if message.type == aiohttp.WSMsgType.BINARY:
                    seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", message.data.decode("utf-8", "replace"))
                    if text in seen:
                        return
    pytest.fail(f"{text!r} was not sent: {seen[-2000:]}")


async def test_only_who_has_the_address_gets_in_and_a_page_is_a_conversation(
    address: str, model: ScriptedServer
) -> None:
    base = address.partition("?")[0]
    token = address.partition("token=")[2]
    jar = aiohttp.CookieJar(unsafe=True)  # of an address without a name
    async with aiohttp.ClientSession(cookie_jar=jar) as stranger, aiohttp.ClientSession(cookie_jar=jar) as browser:
        for path in ("", "?token=wrong", "chat/x", "ws/x", "static/js/textual.js"):
            async with stranger.get(base + path) as answer:
                assert answer.status == 403, path
        async with stranger.get(address, headers={"Host": "evil.example"}) as answer:
            assert answer.status == 403

        async with browser.get(address, allow_redirects=False) as answer:
            assert SimpleCookie(answer.headers["Set-Cookie"]).popitem()[1]["samesite"] == "Strict"
        async with browser.get(base) as answer:
            assert token not in str(answer.url)
            html = await answer.text()
        assert not [url for url in re.findall(r"https?://[^\"'\s]+", html) if not url.startswith(base)]
        connection = re.search(r"data-session-websocket-url=\"([^\"]+)", html)
        assert connection
        for name in ("%22%3E%3Cscript%3E", "--help"):
            async with browser.get(f"{base}chat/{name}") as answer:
                assert answer.status == 404
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await browser.ws_connect(connection[1], headers={"Origin": "http://evil.example"})
        async with browser.ws_connect(connection[1] + "?width=80&height=24") as page:
            await _sees(page, "Ask anything")
            await page.send_json(["stdin", "What is 6*7?\r"])
            await _sees(page, "It is 42.")
        async with browser.ws_connect(connection[1] + "?width=80&height=24") as page:
            await _sees(page, "It is 42.")  # loaded again, it goes on


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--servre", "x"], "--servre"),
        (["prompt"], "'prompt' is not an option"),
        (["--session", "x"], "each has its own"),
        (["--port", "70000"], "--port"),
    ],
)
def test_what_is_wrong_is_said_before_a_page_is_opened(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["web", *words]) == 2
    assert said in capsys.readouterr().err
