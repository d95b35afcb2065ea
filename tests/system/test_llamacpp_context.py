"""A conversation that outgrows the window of a real llama.cpp: its refusal, and its silence one token before that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from qianda import Agent, AssistantMessage, Sampling, UserMessage
from qianda.models.embedded import EmbeddedServer, engine, start_embedded
from qianda.models.events import Compacted, Retrying
from qianda.models.http import open_http
from qianda.models.messages import Message
from qianda.models.tokens import count_at_server

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(300)]

WINDOW, REPLY = 1024, 40
QUESTION = "What is the code?"


@pytest.fixture(scope="module")
def small() -> Iterator[EmbeddedServer]:
    """An engine with a small window."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "choose_window", lambda head, memory: WINDOW)
        server = asyncio.run(start_embedded(None, download=False, notify=print))
    assert server.window == WINDOW
    yield server
    server.close()


def agent_of(server: EmbeddedServer) -> Agent[str]:
    return Agent(server=server.url, api_key=server.api_key, sampling=Sampling(max_tokens=REPLY))


def talk(words: int) -> list[Message]:
    """A conversation in which the demo model sees some hundred tokens more than a Qwen would."""
    said = "价格 " * 50 + "word " * words
    return [UserMessage("The code is 7391."), AssistantMessage(said), UserMessage("On."), AssistantMessage("word")]


@pytest.mark.parametrize("claimed", [WINDOW, 1_000_000, None], ids=["known", "claimed", "unknown"])
async def test_a_conversation_that_is_too_long_is_summarised(small: EmbeddedServer, claimed: int | None) -> None:
    async with agent_of(small) as agent, agent.opened() as resources:
        assert resources.client.window == WINDOW
        resources.client.window = claimed
        async with agent.stream(QUESTION, history=talk(1_200)) as run:
            compacted = [event async for event in run if isinstance(event, Compacted)]
    assert run.result.finish in ("done", "length")
    assert [event.before > WINDOW for event in compacted] == [True]
    assert compacted[0].after + REPLY < WINDOW
    assert [str(one.content) for one in run.result.messages if one.role == "user"] == [
        "The code is 7391.",
        "On.",
        QUESTION,
    ]


async def test_a_reply_that_has_no_room_is_asked_for_again(small: EmbeddedServer) -> None:
    async with agent_of(small) as agent, agent.opened() as resources, open_http(small.url) as http:
        messages = [*talk(500), UserMessage(QUESTION)]
        counted = await count_at_server(http, resources.client.endpoint, messages, [])
        history = talk(500 + WINDOW - 4 - counted.tokens)  # a word is a token
        async with agent.stream(QUESTION, history=history) as run:
            events = [event async for event in run if isinstance(event, Compacted | Retrying)]
    print(events)
    assert [type(event) for event in events] == [Compacted, Retrying]
    assert run.result.finish in ("done", "length")
    assert run.result.usage.output_tokens > 4
