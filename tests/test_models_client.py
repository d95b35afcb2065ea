"""The model client against servers and proxies that answer in every odd way there is."""

from __future__ import annotations

import gzip
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest

from qianda.models import attempts as attempts_module
from qianda.models import http as http_module
from qianda.models.attempts import Retry
from qianda.models.client import Client
from qianda.models.errors import (
    QiandaError,
    QuotaExceeded,
    ServerError,
    ServerOverloaded,
    ServerRefused,
    ServerUnreachable,
)
from qianda.models.failures import explain_refusal
from qianda.models.http import open_http, patience, sse_data
from qianda.models.messages import ToolSchema, UserMessage
from qianda.models.reply import Piece, Reply, merge
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.testing import Request
from qianda.testing.http_server import LoopbackServer, Response

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(attempts_module, "wait_after", lambda attempt, error: 0.0)


class Odd(LoopbackServer):
    """Gives the prepared answers, in order, the last one again and again: status, headers, the blocks of the body."""

    def __init__(self, *answers: tuple[int, dict[str, str], list[bytes]]) -> None:
        super().__init__()
        self._answers = list(answers)

    async def answer(self, request: Request, response: Response) -> None:
        """Give the next answer."""
        status, headers, blocks = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if len(blocks) == 1:
            await response.send(status, blocks[0], headers)
            return
        await response.start(status, headers)
        for block in blocks:
            await response.write(block)
        await response.end()


def said(text: str, **choice: Any) -> bytes:
    return orjson.dumps({"choices": [{"index": 0, "delta": {"content": text}, **choice}]})


def event(text: str, **choice: Any) -> bytes:
    return b"data: " + said(text, **choice) + b"\n\n"


async def ask(server: Odd, http: Any = None, **options: Any) -> tuple[Reply, list[Retry]]:
    """The reply, and the retries before it."""
    endpoint = Endpoint(url=f"{server.origin}/v1", kind=server_kinds()["openai"], model="qwen3-coder", why="")
    own = http or open_http(endpoint.url)
    client = Client(endpoint, own, **options)
    pieces: list[Piece] = []
    retries: list[Retry] = []
    try:
        tools = [ToolSchema("write", "Writes.", {"type": "object", "properties": {"text": {"type": "string"}}})]
        async for batch in client.ask([UserMessage("hi")], tools, client.encoder()):
            if isinstance(batch, Retry):
                retries.append(batch)
                pieces.clear()
            else:
                pieces += batch
    finally:
        await own.aclose()
    return merge(pieces), retries


WHOLE = [event("Good "), event("day", finish_reason="stop"), b"data: [DONE]\n\n"]
STREAMS: dict[str, list[bytes]] = {
    "as it should be": WHOLE,
    "CRLF": [block.replace(b"\n", b"\r\n") for block in WHOLE],
    "comments": [b": ping\n\n", WHOLE[0], b": ping - 2026\n\n", *WHOLE[1:]],
    "names, numbers and kept-alive": [b"id: 1\nevent: message\n" + WHOLE[0], b"data:\n\ndata: \r\n\r\n", *WHOLE[1:]],
    "no empty lines": [b"data: " + said("Good ") + b"\n", b"data: " + said("day", finish_reason="stop") + b"\n"],
    "no last line end": [WHOLE[0], b"data: " + said("day") + b"\n", b"data: [DONE]"],
    "no space": [block.replace(b"data: ", b"data:") for block in WHOLE],
    "byte by byte": [bytes([byte]) for byte in b"".join(WHOLE)],
    "no DONE": WHOLE[:2],
    "no finish": [event("Good "), event("day"), b"data: [DONE]\n\n"],
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_is_read_however_it_is_framed(name: str) -> None:
    async with Odd((200, SSE, STREAMS[name])) as server:
        reply, retries = await ask(server)
    assert reply.text == "Good day"
    assert retries == []


async def test_compressed_and_badly_encoded_streams_are_read() -> None:
    whole = gzip.compress(b"".join(WHOLE))
    async with Odd((200, SSE | {"content-encoding": "gzip"}, [whole[:20], whole[20:]])) as server:
        assert (await ask(server))[0].text == "Good day"
    broken = event("caf\u00e9 ok", finish_reason="stop").replace("\u00e9".encode(), b"\xc3")
    async with Odd((200, SSE, [broken, WHOLE[-1]])) as server:
        assert (await ask(server))[0].text == "caf\ufffd ok"


async def test_a_server_that_answers_a_stream_with_one_document_is_understood() -> None:
    body = orjson.dumps({"choices": [{"message": {"content": "Good day"}, "finish_reason": "stop"}]})
    async with Odd((200, JSON, [body])) as server:
        assert (await ask(server))[0].text == "Good day"


ODD_ANSWERS: list[tuple[int, dict[str, str], bytes, type[QiandaError], str, int]] = [
    (200, HTML, b"<html>Welcome to nginx</html>", ServerRefused, "not a model server", 1),
    (404, HTML, b"<html>Not Found</html>", ServerRefused, "not a model server", 1),
    (307, {"location": "https://elsewhere/v1"}, b"", ServerRefused, "redirects to https://elsewhere/v1", 1),
    (301, HTML, b"<html>moved</html>", ServerRefused, "redirects to another address", 1),
    (502, HTML, b"<html><h1>502 Bad Gateway</h1></html>", ServerOverloaded, "HTTP 502", 4),
    (408, {}, b"", ServerOverloaded, "HTTP 408", 4),
    (200, JSON, b"", ServerUnreachable, "empty answer", 4),
    (200, SSE, b"", ServerUnreachable, "broke off", 4),
    (200, JSON, b'{"error": {"message": "no such field", "code": 400}}', ServerRefused, "no such field", 1),
    (200, JSON, b'{"error": "model runner stopped"}', ServerOverloaded, "runner stopped", 4),
    (200, JSON, b'{"code": "Arrearage", "message": "Access denied"}', QuotaExceeded, "Access denied", 1),
    (200, SSE, b"data: null\n\n", ServerOverloaded, "not a JSON object", 4),
    (200, SSE, b"data: {broken\n\n", ServerOverloaded, "not JSON", 4),
    (200, SSE, b'event:error\ndata:{"code":"Throttling","message":"slow down"}\n\n', ServerOverloaded, "slow", 4),
]


@pytest.mark.parametrize(("status", "headers", "body", "error", "message", "requests"), ODD_ANSWERS)
async def test_what_is_no_answer_is_one_clear_error(
    status: int, headers: dict[str, str], body: bytes, error: type[QiandaError], message: str, requests: int
) -> None:
    async with Odd((status, headers, [body])) as server:
        with pytest.raises(error, match=message) as caught:
            await ask(server)
        assert "<html>" not in str(caught.value)
        assert len(server.received) == requests


async def test_an_error_after_text_voids_the_text() -> None:
    failed = [event("Bad "), b'data: {"error": {"message": "worker died", "code": 500}}\n\n', b"data: [DONE]\n\n"]
    async with Odd((200, SSE, failed), (200, SSE, WHOLE)) as server:
        reply, retries = await ask(server)
    assert reply.text == "Good day"
    assert [retry.discard for retry in retries] == [True]


async def test_a_server_that_never_says_when_it_is_done_is_believed_in_the_end() -> None:
    async with Odd((200, SSE, [event("Good "), event("day")])) as server:
        reply, retries = await ask(server)
    assert (reply.text, reply.finish) == ("Good day", "length")
    assert len(retries) == attempts_module.ATTEMPTS - 1


async def test_half_a_call_of_such_a_server_is_not_guessed() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "write", "arguments": '{"text": "rm -rf /tmp'}}
    half = b"data: " + orjson.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}) + b"\n\n"
    async with Odd((200, SSE, [half, b": bye\n\n"])) as server:
        reply, _ = await ask(server)
    assert reply.calls == ()
    assert len(reply.broken) == 1


def test_what_a_server_asks_to_wait() -> None:
    def wait(header: str | None) -> float | None:
        error = explain_refusal(429, b"", url="u", model="m", retry_after=header)
        assert isinstance(error, ServerOverloaded)
        return error.retry_after

    assert wait("7") == 7.0
    assert wait("-5") == 0.0
    assert [wait(header) for header in (None, "", "soon", "nan", "inf")] == [None] * 5
    in_30_seconds = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < (wait(in_30_seconds) or 0) <= 30
    assert wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


async def blocks_of(data: bytes, size: int) -> AsyncGenerator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def test_a_line_of_megabytes_comes_whole() -> None:
    # Joined anew with every block, a line of this length would take minutes.
    line = b"data: {" + b"x" * (24 << 20) + b"}"
    found = [data async for each in sse_data(blocks_of(line + b"\n\n", 1024)) for data in each]
    assert [len(data) for data in found] == [len(line) - 6]


@pytest.mark.parametrize("package", ["httpx", "httpx2"])
class TestClientsOfUsers:
    """What a user's HTTP client was made with counts, but what it merely defaults to does not."""

    def test_patience(self, package: str) -> None:
        module: Any = __import__(package)
        plain = module.AsyncClient()
        assert patience(plain, None) == {"timeout": (5.0, 300.0, 300.0, None)}
        assert patience(plain, 2.0) == {"timeout": (2.0, 2.0, 2.0, None)}
        assert patience(module.AsyncClient(timeout=20), None) == {}
        assert patience(module.AsyncClient(timeout=None), None) == {}
        assert patience(module.AsyncClient(timeout=20), 60.0) == {"timeout": (5.0, 60.0, 60.0, None)}

    async def test_a_slow_model_is_waited_for(self, package: str) -> None:
        module: Any = __import__(package)
        seen: list[Any] = []

        def answer(request: Any) -> Any:
            seen.append(request)
            return module.Response(200, headers=SSE, content=b"".join(WHOLE))

        http = module.AsyncClient(
            transport=module.MockTransport(answer), headers={"x-team": "blue", "authorization": "Bearer mine"}
        )
        async with Odd((200, {}, [b""])) as server:
            reply, _ = await ask(server, http)
        assert reply.text == "Good day"
        assert seen[0].extensions["timeout"]["read"] == http_module.IDLE_SECONDS
        assert seen[0].headers["x-team"] == "blue"
        assert seen[0].headers["authorization"] == "Bearer mine"

    async def test_a_connection_that_fails_under_load_is_tried_again(self, package: str) -> None:
        module: Any = __import__(package)
        answers = iter([module.ConnectTimeout("busy"), module.ConnectError("refused")])

        def answer(request: Any) -> Any:
            for failure in answers:
                raise failure
            return module.Response(200, headers=SSE, content=b"".join(WHOLE))

        http = module.AsyncClient(transport=module.MockTransport(answer))
        async with Odd((200, {}, [b""])) as server:
            reply, retries = await ask(server, http)
        assert reply.text == "Good day"
        assert [retry.attempt for retry in retries] == [2, 3]

    async def test_its_errors_are_ours(self, package: str) -> None:
        module: Any = __import__(package)

        def too_many(request: Any) -> Any:
            return module.Response(302, headers={"location": str(request.url)})

        def certificate(request: Any) -> Any:
            raise module.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")

        cases: list[tuple[Any, str]] = [(too_many, "TooManyRedirects"), (certificate, "CERTIFICATE_VERIFY_FAILED")]
        for answer, message in cases:
            http = module.AsyncClient(transport=module.MockTransport(answer), follow_redirects=True)
            async with Odd((200, {}, [b""])) as server:
                with pytest.raises(ServerError, match=message):
                    await ask(server, http)
