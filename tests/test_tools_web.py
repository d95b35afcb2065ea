"""Pages of the web become readable text, and searching works by every service as it documents itself."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest

from qianda.testing.http_server import LoopbackServer, Request, Response
from qianda.tools import Context, Tool, web
from qianda.tools.builtin import search_services

ARTICLE = """<html><head><title>Rivers of Hangzhou</title><script>track()</script></head><body>
<nav><a href="/">Home</a> <a href="/login">Log in</a></nav>
<article><h1>Rivers of Hangzhou</h1><p>{text}</p><ul><li>Qiantang</li><li>Grand Canal</li></ul>
<p>See the <a href="/map">map</a>.</p></article><footer>Cookies, cookies</footer></body></html>"""
TEXT = "The Qiantang is known for its tidal bore, which people come to see in autumn. " * 6


class Site(LoopbackServer):
    """A web site in bytes: by path, the status, the type, and the body."""

    def __init__(self, pages: dict[str, tuple[str, bytes]]) -> None:
        super().__init__()
        self.pages = pages

    async def answer(self, request: Request, response: Response) -> None:
        kind, body = self.pages.get(request.path, ("", b""))
        await response.send(200 if kind else 404, body, {"content-type": kind} if kind != "-" else {})


def fetching() -> Tool:
    return web(allow_private=["127.0.0.1"])[0]


async def fetched(tool: Tool, url: str, pages: str = "") -> str:
    result = await tool.call({"url": url, "pages": pages}, Context())
    assert isinstance(result.content, str)
    return ("FAILED " if result.failed else "") + result.content


async def test_an_article_is_read_without_what_is_around_it() -> None:
    async with Site({"/a": ("text/html", ARTICLE.format(text=TEXT).encode())}) as site:
        at = site.origin
        text = await fetched(fetching(), f"{at}/a")
    assert text.startswith(f"{at}/a\n\n# Rivers of Hangzhou")
    assert "tidal bore" in text
    assert "- Qiantang" in text
    assert f"[map]({at}/map)" in text
    assert "track()" not in text


async def test_charsets_by_header_by_the_page_and_by_look() -> None:
    chinese = ARTICLE.format(text="钱塘江大潮每年吸引许多游客前来观看。" * 20)
    meta = chinese.replace("<head>", '<head><meta charset="gb2312">')
    pages = {
        "/header": ("text/html; charset=GBK", chinese.encode("gbk")),
        "/meta": ("text/html", meta.encode("gb18030")),
        "/plain": ("text/plain", "naïve café, déjà vu".encode("cp1252")),
    }
    async with Site(pages) as site:
        tool = fetching()
        header, meta, plain = await asyncio.gather(*(fetched(tool, site.origin + path) for path in pages))
    assert "钱塘江大潮" in header
    assert "钱塘江大潮" in meta
    assert plain.endswith("naïve café, déjà vu")


async def test_json_text_and_documents(house: Path) -> None:
    pages = {
        "/data": ("application/json", b'{"city":"\xe6\x9d\xad\xe5\xb7\x9e"}'),
        "/x.pdf": ("application/octet-stream", (house / "tests/fixtures/documents/two-pages.pdf").read_bytes()),
        "/logo.png": ("image/png", b"\x89PNG"),
        "/blob": ("application/octet-stream", b"\x00\x01\x02"),
        "/piece": ("text/html", b"<html><head><title>A &amp; B</title></head><body><p>One line.</p></body></html>"),
        "/long": ("text/plain", "\n".join(f"line {number}" for number in range(5_000)).encode()),
        "/large": ("text/plain", b"x" * 10_000_001),
    }
    async with Site(pages) as site:
        tool, at = fetching(), site.origin
        assert await fetched(tool, f"{at}/data") == f'{at}/data\n\n{{\n "city": "杭州"\n}}'
        assert "[page 2]\nSecond page." in await fetched(tool, f"{at}/x.pdf")
        assert await fetched(tool, f"{at}/piece") == f"{at}/piece\n\n# A & B\n\nOne line."
        assert "FAILED" in await fetched(tool, f"{at}/logo.png")
        assert "is application/octet-stream (3 B), no text" in await fetched(tool, f"{at}/blob")
        assert "has more than 10 MB" in await fetched(tool, f"{at}/large")
        assert "answers with HTTP status 404" in await fetched(tool, f"{at}/none")
        first = await fetched(tool, f"{at}/long")
        assert first.endswith('(more: pages="4-6")')
        before = len(site.received)
        assert (await fetched(tool, f"{at}/long", "4-6")).startswith(f"{at}/long: parts 4-6 of ")
        assert len(site.received) == before  # asked on by page: what was fetched is read on


async def test_this_machine_is_refused_by_default() -> None:
    async with Site({"/": ("text/plain", b"secret")}) as site:
        (tool, _) = web()
        assert "an address of this machine or a private network" in await fetched(tool, site.origin)
        assert site.received == []


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(LoopbackServer):
        async def answer(self, request: Request, response: Response) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(sys.modules["qianda.tools.builtin.web"], "_SECONDS", 0.05)
    async with Silent() as site:
        assert "did not arrive within 0.05 s" in await fetched(fetching(), site.origin)


def test_what_the_permissions_are_told() -> None:
    fetch, search = web()
    assert fetch.effects({"url": "example.com/a"}).urls == ("https://example.com/a",)
    assert fetch.read_only
    assert fetch.open_world
    assert search.open_world
    assert not fetch.consent
    assert not search.consent


class Service:
    """A search service on loopback; keeps what it was asked, query and body included."""

    def __init__(self, status: int, body: Any) -> None:
        self.answer = status, json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.target = ""
        self.headers: dict[str, str] = {}
        self.body = b""

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        self.target = head.split(" ")[1]
        self.headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
        self.body = await reader.readexactly(int(self.headers.get("content-length", 0)))
        status, body = self.answer
        writer.write(b"HTTP/1.1 %d x\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (status, len(body), body))
        await writer.drain()
        writer.close()

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)


async def searched(search: str = "", **arguments: Any) -> str:
    tool = web(search=search)[1]
    result = await tool.call({"query": "钱塘江", **arguments}, Context())
    assert isinstance(result.content, str)
    return ("FAILED " if result.failed else "") + result.content


RESULT = "Qiantang River\nhttps://example.com/q\nA river in Zhejiang."
# The answers as the services' own references show them, shortened.
ANSWERS: dict[str, Any] = {
    "tavily": {
        "query": "x",
        "answer": None,
        "results": [
            {"title": "Qiantang River", "url": "https://example.com/q", "content": "A river in Zhejiang.", "score": 0.9}
        ],
        "response_time": 1.1,
    },
    "brave": {
        "type": "search",
        "query": {"original": "x"},
        "web": {
            "type": "search",
            "results": [
                {"title": "Qiantang River", "url": "https://example.com/q", "description": "A river in Zhejiang."}
            ],
        },
    },
    "serper": {
        "searchParameters": {"q": "x"},
        "organic": [
            {
                "title": "Qiantang River",
                "link": "https://example.com/q",
                "snippet": "A river in Zhejiang.",
                "position": 1,
            }
        ],
    },
}


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for service in search_services.KEYED.values():
        monkeypatch.delenv(service.variable, raising=False)


@pytest.mark.parametrize("name", ANSWERS)
async def test_services_with_keys(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = search_services.KEYED[name]
    async with Service(200, ANSWERS[name]) as service:
        monkeypatch.setitem(search_services.KEYED, name, replace(known, url=service.url))
        monkeypatch.setenv(known.variable, "k-1")
        assert await searched(count=3) == RESULT
        if name == "brave":
            assert service.headers["x-subscription-token"] == "k-1"
            assert service.query == {"q": ["钱塘江"], "count": ["3"], "text_decorations": ["false"]}
        else:
            key = {"tavily": ("authorization", "Bearer k-1"), "serper": ("x-api-key", "k-1")}[name]
            assert service.headers[key[0]] == key[1]
            query = {"tavily": {"query": "钱塘江", "max_results": 3}, "serper": {"q": "钱塘江", "num": 3}}[name]
            assert json.loads(service.body) == query


async def test_searxng_by_its_url_and_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"query": "x", "results": [*ANSWERS["tavily"]["results"], {"title": "Two", "url": "https://example.com"}]}
    async with Service(200, answer) as service:
        assert await searched(service.url) == f"{RESULT}\n\nTwo\nhttps://example.com"
        assert service.target.startswith("/search?")
        assert service.query == {"q": ["钱塘江"], "format": ["json"]}
        monkeypatch.setenv("QIANDA_SEARCH", f"{service.url}/search")
        assert await searched(count=1) == RESULT
    async with Service(403, b"") as service:
        assert 'its settings.yml needs "formats: [json]"' in await searched(service.url)
    async with Service(200, b"<html>") as service:
        assert "gave an answer that is no search result" in await searched(service.url)
    async with Service(200, {"results": []}) as service:
        assert await searched(service.url) == "No results (searxng)"
    assert "cannot be reached" in await searched(service.url)


async def test_what_is_wrong_is_said_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tell the user to set TAVILY_API_KEY" in await searched("tavily")
    assert 'no web search "gogle"' in await searched("gogle")
    monkeypatch.setattr(search_services, "find_spec", lambda _: None)
    assert "pip install 'qianda[web]'" in await searched()
    known = search_services.TAVILY
    monkeypatch.setenv(known.variable, "wrong")
    async with Service(401, {}) as service:
        monkeypatch.setitem(search_services.KEYED, "tavily", replace(known, url=service.url))
        assert "refuses the key in TAVILY_API_KEY" in await searched()
    async with Service(500, {}) as service:
        monkeypatch.setitem(search_services.KEYED, "tavily", replace(known, url=service.url))
        assert "answers with HTTP status 500" in await searched()


async def test_a_key_from_the_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from qianda.models.config import user_config_path

    user_config_path().parent.mkdir(parents=True)
    user_config_path().write_text('[api_keys]\nserper = "from-file"\n')
    user_config_path().chmod(0o600)
    async with Service(200, ANSWERS["serper"]) as service:
        monkeypatch.setitem(search_services.KEYED, "serper", replace(search_services.SERPER, url=service.url))
        assert await searched() == RESULT
        assert service.headers["x-api-key"] == "from-file"


async def test_ddgs_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    import ddgs
    from ddgs.exceptions import DDGSException

    class Stand:
        """What the package gives and raises."""

        outcome: Sequence[dict[str, str]] | Exception = ()

        def __init__(self, timeout: int) -> None:
            pass

        def text(self, query: str, max_results: int) -> Sequence[dict[str, str]]:
            if isinstance(self.outcome, Exception):
                raise self.outcome
            return self.outcome[:max_results]

    monkeypatch.setattr(ddgs, "DDGS", Stand)
    Stand.outcome = [{"title": "Qiantang River", "href": "https://example.com/q", "body": "A river in Zhejiang."}] * 3
    assert await searched(count=1) == RESULT
    Stand.outcome = DDGSException("No results found.")
    assert await searched("ddgs") == "No results (ddgs)"
    Stand.outcome = DDGSException("all engines timed out")
    assert "ddgs fails: all engines timed out" in await searched()
