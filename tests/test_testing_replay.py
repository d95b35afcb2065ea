"""The replay server: recorded bytes, framed anew; and the scripted server's shapes held against the recordings."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qianda.testing import Call, Recording, ReplayServer, ScriptedServer, Turn

RECORDINGS = {path.name.removesuffix(".resp.http"): path for path in Path(__file__).parent.rglob("wire/**/*.resp.http")}
CHATS = sorted(name for name, path in RECORDINGS.items() if b'"chat.completion' in path.read_bytes()[:600])
PROMPT = {"model": "qwen3-tiny", "messages": [{"role": "user", "content": "Hello"}]}


def test_there_are_recordings() -> None:
    assert len(CHATS) > 30


@pytest.mark.parametrize(("piece", "names"), [(1, CHATS[:4]), (61, CHATS), (None, CHATS)])
async def test_the_bytes_are_the_recorded_ones(piece: int | None, names: list[str]) -> None:
    paths = [RECORDINGS[name] for name in names]
    async with asyncio.timeout(50), ReplayServer(*paths, piece=piece) as server, httpx2.AsyncClient() as http:
        for path in paths:
            answer = await http.post(f"{server.url}/chat/completions", json=PROMPT)
            head, _, body = path.read_bytes().partition(b"\n\n")
            assert answer.content == body, path.name
            assert str(answer.status_code) == head.split()[1].decode()
            assert answer.headers["server"] == "uvicorn"
            recorded = {line.split(b":")[0].decode() for line in head.split(b"\n")[1:]}
            assert set(answer.headers) == recorded
    assert server.requests == [PROMPT] * len(paths)


@pytest.mark.parametrize("piece", [1, 100])
async def test_a_stream_comes_in_chunks_of_the_wanted_size(piece: int) -> None:
    path = RECORDINGS["03_auto_read_stream"]
    body = json.dumps(PROMPT).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
    async with asyncio.timeout(20), ReplayServer(path, piece=piece) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.origin.rpartition(":")[2]))
        writer.write(request % (len(body), body))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        sizes: list[int] = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            sizes.append(size)
            await reader.readexactly(size + 2)
        assert await reader.read() == b"\r\n"
        writer.close()
        await writer.wait_closed()
    assert set(sizes[:-1]) == {piece}
    assert sum(sizes) == len(Recording.read(path).body)


def test_without_a_size_each_event_is_a_chunk() -> None:
    pieces = list(Recording.read(RECORDINGS["03_auto_read_stream"]).pieces(None))
    assert all(
        piece.startswith(b"data: ") and piece.endswith(b"\n\n") and piece.count(b"\n\n") == 1 for piece in pieces
    )
    assert len(pieces) == 22


async def test_recordings_that_ran_out_say_so() -> None:
    async with asyncio.timeout(20), ReplayServer(RECORDINGS["01_auto_plain"]) as server, httpx2.AsyncClient() as http:
        [model] = (await http.get(f"{server.url}/models")).json()["data"]
        assert model["id"] == "qwen3-tiny"
        for status in (200, 500):
            answer = await http.post(f"{server.url}/chat/completions", json={**PROMPT, "model": "any"})
            assert answer.status_code == status
    assert "ran out" in answer.json()["error"]["message"]


@pytest.mark.parametrize("content", [b"", b"HTTP/1.1 200\n", b"POST / HTTP/1.1\n\n{}"])
def test_a_file_that_is_no_recording_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"note\.txt is not a recorded HTTP response"):
        ReplayServer(path)


def unlike(value: Any) -> Any:
    """The value without what differs from one answer to the next: ids, times and counts."""
    if isinstance(value, dict):
        drop = {"id", "created", "prompt_tokens", "total_tokens", "completion_tokens", "reasoning_tokens"}
        return {key: "…" if key in drop else unlike(item) for key, item in value.items()}
    return [unlike(item) for item in value] if isinstance(value, list) else value


async def answer_of(turn: Turn, *, stream: bool = False, usage: bool = False) -> bytes:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    body = {**PROMPT, "stream": stream, **options}
    async with asyncio.timeout(20), ScriptedServer(turn, model="qwen3-tiny") as server, httpx2.AsyncClient() as http:
        return (await http.post(f"{server.url}/chat/completions", json=body)).content


PLAIN = Turn("The capital of France is **Paris**.", reasoning="The user asks for the capital of France. It is Paris.")
READ = Turn(reasoning="I need to read the file first.", calls=[Call("read_file", {"path": "notes.txt"})])
CITIES = [Call("get_weather", {"city": "Paris"}), Call("get_weather", {"city": "Tokyo"})]
COMPARE = Turn(reasoning="Two independent calls can be made in parallel.", calls=CITIES)


@pytest.mark.parametrize(("name", "turn"), [("01_auto_plain", PLAIN), ("02_auto_read", READ)])
async def test_scripted_json_has_the_recorded_shape(name: str, turn: Turn) -> None:
    scripted = json.loads(await answer_of(turn))
    recorded = json.loads(Recording.read(RECORDINGS[name]).body)
    assert unlike(scripted) == unlike(recorded)
    assert json.dumps(unlike(scripted)) == json.dumps(unlike(recorded)), "the order of the fields differs"


def joined(stream: bytes) -> list[Any]:
    """The events of a stream, without ids and counts; neighbours that carry more of the same text are joined."""
    events: list[Any] = []
    for line in stream.decode().split("\n\n")[:-1]:
        data = line.removeprefix("data: ")
        event = unlike(json.loads(data)) if data != "[DONE]" else data
        text = text_of(event)
        last = text_of(events[-1]) if events else None
        if text is not None and last is not None and text[0] == last[0]:
            events[-1] = with_text(events[-1], last[1] + text[1])
        else:
            events.append(event)
    return events


def text_of(event: Any) -> tuple[str, str] | None:
    delta = event["choices"][0]["delta"] if event != "[DONE]" and event["choices"] else {}
    if delta.get("tool_calls") and "name" not in delta["tool_calls"][0]["function"]:
        return f"arguments {delta['tool_calls'][0]['index']}", delta["tool_calls"][0]["function"]["arguments"]
    if "reasoning" in delta:
        return "reasoning", delta["reasoning"]
    if "role" not in delta and delta.get("content") is not None:
        return "content", delta["content"]
    return None


def with_text(event: Any, text: str) -> Any:
    delta = event["choices"][0]["delta"]
    if delta.get("tool_calls"):
        delta["tool_calls"][0]["function"]["arguments"] = text
    else:
        delta["reasoning" if "reasoning" in delta else "content"] = text
    return event


@pytest.mark.parametrize(
    ("name", "turn", "usage"),
    [("03_auto_read_stream", READ, True), ("04_auto_parallel_stream", COMPARE, False)],
)
async def test_scripted_streams_have_the_recorded_shape(name: str, turn: Turn, usage: bool) -> None:
    scripted = joined(await answer_of(turn, stream=True, usage=usage))
    recorded = joined(Recording.read(RECORDINGS[name]).body)
    assert [json.dumps(event) for event in scripted] == [json.dumps(event) for event in recorded]


async def test_a_scripted_cut_has_the_recorded_shape() -> None:
    call = Call("read_file", '{"path": "notes.txt')
    scripted = await answer_of(Turn(reasoning="…", calls=[call], finish="length"), stream=True)
    recorded = Recording.read(RECORDINGS["20_cut_in_call_stream"]).body
    last_scripted, last_recorded = (unlike(json.loads(each.split(b"\n\n")[-3][6:])) for each in (scripted, recorded))
    for last in (last_scripted, last_recorded):
        last["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] = "…"
    assert json.dumps(last_scripted) == json.dumps(last_recorded)
