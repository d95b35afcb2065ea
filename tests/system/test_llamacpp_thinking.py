"""A reply that goes on after its thinking budget, on a real llama.cpp with Qwen3's template."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from qianda import Thinking
from qianda.models.budget import continuations
from qianda.models.embedded import EmbeddedServer, start_embedded
from qianda.models.family import find_family
from qianda.models.servers import server_kinds

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(300)]

QUESTION = {"role": "user", "content": "What is 2+2?"}
THOUGHT = "Two and two.\n\nI have to answer now."


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedServer]:
    server = asyncio.run(start_embedded(None, download=False, notify=print))
    yield server
    server.close()


@pytest.fixture
def http(engine: EmbeddedServer) -> Iterator[httpx2.Client]:
    headers = {"authorization": f"Bearer {engine.api_key}"}
    with httpx2.Client(base_url=engine.url, headers=headers, timeout=120, trust_env=False) as opened:
        yield opened


def body(**more: Any) -> dict[str, Any]:
    way = continuations(THOUGHT, Thinking(budget=9), find_family("qwen3-8b"), server_kinds()["embedded"])[0]
    return {"messages": [QUESTION, way.prefill], **way.fields, **more}


def test_the_prompt_ends_with_the_thought(engine: EmbeddedServer, http: httpx2.Client) -> None:
    answer = http.post(f"{engine.url.removesuffix('/v1')}/apply-template", json=body())
    assert answer.status_code == 200, answer.text
    head, found, thought = answer.json()["prompt"].rpartition("<|im_start|>assistant\n")
    assert found
    assert "2+2" in head
    assert thought == f"<think>\n{THOUGHT}\n</think>\n\n"


def test_what_follows_is_the_answer(engine: EmbeddedServer, http: httpx2.Client) -> None:
    answer = http.post(f"{engine.url}/chat/completions", json=body(stream=True, max_tokens=8, temperature=0))
    assert answer.status_code == 200, answer.text
    assert '"content":"' in answer.text
    assert "reasoning" not in answer.text
    assert "<think>" not in answer.text
