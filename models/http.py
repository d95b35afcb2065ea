"""The one place that knows httpx2 and httpx: clients, responses, and what their exceptions mean."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from qianda.models.errors import QiandaError, ServerRefused, ServerUnreachable

if TYPE_CHECKING:
    import httpx
    import httpx2

    AsyncClient = httpx2.AsyncClient | httpx.AsyncClient

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 300.0
PACKAGE_SECONDS = 5.0  # every timeout of a client of httpx or httpx2 that was made without one


class Response(Protocol):
    """What we use of a streamed response of either package."""

    status_code: int

    @property
    def request(self) -> Any:
        """What was sent; its ``url`` is parsed."""
        ...

    @property
    def headers(self) -> Any:
        """Case-insensitive mapping."""
        ...

    async def aread(self) -> bytes:
        """The whole body."""
        ...

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The body as it comes."""
        ...


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def open_http(
    url: str, *, idle: float | None = None, transport: httpx2.AsyncBaseTransport | None = None
) -> httpx2.AsyncClient:
    """A pooled client of our own for one server.

    Loopback servers are reached without the environment's proxies, and plain HTTP without the cost of TLS set-up.

    Args:
        url: the server's base URL.
        idle: seconds without a byte after which a request counts as hung.
        transport: answers in the place of the network.
    """
    import httpx2

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(idle or IDLE_SECONDS, connect=min(idle or CONNECT_SECONDS, CONNECT_SECONDS)),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64),
        trust_env=not is_loopback(url),
        verify=url.startswith("https:"),
        transport=transport,
    )


def patience(http: AsyncClient, seconds: float | None) -> dict[str, Any]:
    """The ``timeout`` option of a model request: a model may think for minutes before its first byte.

    Args:
        http: ours, or a user's; one that was made with timeouts of its own keeps them.
        seconds: what the user wants, or None.
    """
    if seconds is None:
        usual = all(value == PACKAGE_SECONDS for value in http.timeout.as_dict().values())
        if not usual:
            return {}
        seconds = IDLE_SECONDS
    # Connect, read, write, and no bound on waiting for a free connection of the pool.
    return {"timeout": (min(seconds, CONNECT_SECONDS), seconds, seconds, None)}


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def explain(error: Exception, url: str) -> QiandaError | None:
    """Our error for an exception of httpx2 or httpx, or None when it is none of theirs."""
    if _package(error) not in ("httpx", "httpx2"):
        return None
    names = _names(error)
    url = str(url).removesuffix("/chat/completions")  # a server is known by its base URL; a parsed one comes too
    if "InvalidURL" in names or "UnsupportedProtocol" in names:
        from qianda.models.errors import ConfigurationError

        return ConfigurationError(f"{url} is not a usable address", cure="Write it like http://127.0.0.1:8000/v1")
    if "ConnectError" in names and ("SSL" in str(error) or "CERTIFICATE" in str(error)):
        return ServerUnreachable(
            f"No encrypted connection to {url}: {error}",
            cure="Is it http: rather than https:? For a certificate of your own, pass http_client=",
        )
    if "ConnectError" in names or "ConnectTimeout" in names:
        return ServerUnreachable(
            f"No server answers at {url}",
            cure="Start it, or choose another with --server or QIANDA_SERVER (qianda doctor shows what is there)",
        )
    if "ReadTimeout" in names:
        return ServerUnreachable(f"{url} sent nothing for too long", cure="Look whether the server still works")
    if "RemoteProtocolError" in names:
        return ServerUnreachable(f"{url} broke off the connection", cure="Look whether the server still works")
    if "RequestError" in names or "StreamError" in names:
        return ServerUnreachable(f"The connection to {url} broke ({type(error).__name__})")
    return None


def is_silence(error: BaseException | None) -> bool:
    """Whether a server that was reached did not answer in time."""
    return error is not None and "ReadTimeout" in _names(error)


def _refuse_redirect(response: Response, url: str) -> None:
    if response.status_code in (301, 302, 303, 307, 308):
        raise ServerRefused(
            f"{url} redirects to {response.headers.get('location') or 'another address'}",
            cure="Name that server's address itself, up to /v1",
            status=response.status_code,
        )


@asynccontextmanager
async def send(
    http: AsyncClient, method: str, url: str, *, headers: dict[str, str], content: bytes | None = None, **options: Any
) -> AsyncGenerator[Response]:
    """Send one request; the body of the answer is read by the caller.

    Raises:
        ServerUnreachable: no connection, or it broke, here or while the caller reads.
        ServerRefused: the address is another now; a key and a conversation go nowhere on a server's word alone.
        ConfigurationError: the URL is not usable.
    """
    try:
        async with http.stream(method, url, headers=headers, content=content, **options) as response:
            _refuse_redirect(response, url)
            yield response
    except Exception as error:
        explained = explain(error, url)
        if explained is None:
            raise
        raise explained from error


async def get_json(http: AsyncClient, url: str, *, headers: dict[str, str], seconds: float) -> tuple[int, Any]:
    """GET a JSON document: the status and the decoded body, None where it is not JSON."""
    import orjson

    async with send(http, "GET", url, headers=headers, timeout=seconds) as response:
        body = await response.aread()
    try:
        return response.status_code, orjson.loads(body)
    except orjson.JSONDecodeError:
        return response.status_code, None


async def sse_data(blocks: AsyncIterator[bytes]) -> AsyncGenerator[list[bytes]]:
    """The ``data`` of server-sent events, in one list per block that the network gave.

    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html; events that are not set apart by an empty
    line are told apart all the same, and a last one without it counts.
    """
    pending: bytes | None = None
    held: list[bytes] = []  # a line that has not ended; joined once, as one argument may be megabytes long
    async for block in blocks:
        if b"\n" not in block:
            held.append(block)
            continue
        lines = b"".join((*held, block)).split(b"\n")
        held = [lines.pop()]
        found, pending = _read_lines(lines, pending)
        if found:
            yield found
    found, _ = _read_lines([b"".join(held), b""], pending)
    if found:
        yield found


def _read_lines(lines: list[bytes], pending: bytes | None) -> tuple[list[bytes], bytes | None]:
    """The data that these lines complete, and what they hold of the next; empty data only keeps a connection alive."""
    found: list[bytes] = []
    for line in lines:
        if line[:5] == b"data:":
            data = line[5:].strip()
            if not pending:
                pending = data
            elif _is_whole(pending):
                found.append(pending)
                pending = data
            else:
                pending += b"\n" + data
        elif pending and line in (b"", b"\r"):
            found.append(pending)
            pending = None
    return found, pending


def _is_whole(data: bytes) -> bool:
    return data[-1:] in (b"}", b"]")
