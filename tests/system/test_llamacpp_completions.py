"""Raw prompts to a real llama.cpp: our rendering, its tokens, our reading."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qianda import Agent, AssistantMessage, SystemMessage, UserMessage
from qianda.models.embedded import EmbeddedServer, start_embedded
from qianda.models.rendering import render
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.tools import core_tools

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddedServer]:
    server = asyncio.run(start_embedded(None, download=False, notify=print))
    yield server
    server.close()


def ask(engine: EmbeddedServer, prompt: str, workspace: Path, **options: Any) -> Any:
    kind = server_kinds()["embedded"]
    endpoint = Endpoint(
        url=engine.url, kind=kind, model=engine.model, why="", api_key=engine.api_key, window=engine.window
    )
    return Agent(server=endpoint, tools=core_tools(), workspace=workspace, **options).run_sync(prompt)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_run_with_calls_is_the_same_as_by_chat(engine: EmbeddedServer, tmp_path: Path, streaming: bool) -> None:
    (tmp_path / "price.txt").write_text("19.5\n")
    task = "Read price.txt. It holds a number; multiply it by 3."
    by_chat = ask(engine, task, tmp_path, streaming=streaming)
    raw = ask(engine, task, tmp_path, streaming=streaming, api="completions")
    assert "58.5" in raw.output
    assert "<|im_end|>" not in raw.output
    calls = [
        [(call.name, call.arguments) for m in run.messages if isinstance(m, AssistantMessage) for call in m.tool_calls]
        for run in (by_chat, raw)
    ]
    assert calls[0] == calls[1]
    assert raw.usage.output_tokens > 0


def test_the_prompt_is_that_of_the_servers_template(engine: EmbeddedServer) -> None:
    body = {"messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]}
    headers = {"authorization": f"Bearer {engine.api_key}"}
    with httpx2.Client(headers=headers, timeout=60, trust_env=False) as http:
        answer = http.post(f"{engine.url.removesuffix('/v1')}/apply-template", json=body)
    assert answer.json()["prompt"] == render(
        [SystemMessage("Be short."), UserMessage("Hi")], [], calls="hermes", thinking=False
    )
