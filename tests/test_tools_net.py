"""Web tools reach the public internet only: private addresses are refused in every form, also behind redirects."""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import httpx2
import pytest

from qianda.models.errors import ConfigurationError, ToolError
from qianda.testing.http_server import LoopbackServer, Request, Response
from qianda.tools.net import MOST_REDIRECTS, Guard, Refused, complete, fetch, is_public

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
    "100.100.100.200", "100.64.0.1", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1", "100::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.32.0.1", "2606:4700:4700::1111", "64:ff9b::808:808"]

# What is written, and a word of the refusal.
FORMS = {
    "http://127.0.0.1/": "127.0.0.1", "http://localhost/": "127.0.0.1", "http://LOCALHOST./": "127.0.0.1",
    "http://2130706433/": "127.0.0.1", "http://0x7f000001/": "127.0.0.1", "http://017700000001/": "127.0.0.1",
    "http://0177.0.0.1/": "is not an address", "http://0x7f.0x0.0x0.0x1/": "127.0.0.1", "http://127.1/": "127.0.0.1",
    "http://127.0.1/": "127.0.0.1", "http://0/": "0.0.0.0", "http://0.0.0.0:8080/": "0.0.0.0",
    "http://[::1]/": "::1", "http://[::]/": "::", "http://[::ffff:127.0.0.1]/": "::ffff:7f00:1",
    "http://[0:0:0:0:0:ffff:7f00:1]/": "::ffff:7f00:1", "http://[64:ff9b::7f00:1]/": "64:ff9b::7f00:1",
    "http://[fe80::1%25eth0]/": "fe80::1", "http://169.254.169.254/latest/meta-data/": "169.254.169.254",
    "http://2852039166/": "169.254.169.254", "http://100.100.100.200/latest/meta-data/": "100.100.100.200",
    "http://168.63.129.16/": "168.63.129.16", "http://127。0。0。1/": "127.0.0.1", "127.0.0.1": "127.0.0.1",
    "localhost:8000/x": "127.0.0.1", "http://１２７.0.0.1/": "is not an address",
    "http://①②⑦.0.0.1/": "is not an address",
    "http://internal.example/": "10.0.0.5", "http://mixed.example/": "192.168.0.9",
    "http://user@1.1.1.1/": "user name", "http://user:pw@1.1.1.1/": "user name",
    "http://1.1.1.1@127.0.0.1/": "user name", "http://127.0.0.1\\@1.1.1.1/": "user name",
    "http://1.1.1.1:22/": "port 22", "http://1.1.1.1:25/": "port 25", "https://1.1.1.1:993/": "port 993",
    "file:///etc/passwd": "not file", "ftp://1.1.1.1/": "not ftp", "gopher://127.0.0.1:6379/_x": "not gopher",
    "data:text/html,x": "not data", "javascript:alert(1)": "not javascript", "unix:/var/run/docker.sock": "not unix",
    "http:///etc/passwd": "no host", "http://": "no host", "": "no host", "http://nowhere.example/": "no host",
    "http://[::1/": "is not an address", "http://a b/": "no host",
}  # fmt: skip
NAMES: dict[str, Sequence[str]] = {
    "localhost": ["127.0.0.1"],
    "internal.example": ["10.0.0.5"],
    "mixed.example": ["93.184.215.14", "192.168.0.9"],
    "public.example": ["93.184.215.14"],
    "xn--mnchen-3ya.example": ["93.184.215.14"],
}


async def fake(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise OSError(-2, "Name or service not known")
    return NAMES[host]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(("written", "said"), FORMS.items())
async def test_forms_of_requests_to_ourselves_are_refused(written: str, said: str) -> None:
    with pytest.raises(ToolError) as caught:
        async with fetch(written, Guard(resolver=fake), headers={}):
            pass
    assert said in str(caught.value)


async def test_public_ones_are_allowed() -> None:
    guard = Guard(resolver=fake)
    for url in ("https://public.example", "http://public.example:8080/x", "https://münchen.example/ä"):
        assert await guard.addresses(httpx2.URL(complete(url))) == ["93.184.215.14"]
    assert await guard.addresses(httpx2.URL("http://1.1.1.1")) == ["1.1.1.1"]


async def test_users_may_allow_hosts_and_networks() -> None:
    guard = Guard(["internal.example", "127.0.0.0/8"], resolver=fake)
    assert await guard.addresses(httpx2.URL("http://internal.example:81")) == ["10.0.0.5"]
    assert await guard.addresses(httpx2.URL("http://0x7f000001")) == ["127.0.0.1"]
    with pytest.raises(Refused):
        await guard.addresses(httpx2.URL("http://10.0.0.5"))  # the name was allowed, not the address
    for wrong in ("*.corp", "http://x", "10.0.0.1/8/8", ""):
        with pytest.raises(ConfigurationError, match="host names and networks"):
            Guard([wrong])


async def read(url: str, guard: Guard) -> tuple[int, str, bytes]:
    async with fetch(url, guard, headers={"accept": "text/html"}) as answer:
        return answer.status, answer.url, b"".join([block async for block in answer.body])


class Redirects(LoopbackServer):
    """Sends everybody elsewhere."""

    async def answer(self, request: Request, response: Response) -> None:
        name = request.path.removeprefix("/")
        targets: Mapping[str, str] = {
            "in": f"http://localhost:{self.origin.rpartition(':')[2]}/secret",
            "meta": "http://169.254.169.254/",
            "file": "file:///etc/passwd",
            "on": "/there",
            "round": "/round",
        }
        if name in targets:
            await response.send(302, b"", {"location": targets[name]})
        else:
            await response.send(200, b"arrived", {"content-type": "text/plain"})


async def test_each_redirect_is_judged() -> None:
    async with Redirects() as site:
        # "site.example" leads here and is allowed; where it redirects to is not.
        async def resolver(host: str, port: int) -> Sequence[str]:
            return ["127.0.0.1"]

        guard = Guard(["site.example"], resolver=resolver)
        place = f"site.example:{site.origin.rpartition(':')[2]}"
        here = f"http://{place}"
        assert await read(f"{here}/on", guard) == (200, f"{here}/there", b"arrived")
        for path, said in {"in": "localhost is 127.0.0.1", "meta": "169.254.169.254", "file": "not file"}.items():
            with pytest.raises(Refused, match=said):
                await read(f"{here}/{path}", guard)
        with pytest.raises(ToolError, match=f"redirects more than {MOST_REDIRECTS} times"):
            await read(f"{here}/round", guard)
        assert not any(request.path == "/secret" for request in site.received)
        assert {request.headers["host"] for request in site.received} == {place}


async def test_a_name_that_changes_its_address_is_asked_where_it_was_judged() -> None:
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["93.184.215.14"] if len(asked) == 1 else ["127.0.0.1"]

    connected: list[str] = []

    class Recorder(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            connected.append(f"{request.url.host} {request.headers['host']} {request.extensions['sni_hostname']}")
            return httpx2.Response(200, stream=httpx2.ByteStream(b"ok"))

    original = httpx2.AsyncClient

    def client(**options: Any) -> httpx2.AsyncClient:
        return original(transport=Recorder(), **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx2, "AsyncClient", client)
        status, url, _ = await read("https://rebind.example/x", Guard(resolver=rebinding))
    assert (status, url) == (200, "https://rebind.example/x")
    assert asked == ["rebind.example"]
    assert connected == ["93.184.215.14 rebind.example rebind.example"]


class Packed(LoopbackServer):
    """Sends compressed bodies."""

    async def answer(self, request: Request, response: Response) -> None:
        coding, content = {
            "/gzip": ("gzip", b"text " * 1_000),
            "/deflate": ("deflate", b"text " * 1_000),
            "/bomb": ("gzip", bytes(200_000_000)),
            "/br": ("br", b""),
            "/broken": ("gzip", b""),
        }[request.path]
        packer = zlib.compressobj(1, wbits=31 if coding == "gzip" else 15)
        body = packer.compress(content) + packer.flush()
        await response.send(200, b"nonsense" if request.path == "/broken" else body, {"content-encoding": coding})


async def test_compressed_bodies_are_unpacked_piece_by_piece() -> None:
    async with Packed() as site:
        guard = Guard(["127.0.0.1"])
        for path in ("gzip", "deflate"):
            assert (await read(f"{site.origin}/{path}", guard))[2] == b"text " * 1_000
        largest = 0
        async with fetch(f"{site.origin}/bomb", guard, headers={}) as answer:
            async for block in answer.body:
                largest = max(largest, len(block))
                if largest > 1_000:
                    break
        assert largest <= 1 << 16
        for path, said in {"br": "was not asked for", "broken": "compression is broken"}.items():
            with pytest.raises(ToolError, match=said):
                await read(f"{site.origin}/{path}", guard)
