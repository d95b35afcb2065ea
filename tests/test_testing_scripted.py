"""The scripted server, seen by an HTTP client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianda.models.messages import Usage
from qianda.testing import Call, EchoServer, Fault, ScriptedServer, Turn, echo, serving
from qianda.testing.completions import tokens

PROMPT = {"model": "qwen3-8b", "messages": [{"role": "user", "content": "Hello"}]}
STREAM = {**PROMPT, "stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with asyncio.timeout(20), httpx2.AsyncClient(trust_env=False) as client:
        yield client


async def ask(http: httpx2.AsyncClient, server: ScriptedServer, body: dict[str, Any] | None = None) -> httpx2.Response:
    return await http.post(f"{server.url}/chat/completions", json=PROMPT if body is None else body)


def events(answer: httpx2.Response) -> list[dict[str, Any]]:
    """The JSON events of a whole stream, which must end as streams end."""
    lines = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def deltas(answer: httpx2.Response) -> list[dict[str, Any]]:
    return [event["choices"][0]["delta"] for event in events(answer) if event["choices"]]


async def test_a_text_arrives_whole_as_json(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer(Turn("Hello, 世界")) as server:
        answer = await ask(http, server)
    choice = answer.json()["choices"][0]
    assert answer.headers["content-type"] == "application/json"
    assert choice["message"]["content"] == "Hello, 世界"
    assert choice["message"]["reasoning"] is None
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"


async def test_a_text_streams_token_by_token(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer(Turn("Hello big world")) as server:
        answer = await ask(http, server, STREAM)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert deltas(answer) == [
        {"role": "assistant", "content": ""},
        {"content": "Hello"},
        {"content": " big"},
        {"content": " world"},
        {},
    ]
    assert [event["choices"] for event in events(answer)][-1] == []


async def test_chunk_sets_the_tokens_per_event(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer(Turn("a b c d e", chunk=2)) as server:
        answer = await ask(http, server, STREAM)
    assert [delta["content"] for delta in deltas(answer)[1:-1]] == ["a b", " c d", " e"]


async def test_reasoning_and_calls_come_in_the_order_of_vllm(http: httpx2.AsyncClient) -> None:
    turn = Turn("Reading.", reasoning="I see", calls=[Call("read_file", {"path": "a"}), Call("now", id="mine")])
    async with ScriptedServer(turn, turn) as server:
        stream = deltas(await ask(http, server, STREAM))
        message = (await ask(http, server)).json()["choices"][0]["message"]
    kinds = [
        next((kind for kind in ("role", "reasoning", "tool_calls", "content") if kind in delta), "") for delta in stream
    ]
    assert list(dict.fromkeys(kinds)) == ["role", "reasoning", "content", "tool_calls", ""]
    assert kinds[1:] == sorted(kinds[1:], key=["reasoning", "content", "tool_calls", ""].index)
    assert "".join(delta.get("reasoning", "") for delta in stream) == "\nI see\n" == message["reasoning"]
    assert "".join(delta.get("content") or "" for delta in stream) == "\n\nReading." == message["content"]
    calls = [call for delta in stream for call in delta.get("tool_calls", [])]
    heads = [call for call in calls if "id" in call]
    assert [(head["index"], head["function"]) for head in heads] == [(0, {"name": "read_file"}), (1, {"name": "now"})]
    written = "".join(call["function"].get("arguments", "") for call in calls if call["index"] == 0)
    assert written == '{"path": "a"}' == message["tool_calls"][0]["function"]["arguments"]
    assert heads[1]["id"] == "mine" == message["tool_calls"][1]["id"]


async def test_arguments_given_as_text_are_sent_verbatim(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer(Turn(calls=[Call("f", '{"a": 1, }')])) as server:
        message = (await ask(http, server)).json()["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["arguments"] == '{"a": 1, }'
    assert message["content"] is None


@pytest.mark.parametrize("body", [PROMPT, STREAM])
async def test_raw_is_sent_verbatim(http: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    raw = '<think>hm</think>\n<tool_call>\n{"name": "f"'
    async with ScriptedServer(Turn(raw=raw, reasoning="so")) as server:
        answer = await ask(http, server, body)
    if "stream" in body:
        assert "".join(delta.get("content", "") for delta in deltas(answer)) == raw
    else:
        assert answer.json()["choices"][0]["message"]["content"] == raw


def test_raw_excludes_text_and_calls() -> None:
    with pytest.raises(ValueError, match="either raw or text"):
        Turn("text", raw="raw")


async def test_a_cut_answer_says_so_on_its_last_token(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer(Turn("one two", finish="length")) as server:
        answer = await ask(http, server, STREAM)
    last = events(answer)[-2]["choices"][0]
    assert (last["delta"], last["finish_reason"]) == ({"content": " two"}, "length")


async def test_usage_comes_when_it_is_asked_for(http: httpx2.AsyncClient) -> None:
    usage = Usage(input_tokens=100, output_tokens=20, reasoning_tokens=7, cached_tokens=64)
    async with ScriptedServer(Turn("a", usage=usage), Turn("a"), Turn("a b c")) as server:
        given_usage = events(await ask(http, server, STREAM))[-1]["usage"]
        without = events(await ask(http, server, {**PROMPT, "stream": True}))
        counted = (await ask(http, server)).json()["usage"]
    assert given_usage == {
        "prompt_tokens": 100,
        "total_tokens": 120,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    assert not any("usage" in event for event in without)
    assert counted["completion_tokens"] == 4
    assert counted["total_tokens"] == counted["prompt_tokens"] + 4


async def test_a_turn_may_be_made_from_the_request(http: httpx2.AsyncClient) -> None:
    async def slow(body: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        return f"{len(body['messages'])} message(s)"

    async with ScriptedServer(echo, slow) as server:
        assert (await ask(http, server)).json()["choices"][0]["message"]["content"] == "Hello"
        assert (await ask(http, server)).json()["choices"][0]["message"]["content"] == "1 message(s)"


async def test_the_echo_server_repeats_the_last_user_message(http: httpx2.AsyncClient) -> None:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "x"}}]
    messages = [
        {"role": "user", "content": "first"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "ok"},
    ]
    async with EchoServer() as server:
        for _ in range(2):
            answer = await ask(http, server, {"messages": messages})
            assert answer.json()["choices"][0]["message"]["content"] == "Look"


async def test_a_fault_of_a_turn_function_is_raised_when_the_server_closes(http: httpx2.AsyncClient) -> None:
    def wrong(body: dict[str, Any]) -> str:
        raise KeyError("no such message")

    async def whole_test() -> None:
        async with ScriptedServer(wrong) as server:
            answer = await ask(http, server)
            assert answer.status_code == 500
            assert "KeyError" in answer.json()["error"]["message"]

    with pytest.raises(KeyError, match="no such message"):
        await whole_test()


async def test_a_script_that_ran_out_says_so(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer("one") as server:
        assert server.remaining == 1
        assert (await ask(http, server)).status_code == 200
        answer = await ask(http, server, STREAM)
        server.add("two")
        assert (await ask(http, server)).status_code == 200
    assert answer.status_code == 500
    assert "ran out: it has 1 turn(s) and this is request 2" in answer.json()["error"]["message"]


async def test_a_default_answers_when_the_script_ran_out(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer("one", default="more") as server:
        said = [(await ask(http, server)).json()["choices"][0]["message"]["content"] for _ in range(3)]
    assert said == ["one", "more", "more"]


async def test_requests_are_kept(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer("one") as server:
        await http.get(f"{server.url}/models")
        await ask(http, server, STREAM)
    assert server.requests == [STREAM]
    assert [(each.method, each.path) for each in server.received] == [
        ("GET", "/v1/models"),
        ("POST", "/v1/chat/completions"),
    ]
    assert server.received[1].headers["content-type"] == "application/json"


async def test_the_routes_of_vllm(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer(model="qwen3-4b", window=4096) as server:
        [model] = (await http.get(f"{server.url}/models")).json()["data"]
        assert (model["id"], model["owned_by"], model["max_model_len"]) == ("qwen3-4b", "vllm", 4096)
        assert (await http.get(f"{server.origin}/version")).json() == {"version": "0.32.0"}
        assert (await http.get(f"{server.origin}/health?full=1")).status_code == 200
        nowhere = await http.get(f"{server.origin}/api/tags")
        assert (nowhere.status_code, nowhere.json()) == (404, {"detail": "Not Found"})
        assert (await http.get(f"{server.url}/chat/completions")).status_code == 405


async def test_a_key_is_demanded_under_v1(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer("one", api_key="secret") as server:
        refused = await ask(http, server)
        assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
        assert (await http.get(f"{server.origin}/health")).status_code == 200
        http.headers["Authorization"] = "Bearer secret"
        assert (await ask(http, server)).status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "param", "says"),
    [
        ({"model": "gpt-5"}, 404, "model", "The model `gpt-5` does not exist"),
        (
            {"messages": [{"role": "user", "content": "x" * 5000}]},
            400,
            "input_tokens",
            "maximum context length is 1000",
        ),
        ({"max_tokens": 1001}, 400, "max_tokens", "Please request fewer output tokens"),
        ({"tools": []}, 400, None, "tools"),
        ({"messages": []}, 400, "messages", "required"),
    ],
)
async def test_refusals_are_those_of_vllm(
    http: httpx2.AsyncClient, change: dict[str, Any], status: int, param: str | None, says: str
) -> None:
    async with ScriptedServer("one", window=1000) as server:
        answer = await ask(http, server, {**STREAM, **change})
        assert server.remaining == 1
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, status, param)
    assert says in error["message"]


@pytest.mark.parametrize("content", [b"{", b"[1]"])
async def test_a_body_that_is_no_request_is_refused(http: httpx2.AsyncClient, content: bytes) -> None:
    async with ScriptedServer("one") as server:
        answer = await http.post(f"{server.url}/chat/completions", content=content)
    assert answer.status_code == 400


async def test_a_chunked_request_is_understood(http: httpx2.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for part in json.dumps(PROMPT).split(" "):
            yield part.encode() + b" "

    async with ScriptedServer("one") as server:
        answer = await http.post(f"{server.url}/chat/completions", content=pieces())
    assert answer.status_code == 200
    assert server.requests == [PROMPT]


async def test_what_is_not_http_is_refused() -> None:
    async with asyncio.timeout(20), ScriptedServer() as server:
        host, _, port = server.origin.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HELO there friend of mine\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        writer.close()
        await writer.wait_closed()


async def test_one_connection_serves_many_requests(http: httpx2.AsyncClient) -> None:
    peers: set[Any] = set()
    async with ScriptedServer("a", "b", Turn("c")) as server:
        for body in (PROMPT, STREAM, PROMPT):
            answer = await ask(http, server, body)
            peers.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(peers) == 1


async def test_requests_are_answered_side_by_side(http: httpx2.AsyncClient) -> None:
    both = asyncio.Barrier(2)

    async def meet(body: dict[str, Any]) -> str:
        await both.wait()
        return body["messages"][0]["content"]

    async with ScriptedServer(meet, meet) as server:
        bodies = [{"messages": [{"role": "user", "content": text}]} for text in "ab"]
        answers = await asyncio.gather(*(ask(http, server, body) for body in bodies))
    assert [answer.json()["choices"][0]["message"]["content"] for answer in answers] == ["a", "b"]


async def test_status_fault(http: httpx2.AsyncClient) -> None:
    own = Fault.status(400, body={"error": {"message": "no"}}, headers={"x-id": "7"})
    async with ScriptedServer(Fault.status(429, retry_after=1.5), own, Fault.status(502, body="<html>")) as server:
        busy, refused, gateway = [await ask(http, server, STREAM) for _ in range(3)]
    assert (busy.status_code, busy.headers["retry-after"], busy.json()["error"]["code"]) == (429, "1.5", 429)
    assert (refused.status_code, refused.headers["x-id"], refused.json()) == (400, "7", {"error": {"message": "no"}})
    assert (gateway.status_code, gateway.text) == (502, "<html>")


@pytest.mark.parametrize("body", [PROMPT, STREAM])
async def test_drop_before_any_answer(http: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    async with ScriptedServer(Fault.drop()) as server:
        with pytest.raises(httpx2.RemoteProtocolError, match="without sending a response"):
            await ask(http, server, body)
        assert server.disconnects == 0


async def test_drop_after_some_chunks(http: httpx2.AsyncClient) -> None:
    received: list[str] = []

    async def read(server: ScriptedServer) -> None:
        async with http.stream("POST", f"{server.url}/chat/completions", json=STREAM) as answer:
            async for line in answer.aiter_lines():
                received.extend([line] if line else [])

    async with ScriptedServer(Turn("a b c d", fault=Fault.drop(after=3)), "whole again") as server:
        with pytest.raises(httpx2.RemoteProtocolError, match="incomplete chunked read"):
            await read(server)
        assert (await ask(http, server)).status_code == 200
    assert [json.loads(line[6:])["choices"][0]["delta"]["content"] for line in received] == ["", "a", " b"]


async def test_drop_in_the_middle_of_json(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer(Fault.drop(after=1)) as server:
        with pytest.raises(httpx2.RemoteProtocolError, match="complete message body"):
            await ask(http, server)


@pytest.mark.parametrize("fault", [Fault.hang(), Fault.hang(after=2)])
@pytest.mark.parametrize("body", [PROMPT, STREAM])
async def test_a_client_that_gives_up_is_noticed(http: httpx2.AsyncClient, fault: Fault, body: dict[str, Any]) -> None:
    async with ScriptedServer(Turn("a b c d", fault=fault)) as server:
        asking = asyncio.create_task(ask(http, server, body))
        await server.wait_received()
        asking.cancel()
        await server.wait_disconnects()
        assert server.disconnects == 1
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_stream_that_is_left_is_noticed(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer(Turn("word " * 1000, delay=0.001)) as server:
        async with http.stream("POST", f"{server.url}/chat/completions", json=STREAM) as answer:
            async for _ in answer.aiter_lines():
                break
        await server.wait_disconnects()


@pytest.mark.parametrize("body", [{"error": {"message": "out of memory"}}, None])
async def test_error_in_stream(http: httpx2.AsyncClient, body: dict[str, Any] | None) -> None:
    fault = Fault.error_in_stream(body, after=2)
    async with ScriptedServer(Turn("a b", fault=fault), Turn("a b", fault=fault)) as server:
        stream = events(await ask(http, server, STREAM))
        whole = await ask(http, server)
    assert [("choices" in event, "error" in event) for event in stream] == [(True, False)] * 2 + [(False, True)]
    assert whole.status_code == 500
    assert whole.json() == stream[-1]
    assert body is None or stream[-1] == body


async def test_closing_the_server_ends_what_hangs(http: httpx2.AsyncClient) -> None:
    async with ScriptedServer(Fault.hang()) as server:
        asking = asyncio.create_task(ask(http, server))
        await server.wait_received()
    with pytest.raises(httpx2.RemoteProtocolError):
        await asking
    assert server.disconnects == 0


def test_serving_in_a_thread() -> None:
    with serving(ScriptedServer("one", "two")) as server, httpx2.Client(trust_env=False, timeout=20) as http:
        url = f"{server.url}/chat/completions"
        said = [http.post(url, json=PROMPT).json()["choices"][0]["message"]["content"] for _ in range(2)]
    assert said == ["one", "two"]
    with pytest.raises(RuntimeError, match="ScriptedServer is not open"):
        _ = server.url


def test_serving_raises_what_the_script_raised() -> None:
    def wrong(body: dict[str, Any]) -> str:
        raise ValueError("wrong script")

    with (
        pytest.raises(ValueError, match="wrong script"),
        serving(ScriptedServer(wrong)) as server,
        httpx2.Client(trust_env=False, timeout=20) as http,
    ):
        assert http.post(f"{server.url}/chat/completions", json=PROMPT).status_code == 500


def test_serving_says_when_the_port_is_taken() -> None:
    with serving(ScriptedServer()) as first:
        port = int(first.origin.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), serving(ScriptedServer(port=port)):
            pass


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


def test_markup_is_one_token() -> None:
    assert tokens("a<tool_call>\n</think>") == ["a", "<tool_call>", "\n", "</think>"]
