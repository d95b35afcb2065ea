"""What refusals and failures mean, which are tried again, and which requests are mended."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import httpx2
import orjson
import pytest

from qianda.models import attempts as attempts_module
from qianda.models.attempts import Retry
from qianda.models.client import Client
from qianda.models.errors import (
    ContextTooLong,
    QuotaExceeded,
    ServerError,
    ServerOverloaded,
    ServerRefused,
    ServerUnreachable,
)
from qianda.models.failures import explain_refusal, repaired_fields, text_in_error, worth_another_try
from qianda.models.http import explain, open_http
from qianda.models.messages import TextPart, ToolSchema, UserMessage
from qianda.models.reply import Piece, Reply, merge
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.testing import Request
from qianda.testing.http_server import LoopbackServer, Response

INTL = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"
SSE = {"content-type": "text/event-stream"}


def studio(code: str, message: str = "no") -> bytes:
    return orjson.dumps({"error": {"message": message, "type": code, "param": None, "code": code}, "request_id": "r"})


def explained(status: int, body: bytes) -> ServerError:
    return explain_refusal(status, body, url=INTL, model="qwen-plus")


RETRIED = [
    (429, "Throttling"),
    (429, "Throttling.RateQuota"),
    (429, "Throttling.AllocationQuota"),
    (429, "Throttling.BurstRate"),
    (429, "LimitRequests"),
    (429, "limit_requests"),
    (429, "limit_burst_rate"),
    (429, "insufficient_quota"),
    (500, "InternalError"),
    (500, "InternalError.Algo"),
    (500, "InternalError.Timeout"),
    (500, "ModelServiceFailed"),
    (500, "RequestTimeOut"),
    (503, "ModelUnavailable"),
    (503, "ServiceUnavailable"),
]
NEVER = [
    (429, "CommodityNotPurchased", QuotaExceeded),
    (429, "PrepaidBillOverdue", QuotaExceeded),
    (429, "PostpaidBillOverdue", QuotaExceeded),
    (429, "BudgetLimitExceeded", QuotaExceeded),
    (400, "Arrearage", QuotaExceeded),
    (403, "AllocationQuota.FreeTierOnly", QuotaExceeded),
    (400, "DataInspectionFailed", ServerRefused),
    (400, "data_inspection_failed", ServerRefused),
    (401, "invalid_api_key", ServerRefused),
    (403, "AccessDenied", ServerRefused),
    (403, "Model.AccessDenied", ServerRefused),
    (404, "ModelNotFound", ServerRefused),
    (404, "model_not_found", ServerRefused),
    (400, "InvalidParameter", ServerRefused),
    (500, "InternalError.Algo.InvalidParameter", ServerRefused),
]


@pytest.mark.parametrize(("status", "code"), RETRIED)
def test_what_passes_is_tried_again(status: int, code: str) -> None:
    error = explained(status, studio(code))
    assert isinstance(error, ServerOverloaded)
    assert worth_another_try(error)


@pytest.mark.parametrize(("status", "code", "kind"), NEVER)
def test_what_does_not_pass_is_said_at_once(status: int, code: str, kind: type[ServerError]) -> None:
    error = explained(status, studio(code))
    assert type(error) is kind
    assert not worth_another_try(error)


@pytest.mark.parametrize(
    "message",
    [
        "Free allocated quota exceeded.",
        "The free tier of the model has been exhausted. If you wish to continue, please disable the free tier only",
    ],
)
def test_a_bill_is_known_by_its_text_too(message: str) -> None:
    assert isinstance(explained(429, studio("Throttling.AllocationQuota", message)), QuotaExceeded)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "too long", "code": 400, "type": "BadRequestError", "param": "input_tokens"}}),
        (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens", "code": 400}),
        (400, {"error": {"code": 400, "message": "no", "type": "exceed_context_size_error", "n_ctx": 4096}}),
        (400, {"code": "InvalidParameter", "message": "Range of input length should be [1, 30720]"}),
        (422, {"error": "Input validation error: too many tokens", "error_type": "validation"}),
    ],
)
def test_what_is_too_long_is_known_on_every_server(status: int, body: dict[str, Any]) -> None:
    assert isinstance(explained(status, orjson.dumps(body)), ContextTooLong)


def test_a_key_of_another_region_names_the_regions() -> None:
    cure = explained(401, studio("invalid_api_key", "Incorrect API key provided.")).cure
    assert "this is Model Studio (Singapore)" in cure
    assert all(name in cure for name in ("modelstudio-cn", "modelstudio-us", "modelstudio-hk", "modelstudio-coding"))
    local = explain_refusal(401, b'{"error": "Unauthorized"}', url="http://127.0.0.1:8000/v1", model="m")
    assert "modelstudio" not in local.cure


@pytest.mark.parametrize(
    ("message", "cure"),
    [
        ('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', "with tools on"),
        ("tools param requires --jinja flag", "--jinja"),
        ("Repetitive tool calls detected", "over and over"),
    ],
)
def test_what_a_person_must_change_is_said(message: str, cure: str) -> None:
    error = explained(500, orjson.dumps({"error": {"code": 500, "message": message}}))
    assert cure in error.cure
    assert not worth_another_try(error)


def refused(message: str, status: int = 400) -> ServerError:
    return explained(status, studio("invalid_parameter_error", message))


@pytest.mark.parametrize(
    ("message", "fields", "mended"),
    [
        (
            "The value of the enable_thinking parameter is restricted to True.",
            {"enable_thinking": False},
            {"enable_thinking": True},
        ),
        (
            "parameter.enable_thinking must be set to false for non-streaming calls",
            {},
            {"stream": True, "stream_options": {"include_usage": True}},
        ),
        (
            "This model only support stream mode, please enable the stream parameter to access the model.",
            {"stream": False},
            {"stream": True, "stream_options": {"include_usage": True}},
        ),
        (
            "The tool_choice parameter does not support being set to required or object in thinking mode",
            {"tool_choice": "required"},
            {"tool_choice": "auto"},
        ),
        ("tool_choice is odd", {"tool_choice": "auto"}, None),
        ('"qwen2.5" does not support thinking', {"think": True, "a": 1}, {"a": 1}),
        ("Range of max_tokens should be [1, 8192]", {"max_tokens": 9000}, {"max_tokens": 8192}),
        ("Range of max_tokens should be [1, 8192]", {"max_tokens": 100}, None),
        (
            "The thinking_budget parameter must be a positive integer and not greater than 38912",
            {"thinking_budget": 50_000},
            {"thinking_budget": 38_912},
        ),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model has 4096 (5000 > 4096 - 1000).",
            {"max_tokens": 5000},
            {"max_tokens": 3096},
        ),
        (
            "max_tokens=9000 cannot be greater than max_model_len=8192. Please request fewer output tokens.",
            {"max_tokens": 9000},
            {"max_tokens": 4096},
        ),
        ("Something else is wrong", {"max_tokens": 5000, "tool_choice": "required"}, None),
    ],
)
def test_a_refused_field_is_mended(message: str, fields: dict[str, Any], mended: dict[str, Any] | None) -> None:
    before = dict(fields)
    assert repaired_fields(refused(message), fields) == mended
    assert fields == before


def test_only_refusals_are_mended() -> None:
    fields = {"tool_choice": "required"}
    assert repaired_fields(explained(429, studio("Throttling", "tool_choice")), fields) is None
    assert repaired_fields(ServerUnreachable("tool_choice"), fields) is None


CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "x"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("message", "begun", "text"),
    [
        (f"Failed to parse input at pos 0: {CALL}", False, CALL),
        ("Failed to parse input at pos 0: plain", False, "plain"),
        (f"Failed to parse input at pos 12: {CALL}", False, CALL),
        ("Failed to parse input at pos 12: </tool_call>", False, None),
        ("Failed to parse input at pos 12: the end", True, "the end"),
        ("Failed to parse input at pos 9: ", True, None),
        ("Failed to parse tool call arguments as JSON", True, None),
    ],
)
def test_text_is_taken_out_of_an_error_where_it_is_whole(message: str, begun: bool, text: str | None) -> None:
    assert text_in_error(message, begun=begun) == text


# The client against servers that fail.


class Failing(LoopbackServer):
    """Answers chats by the given functions, one per request, the last one again and again."""

    def __init__(self, *answers: Callable[[Response], Any]) -> None:
        super().__init__()
        self._answers = list(answers)

    async def answer(self, request: Request, response: Response) -> None:
        """Give the next answer."""
        await (self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])(response)


def status(code: int, message: Any, **headers: str) -> Callable[[Response], Any]:
    body = {"error": {"message": message, "code": code}} if isinstance(message, str) else message
    return lambda response: response.send_json(code, body, headers)


def stream(*chunks: Any, done: bool = True, kind: str = "text/event-stream") -> Callable[[Response], Any]:
    async def answer(response: Response) -> None:
        await response.start(200, {"content-type": kind})
        for chunk in chunks:
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
        if done:
            await response.write(b"data: [DONE]\n\n")
            await response.end()
        else:
            response.cut()

    return answer


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


OK = stream(delta(content="Good "), delta("stop", content="day"))


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(attempts_module, "wait_after", lambda attempt, error: 0.0)


def client_of(server: Failing, http: Any, **options: Any) -> Client:
    endpoint = Endpoint(url=f"{server.origin}/v1", kind=server_kinds()["llamacpp"], model="qwen3-8b", why="")
    return Client(endpoint, http, **options)


async def ask(server: Failing, *, fields: Any = None, said: Any = "hi", **options: Any) -> tuple[Reply, list[Retry]]:
    async with open_http(server.origin) as http:
        client = client_of(server, http, **options)
        pieces: list[Piece] = []
        retries: list[Retry] = []
        tools = [ToolSchema("look", "Looks.", {"type": "object", "properties": {"at": {"type": "string"}}})]
        async for batch in client.ask([UserMessage(said)], tools, client.encoder(), fields=fields):
            if isinstance(batch, Retry):
                retries.append(batch)
                if batch.discard:
                    pieces.clear()
            else:
                pieces += batch
    return merge(pieces), retries


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("first", "discard", "cause"),
    [
        (status(429, "slow down"), False, "slow down"),
        (status(500, "oops"), False, "oops"),
        (status(503, "loading"), False, "loading"),
        (stream(done=False), False, "broke"),
        (stream(delta(content="Bad "), done=False), True, "broke"),
        (stream(delta(content="Bad "), {"error": {"message": "worker died"}}), True, "worker died"),
        (stream(delta("error_finish", content="Requests rate limit exceeded")), True, "rate limit"),
        (status(200, {"choices": [{"message": {"content": "Throttled: rate limit"}, "finish_reason": "error_finish"}]}),
         False, "rate limit"),
        (status(500, "Failed to parse input at pos 3: </tool_call>"), False, "Failed to parse"),
    ],
)  # fmt: skip
async def test_a_passing_failure_is_tried_again(first: Callable[[Response], Any], discard: bool, cause: str) -> None:
    async with Failing(first, OK) as server:
        reply, (retry,) = await ask(server)
    assert reply.text == "Good day"
    assert (retry.discard, retry.attempt) == (discard, 2)
    assert cause in retry.error.message


@pytest.mark.usefixtures("no_waiting")
async def test_a_throttled_end_that_is_a_bill_is_not_tried_again() -> None:
    async with Failing(stream(delta("error_finish", content="Free allocated quota exceeded."))) as server:
        with pytest.raises(QuotaExceeded):
            await ask(server)
        assert len(server.received) == 1


@pytest.mark.parametrize(
    "answer",
    [
        status(500, f"Failed to parse input at pos 0: {CALL}"),
        stream({"error": {"code": 500, "message": f"Failed to parse input at pos 0: {CALL}"}}, done=False),
        stream(delta(reasoning_content="Hm."), {"error": {"message": f"Failed to parse input at pos 9: {CALL}"}}),
    ],
)
async def test_a_call_in_an_error_of_llama_cpp_is_a_call(answer: Callable[[Response], Any]) -> None:
    async with Failing(answer) as server:
        reply, retries = await ask(server)
    assert retries == []
    assert [(call.name, call.arguments) for call in reply.calls] == [("look", '{"at": "x"}')]


async def test_a_call_that_was_streamed_already_is_not_read_twice() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "look", "arguments": '{"at":'}}
    broken = stream(delta(tool_calls=[call]), {"error": {"message": f"Failed to parse input at pos 9: {CALL}"}})
    async with Failing(broken, OK) as server:
        reply, (retry,) = await ask(server)
    assert (reply.text, reply.calls, retry.discard) == ("Good day", (), True)


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/octet-stream"])
async def test_a_stream_under_another_name_is_read(kind: str) -> None:
    async with Failing(stream(delta(content="Good "), delta("stop", content="day"), kind=kind)) as server:
        assert (await ask(server))[0].text == "Good day"


async def test_a_refusal_is_mended_once_and_then_said() -> None:
    refusal = status(400, "Range of max_tokens should be [1, 100]")
    async with Failing(refusal, OK) as server:
        reply, (retry,) = await ask(server, fields={"max_tokens": 500})
        assert [request.json()["max_tokens"] for request in server.received] == [500, 100]
    assert (reply.text, retry.wait) == ("Good day", 0.0)
    async with Failing(refusal, status(400, "Range of max_tokens should be [1, 10]")) as server:
        with pytest.raises(ServerRefused, match="10"):
            await ask(server, fields={"max_tokens": 500})
        assert len(server.received) == 2


async def test_content_in_parts_becomes_text_where_only_that_is_taken() -> None:
    refusal = status(400, "messages[0].content must be a string")
    async with Failing(refusal, OK) as server:
        reply, retries = await ask(server, said=(TextPart("one"), TextPart("two")))
        assert [request.json()["messages"][0]["content"] for request in server.received][1] == "one\ntwo"
    assert (reply.text, len(retries)) == ("Good day", 1)


async def test_the_wait_is_what_the_server_asks_for() -> None:
    async with Failing(status(429, "slow", **{"retry-after": "0.01"}), OK) as server:
        _, (retry,) = await ask(server)
    assert retry.wait == 0.01


def test_waits_grow_and_differ() -> None:
    random.seed(1)
    error = ServerOverloaded("busy")
    waits = [[attempts_module.wait_after(attempt, error) for _ in range(50)] for attempt in (1, 2, 3, 9)]
    assert all(max(before) < min(after) for before, after in pairwise(waits))
    assert all(len(set(some)) > 40 for some in waits)
    assert max(waits[-1]) < 10


async def test_silence_is_not_waited_for_longer_than_allowed() -> None:
    async def hang(response: Response) -> None:
        await response.start(200, SSE)
        await response.write(b"data: " + orjson.dumps(delta(content="Bad ")) + b"\n\n")
        await asyncio.Event().wait()

    async with Failing(hang, OK) as server:
        reply, (retry,) = await ask(server, seconds=0.1)
    assert (reply.text, retry.discard) == ("Good day", True)
    assert "sent nothing" in retry.error.message


async def test_an_answer_without_end_is_given_up() -> None:
    async def endless(response: Response) -> None:
        await response.start(200, SSE)
        while True:
            await response.write(b"data: " + orjson.dumps(delta(content="and ")) + b"\n\n")

    async with asyncio.timeout(20), Failing(endless) as server:
        with pytest.raises(ServerUnreachable, match="did not come to an end"):
            await ask(server, total=0.2)
        await server.wait_disconnects()
        assert len(server.received) == 1


async def test_no_attempt_begins_after_the_time_is_up() -> None:
    async with Failing(status(429, "slow", **{"retry-after": "30"})) as server:
        with pytest.raises(ServerOverloaded, match="slow"):
            await ask(server, total=5.0)
        assert len(server.received) == 1


async def test_leaving_closes_the_connection() -> None:
    async def hang(response: Response) -> None:
        await response.start(200, SSE)
        await response.write(b"data: " + orjson.dumps(delta(content="Good ")) + b"\n\n")
        await asyncio.Event().wait()

    async with asyncio.timeout(20), Failing(hang) as server, open_http(server.origin) as http:
        client = client_of(server, http)
        async with aclosing(client.ask([UserMessage("hi")], [], client.encoder())) as batches:
            await anext(batches)
        await server.wait_disconnects()


@pytest.mark.parametrize("kind", [str, httpx2.URL])
def test_a_server_is_named_by_its_base_url(kind: Callable[[str], Any]) -> None:
    url = kind("http://gpu.example/v1/chat/completions")
    gone = explain(httpx2.ConnectError("no"), url)
    assert str(gone).startswith("No server answers at http://gpu.example/v1. ")
    cut = explain(httpx2.RemoteProtocolError("peer closed connection"), url)
    assert str(cut).startswith("http://gpu.example/v1 broke off the connection")
