"""Images, audio and video in messages and tool results: what each kind of server gets, and what is refused."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import replace
from typing import Any

import pytest

from qianda import Agent, AssistantMessage, ConfigurationError, MediaPart, TextPart, ToolMessage, UserMessage, tool
from qianda.models.media import image_size
from qianda.models.messages import Message, ToolCall
from qianda.models.servers import server_kinds
from qianda.models.wire import MessageEncoder
from qianda.testing import Call, ScriptedServer, Turn


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def png(width: int = 64, height: int = 48, padding: int = 0) -> str:
    head = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height)
    return "data:image/png;base64," + encoded(head + bytes(padding))


def image(width: int = 64, height: int = 48) -> MediaPart:
    return MediaPart("image", png(width, height))


def sent(kind: str, *messages: Message, **fields: Any) -> list[dict[str, Any]]:
    encoder = MessageEncoder(replace(server_kinds()[kind], **fields), preserve=False)
    return json.loads(encoder.request(messages, b'{"model":"m"}'))["messages"]


def asked(kind: str, part: MediaPart) -> Any:
    return sent(kind, UserMessage((TextPart("look"), part)))[0]["content"][1:]


@pytest.mark.parametrize("kind", sorted(server_kinds()))
def test_an_image_goes_as_image_url(kind: str) -> None:
    assert asked(kind, image()) == [{"type": "image_url", "image_url": {"url": png()}}]


def test_sound_goes_raw_to_local_servers_and_as_an_address_to_model_studio() -> None:
    part = MediaPart("audio", "data:audio/x-wav;base64,UklGRg==")
    assert asked("vllm", part) == [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]
    there = {"data": "data:;base64,UklGRg==", "format": "wav"}
    assert asked("modelstudio", part) == [{"type": "input_audio", "input_audio": there}]
    part = MediaPart("audio", "https://example.org/a.mp3")
    assert asked("vllm", part) == [{"type": "audio_url", "audio_url": {"url": part.url}}]
    assert asked("modelstudio", part) == [{"type": "input_audio", "input_audio": {"data": part.url, "format": "mp3"}}]


def test_a_video_goes_by_its_address_or_as_frames() -> None:
    assert asked("vllm", MediaPart("video", "https://example.org/a.mp4")) == [
        {"type": "video_url", "video_url": {"url": "https://example.org/a.mp4"}}
    ]
    frames = MediaPart("video", frames=(png(20, 20), png(30, 30)), fps=1.0)
    assert asked("modelstudio", frames) == [{"type": "video", "video": list(frames.frames), "fps": 1.0}]
    assert [part["image_url"]["url"] for part in asked("vllm", frames)] == list(frames.frames)


@tool
def photo() -> list[Any]:
    """Takes a photo."""
    return ["taken", image()]


CALLS = AssistantMessage(tool_calls=(ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}")))
RESULTS = (ToolMessage("a", "look", (TextPart("here"), image())), ToolMessage("b", "look", "nothing"))


def test_images_stay_in_tool_results_where_the_server_takes_them() -> None:
    messages = sent("vllm", UserMessage("go"), CALLS, *RESULTS)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    assert messages[2]["content"] == [
        {"type": "text", "text": "here"},
        {"type": "image_url", "image_url": {"url": png()}},
    ]


@pytest.mark.parametrize("kind", ["modelstudio", "ollama", "openai"])
def test_elsewhere_they_follow_behind_the_last_result(kind: str) -> None:
    messages = sent(kind, UserMessage("go"), CALLS, *RESULTS, AssistantMessage("I see."))
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user", "assistant"]
    assert messages[2]["content"] == "here\n[image]"
    assert messages[4]["content"] == [
        {"type": "text", "text": "What look returned:"},
        {"type": "image_url", "image_url": {"url": png()}},
    ]


def test_they_are_sent_once_and_stay_where_they_were() -> None:
    encoder = MessageEncoder(server_kinds()["openai"], preserve=False)
    messages: list[Message] = [UserMessage("go"), replace(CALLS, reasoning="hm"), *RESULTS]
    first = json.loads(encoder.request(messages, b'{"model":"m"}'))["messages"]
    messages += [AssistantMessage("I see."), UserMessage("more")]
    second = json.loads(encoder.request(messages, b'{"model":"m"}'))["messages"]
    assert first[1].pop("reasoning_content") == "hm"
    assert second == [*first, {"role": "assistant", "content": "I see."}, {"role": "user", "content": "more"}]


@pytest.mark.parametrize(
    ("part", "fields", "complaint"),
    [
        (image(10, 400), {}, "The image has 10 × 400 pixels; Qwen models need sides of more than 10"),
        (image(4000, 19), {}, "The image has 4000 × 19 pixels; Qwen models take ratios up to 200:1"),
        (
            MediaPart("image", png(padding=1500)),
            {"media_bytes": 2000, "title": "X"},
            "The image has 0.0 MB in base64; X takes at most 0.002 MB, larger ones only by an https address",
        ),
        (
            MediaPart("video", frames=(png(),) * 4),
            {"images": 3, "title": "X"},
            "The conversation has more than 3 images, all that X takes",
        ),
    ],
)
def test_what_will_not_be_taken_is_refused_before_it_is_sent(
    part: MediaPart, fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sent("openai", UserMessage((part,)), **fields)
    assert caught.value.message == complaint
    for kind in ("openai", "vllm"):
        result = sent(kind, UserMessage("go"), CALLS, ToolMessage("a", "look", (part,)), **fields)[2]["content"]
        text = result if isinstance(result, str) else result[0]["text"]
        assert text == f"[left out: {complaint[0].lower() + complaint[1:]}]"


def test_bounds_are_exact_and_model_studios_own() -> None:
    assert asked("openai", image(11, 2200))
    assert asked("vllm", MediaPart("image", png(padding=8_000_000)))
    with pytest.raises(ConfigurationError, match=r"10\.7 MB .* Model Studio .*takes at most 10 MB"):
        asked("modelstudio", MediaPart("image", png(padding=8_000_000)))
    assert len(sent("modelstudio", UserMessage((image(),) * 256))[0]["content"]) == 256
    with pytest.raises(ConfigurationError, match="more than 256 images"):
        sent("modelstudio", UserMessage((image(),) * 200), UserMessage((image(),) * 57))


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"GIF89a" + struct.pack("<HH", 3, 5), (3, 5)),
        (b"BM" + bytes(16) + struct.pack("<ii", 3, -5), (3, 5)),
        (b"\xff\xd8\xff\xe0\0\4ab\xff\xff\xc2\0\x11\x08" + struct.pack(">HH", 5, 3), (3, 5)),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + struct.pack("<HH", 3, 5), (3, 5)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 2 | 4 << 14), (3, 5)),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\2\0\0\4\0\0", (3, 5)),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"\xff\xd8\xff\xda\0\2", None),
        (b"RIFF\0\0\0\0WEBPALPH", None),
        (b"", None),
    ],
)
def test_sizes_are_read_from_the_head_of_each_format(head: bytes, size: tuple[int, int] | None) -> None:
    assert image_size(encoded(head)) == size


def test_a_size_that_cannot_be_read_refuses_nothing() -> None:
    assert image_size("A") is None
    assert asked("vllm", MediaPart("image", "data:image/png;base64,A"))
    assert asked("vllm", MediaPart("image", "https://example.org/a.png"))


@pytest.mark.parametrize("model", ["Qwen/Qwen3-VL-8B-Instruct", "qwen3.5:9b", "our-own-model"])
async def test_an_image_that_a_tool_returns_reaches_the_model(model: str) -> None:
    async with ScriptedServer(Turn(calls=[Call("photo")]), "A house.", model=model) as server:
        result = await Agent(server=server.url, tools=[photo]).run("What is there?")
    assert result.output == "A house."
    assert json.dumps(server.requests[1]["messages"]).count(png()) == 1


async def test_a_model_that_reads_text_alone_is_told_that_there_was_an_image() -> None:
    async with ScriptedServer(Turn(calls=[Call("photo")]), "I cannot see it.", "Ah.", model="Qwen3-8B-AWQ") as server:
        await Agent(server=server.url, tools=[photo]).run("What is there?")
        told = server.requests[-1]["messages"][-1]["content"]
        assert [part["text"] for part in told] == ["taken", "[left out: Qwen3-8B-AWQ does not read any image]"]
        # Whoever sends one with the prompt knows better than the name.
        await Agent(server=server.url, tools=[photo]).run([image()], history=[])
        assert png() in json.dumps(server.requests[-1]["messages"])


async def test_a_users_image_that_is_too_narrow_ends_the_run_with_the_reason() -> None:
    async with ScriptedServer("never") as server:
        with pytest.raises(ConfigurationError, match="10 × 400 pixels"):
            await Agent(server=server.url).run([TextPart("look"), image(10, 400)])
    assert server.requests == []
