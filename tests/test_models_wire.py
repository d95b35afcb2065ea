"""Request bodies as the server sees them."""

from __future__ import annotations

from typing import Any

import pytest

from qianda import Agent, MediaPart, Sampling, TextPart, tool
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.testing import Call, ScriptedServer, Turn


@tool
async def look(at: str) -> str:
    """Looks."""
    return f"saw {at}"


async def sent(model: str = "qwen3-8b", kind: str = "vllm", **options: Any) -> dict[str, Any]:
    """The body of a first request to a server of that kind."""
    async with ScriptedServer("fine", model=model) as server:
        endpoint = Endpoint(url=server.url, kind=server_kinds()[kind], model=model, why="")
        await Agent(server=endpoint, **options).run("go")
    return server.requests[0]


async def test_parts_are_written_as_the_servers_want_them() -> None:
    image = MediaPart("image", "https://example.org/a.png")
    audio = MediaPart("audio", "data:audio/mpeg;base64,QUJD")
    video = MediaPart("video", "data:video/mp4;base64,QUJD")
    async with ScriptedServer("fine") as server:
        await Agent(server=server.url).run([TextPart("see"), image, audio, video])
    assert server.requests[0]["messages"][0]["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "mp3"}},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,QUJD"}},
    ]


async def test_a_conversation_grows_by_what_is_new_and_nothing_else() -> None:
    turns = [Turn(reasoning=f"r{n}", calls=[Call("look", {"at": str(n)})]) for n in range(3)]
    async with ScriptedServer(*turns, "fine") as server:
        await Agent(server=server.url, tools=[look], instructions="Be brief.").run("go")
        earlier: list[Any] = []
        for request in server.requests:
            assert request["messages"][: len(earlier)] == earlier
            earlier = request["messages"]
            assert [entry["function"]["name"] for entry in request["tools"]] == ["look"]
    assert [message["role"] for message in earlier] == ["system", "user", *["assistant", "tool"] * 3]
    assert [message["content"] for message in earlier[3::2]] == ["saw 0", "saw 1", "saw 2"]


async def test_own_sampling_and_fields_win_over_the_preset() -> None:
    body = await sent(sampling=Sampling(temperature=0.1, seed=7), extra_body={"top_p": 0.5, "priority": 3})
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.1, 0.5, 20)
    assert (body["seed"], body["priority"]) == (7, 3)
    assert "presence_penalty" not in body
    assert "tools" not in body


@pytest.mark.parametrize(
    ("kind", "thinking", "fields"),
    [
        ("vllm", True, {"chat_template_kwargs": {"enable_thinking": True}}),
        ("sglang", False, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("modelstudio", False, {"enable_thinking": False}),
        ("lmstudio", False, {"reasoning_effort": "none"}),
        ("lmstudio", True, {}),
        ("vllm", None, {}),
    ],
)
async def test_each_kind_of_server_switches_thinking_its_own_way(
    kind: str, thinking: bool | None, fields: dict[str, Any]
) -> None:
    body = await sent(kind=kind, thinking=thinking)
    switches = ("chat_template_kwargs", "enable_thinking", "reasoning_effort")
    assert {name: body[name] for name in switches if name in body} == fields


async def test_sampling_fields_have_each_servers_own_names() -> None:
    model = "qwen3-coder-30b"
    assert (await sent(model, "vllm"))["repetition_penalty"] == 1.05
    assert (await sent(model, "llamacpp"))["repeat_penalty"] == 1.05
    ollama = await sent(model, "ollama")
    assert not {"repetition_penalty", "repeat_penalty", "top_k"} & set(ollama)
    assert not {"top_k", "temperature"} & set(await sent("llama3", "vllm"))
