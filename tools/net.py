"""Keeps web tools on the public internet: judges addresses before a connection, and fetches only from judged ones."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qianda.models.errors import ConfigurationError, ToolError

if TYPE_CHECKING:
    import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

MOST_REDIRECTS = 8
_SECONDS = 20.0  # of silence
_MOST_ADDRESSES = 4  # of one name that are tried
_WEB_PORTS = (80, 443)
_LOWEST_FREE_PORT = 1024  # below it are services that are not the web: mail, ssh, databases' neighbours
# Public by its number, and yet a cloud's service for the machine that asks. Source: Azure's page on 168.63.129.16.
_INSIDE_CLOUDS = "168.63.129.16/32"
# IANA's special-purpose registries have these; some releases of Python take them for global ones.
_SPECIAL = tuple(
    map(ipaddress.ip_network, (_INSIDE_CLOUDS, "192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "5f00::/16"))
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\d)")  # before a digit the colon begins a port
_REDIRECTS = (301, 302, 303, 307, 308)


class Refused(ToolError):
    """An address that a web tool may not ask; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body has not been read.

    Args:
        url: where it came from, after redirects.
        status: of HTTP.
        headers: names in any case.
        body: the decompressed body as it comes; a bomb unpacks one piece at a time.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


def complete(address: str) -> str:
    """An address with its scheme; without one it is https."""
    address = address.strip()
    return address if _SCHEME.match(address) else f"https://{address}"


def is_public(address: Address) -> bool:
    """Whether an address, and any IPv4 address inside it, is one of the open internet."""
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if any(address in network for network in _SPECIAL):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return True
    inside = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
    return all(is_public(each) for each in inside if each is not None)


def numeric(host: str) -> Address | None:
    """The address that a host written in digits is, also as C's ``inet_aton`` reads it: ``127.1``, ``0x7f000001``."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name, as the system finds them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Guard:
    """Says which addresses may be asked.

    Args:
        allowed: host names and networks that may be, although they are private: ``wiki.corp``, ``10.0.0.0/8``.
        resolver: finds the addresses of a name; the system's by default.

    Raises:
        ConfigurationError: what is allowed is neither.
    """

    def __init__(self, allowed: Sequence[str] = (), *, resolver: Resolver = resolve) -> None:
        self._resolve = resolver
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for item in allowed:
            try:
                self._networks.append(ipaddress.ip_network(item))
            except ValueError:
                if not item or any(sign in item for sign in "/*@ "):
                    raise ConfigurationError(
                        f'allow_private takes host names and networks, not "{item}"',
                        cure='Write it like "wiki.example" or "10.0.0.0/8"',
                    ) from None
                self._hosts.add(item.casefold().rstrip("."))

    async def addresses(self, url: httpx2.URL) -> list[str]:
        """Where a connection for this URL may go; resolved once, so that a second answer cannot lead elsewhere.

        Raises:
            Refused: nowhere.
        """
        if url.scheme not in ("http", "https"):
            raise Refused(f"only http and https addresses can be fetched, not {url.scheme or 'one without http:'}")
        if url.userinfo:
            raise Refused("an address with a user name or password in it is not fetched")
        host = url.raw_host.decode("ascii").rstrip(".").casefold()
        if not host:
            raise Refused("the address has no host")
        port = url.port or (443 if url.scheme == "https" else 80)
        literal = numeric(host)
        named = host in self._hosts
        if port not in _WEB_PORTS and port < _LOWEST_FREE_PORT and not named:
            raise Refused(f"port {port} is not one of the web")
        try:
            found = [str(literal)] if literal else await self._resolve(host, port)
            parsed = [ipaddress.ip_address(address.partition("%")[0]) for address in found]
        except (OSError, UnicodeError, ValueError) as error:
            raise Refused(f"there is no host {host}: {getattr(error, 'strerror', None) or error}") from None
        for address in parsed:
            if not (named or is_public(address) or any(address in network for network in self._networks)):
                what = "" if host == str(address) else f"{address}, "
                raise Refused(
                    f"{host} is {what}an address of this machine or a private network; web tools fetch public ones"
                )
        if not found:
            raise Refused(f"there is no host {host}")
        return list(found[:_MOST_ADDRESSES])


@asynccontextmanager
async def fetch(address: str, guard: Guard, *, headers: Mapping[str, str]) -> AsyncGenerator[Answer]:
    """GET a page; redirects are followed, each judged like the first address.

    Args:
        address: the URL as it was written; without a scheme it is https.
        guard: judges it.
        headers: of the request.

    Raises:
        Refused: the address, or one that it redirects to, may not be asked.
        ToolError: it cannot be fetched.
    """
    import httpx2

    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=_SECONDS, follow_redirects=False))
        try:
            url = httpx2.URL(complete(address))
            for _ in range(MOST_REDIRECTS + 1):
                response = await stack.enter_async_context(_get(http, url, guard, headers))
                target = response.headers.get("location")
                if response.status_code not in _REDIRECTS or not target:
                    yield Answer(str(url), response.status_code, response.headers, _body(response))
                    return
                url = url.join(target)
        except httpx2.InvalidURL as error:
            raise ToolError(f'"{address}" is not an address of the web: {error}') from None
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ToolError(f"{address} cannot be fetched: {reason}") from None
    raise ToolError(f"{address} cannot be fetched: it redirects more than {MOST_REDIRECTS} times")


@asynccontextmanager
async def _get(
    http: httpx2.AsyncClient, url: httpx2.URL, guard: Guard, headers: Mapping[str, str]
) -> AsyncGenerator[httpx2.Response]:
    """Ask the address that was judged, under the name that was asked for."""
    import httpx2

    named: dict[str, Any] = (
        {"sni_hostname": url.raw_host.decode("ascii").rstrip(".")} if numeric(url.host) is None else {}
    )
    where = url.netloc.decode("ascii")
    failure: httpx2.HTTPError | None = None
    for pinned in await guard.addresses(url):
        request = http.build_request(
            "GET",
            url.copy_with(host=pinned),
            headers={**headers, "host": where, "accept-encoding": "gzip, deflate"},
            extensions=named,
        )
        try:
            response = await http.send(request, stream=True)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            failure = error
            continue
        try:
            yield response
        finally:
            await response.aclose()
        return
    assert failure is not None
    raise failure


async def _body(response: httpx2.Response) -> AsyncIterator[bytes]:
    """The body, decompressed here: the package unpacks whole blocks, which may be bombs.

    Raises:
        ToolError: it is compressed in a way that was not asked for, or wrongly.
    """
    coding = response.headers.get("content-encoding", "identity").strip().casefold()
    if coding in ("", "identity"):
        async for block in response.aiter_raw():
            yield block
        return
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise ToolError(f"the page is compressed as {coding}, which was not asked for")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)  # finds out which of the two it is
    try:
        async for block in response.aiter_raw():
            while block:
                yield unpack.decompress(block, 1 << 16)
                block = unpack.unconsumed_tail  # noqa: PLW2901 - what is left of it
    except zlib.error as error:
        raise ToolError(f"the page's compression is broken: {error}") from None
