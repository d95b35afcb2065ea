"""The built-in tools ``web_fetch`` and ``web_search``: pages of the web as readable text, and where to find them."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qianda.models.errors import ToolError
from qianda.tools.builtin.documents import KINDS, read_pages
from qianda.tools.builtin.paging import Pages, cut_pages, show, wanted
from qianda.tools.builtin.search_services import search as search_web
from qianda.tools.builtin.text_files import find_encoding, human_size
from qianda.tools.context import Context
from qianda.tools.effects import Effects
from qianda.tools.function_tool import tool
from qianda.tools.net import Answer, Guard, complete, fetch
from qianda.tools.sandbox import Sandbox
from qianda.tools.tool import Tool

_LARGEST = 10_000_000  # bytes of a page, unpacked
_SECONDS = 45.0  # for a download
_REMEMBERED = 4  # pages, for asking on by page
_MOST_RESULTS = 20
_HEADERS = {
    "user-agent": "Mozilla/5.0 (compatible; qianda)",
    "accept": "text/markdown, text/html;q=0.9, application/xhtml+xml;q=0.9, */*;q=0.5",
}
_META_CHARSET = re.compile(rb"""<meta[^>]+charset=["']?\s*([\w.:-]+)""", re.IGNORECASE)
_KINDS_BY_TYPE = {"application/pdf": "pdf", "application/epub+zip": "epub"}


@dataclass(frozen=True, slots=True)
class _Page:
    """What an address gave.

    Args:
        url: after redirects.
        kind: ``page`` for HTML, ``text``, or a document's ending.
        content: for HTML and text in UTF-8.
    """

    url: str
    kind: str
    content: bytes


def web(*, allow_private: Sequence[str] = (), search: str = "") -> list[Tool]:
    """The tools that fetch pages and search the web; pages need the extra ``web``, PDFs the extra ``documents``.

    Args:
        allow_private: host names and networks that may be fetched from although they are private:
            ``["wiki.example", "10.0.0.0/8"]``. Without it only public addresses are.
        search: ``tavily``, ``brave``, ``serper``, ``ddgs`` or the URL of a SearXNG; by default ``QIANDA_SEARCH``, else
            the first that has a key, else ddgs.

    Raises:
        ConfigurationError: what is allowed is neither a host nor a network.
    """
    guard = Guard(allow_private)
    recent: dict[str, _Page] = {}

    @tool(read_only=True, open_world=True, consent=False, origin="built-in", effects=_urls, max_output=20_000)
    async def web_fetch(url: str, context: Context, pages: str = "") -> str:
        """Read a web page, or a PDF or text on the web.

        Args:
            url: its address
            context: says what reads the page, apart from us
            pages: of a long one, e.g. 2 or 4-6
        """
        first, last = wanted(pages)
        page = recent.get(url) if first > 1 else None
        if page is None:
            page = recent[url] = await _download(url, guard)
            if len(recent) > _REMEMBERED:
                del recent[next(iter(recent))]
        return show(page.url, await _read(page, first, last, context.sandbox))

    @tool(read_only=True, open_world=True, consent=False, origin="built-in")
    async def web_search(query: str, context: Context, count: int = 5) -> str:
        """Search the web.

        Args:
            query: what to search for
            context: says whose configuration holds keys
            count: results, at most 20
        """
        if not query.strip():
            raise ToolError("the query is empty")
        most = min(max(count, 1), _MOST_RESULTS)
        name, found = await search_web(query, most, wanted=search, workspace=context.workspace)
        if not found:
            return f"No results ({name})"
        return "\n\n".join(f"{item.title}\n{item.url}\n{item.text}".strip() for item in found)

    return [web_fetch, web_search]


def _urls(arguments: dict[str, Any]) -> Effects:
    return Effects(urls=(complete(arguments["url"]),))


async def _download(url: str, guard: Guard) -> _Page:
    """Fetch a page.

    Raises:
        ToolError: it cannot be fetched, is too large, or nothing that can be read.
    """
    try:
        async with asyncio.timeout(_SECONDS), fetch(url, guard, headers=_HEADERS) as answer:
            if answer.status >= 400:
                raise ToolError(f"{answer.url} answers with HTTP status {answer.status}")
            content = b""
            async for block in answer.body:
                content += block
                if len(content) > _LARGEST:
                    raise ToolError(f"{answer.url} has more than {human_size(_LARGEST)}, which is refused")
            return _understood(answer, content)
    except TimeoutError:
        raise ToolError(f"{url} did not arrive within {_SECONDS:g} s") from None


def _understood(answer: Answer, content: bytes) -> _Page:
    """What the content is, by its type, its address, and how it begins."""
    media_type, _, parameters = answer.headers.get("content-type", "").lower().partition(";")
    media_type = media_type.strip()
    ending = answer.url.partition("?")[0].rpartition(".")[2].lower()
    start = content[:1_000].lstrip()
    kind = _KINDS_BY_TYPE.get(media_type, "")
    if start.startswith(b"%PDF-"):
        kind = "pdf"
    elif content.startswith(b"PK") and ending in KINDS:
        kind = ending
    if kind:
        return _Page(answer.url, kind, content)
    named = re.search(r"""charset=["']?([\w.:-]+)""", parameters)
    text = _decoded(content, named[1] if named else "")
    html = "html" in media_type or (not media_type and start[:1] == b"<")
    if text is None or media_type.partition("/")[0] in ("image", "audio", "video", "font"):
        what = media_type or "something unknown"
        raise ToolError(f"{answer.url} is {what} ({human_size(len(content))}), no text that can be read")
    if media_type.endswith("json"):
        with suppress(ValueError, RecursionError):
            text = json.dumps(json.loads(text), ensure_ascii=False, indent=1)
    return _Page(answer.url, "page" if html else "text", text.encode("utf-8", "replace"))


def _decoded(content: bytes, named: str) -> str | None:
    """The text of a page: by the encoding that it names, else the likeliest; None when it is no text."""
    likely = find_encoding(content) or ""
    inside = _META_CHARSET.search(content[:4_096]) if likely and not likely.startswith("utf") else None
    for name in (named, inside[1].decode("ascii") if inside else "", likely):
        with suppress(LookupError, UnicodeDecodeError):
            if name:
                return content.decode(name)
    return None


async def _read(page: _Page, first: int, last: int, sandbox: Sandbox | None) -> Pages:
    if page.kind == "text":
        return cut_pages(page.content.decode(), first, last)
    with tempfile.TemporaryDirectory(prefix="qianda-") as folder:
        file = Path(folder, "page")
        await asyncio.to_thread(file.write_bytes, page.content)
        return await read_pages(page.kind, file, first, last, name=page.url, sandbox=sandbox, url=page.url)
