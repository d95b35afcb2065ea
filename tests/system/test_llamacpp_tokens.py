"""A real llama.cpp counts a request before it is made as it does when it answers it."""

from __future__ import annotations

import pytest

from qianda.models.client import Client
from qianda.models.embedded import start_embedded
from qianda.models.http import open_http
from qianda.models.messages import Message, SystemMessage, ToolSchema, UserMessage
from qianda.models.reply import Piece, merge
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.models.tokens import count_at_server

pytestmark = [pytest.mark.llamacpp, pytest.mark.timeout(300)]

ADD = ToolSchema("add", "Adds two numbers.", {"type": "object", "properties": {"a": {"type": "integer"}}})


async def test_the_count_is_what_the_server_reports() -> None:
    engine = await start_embedded(None, download=False, notify=print)
    kind = server_kinds()["llamacpp"]
    endpoint = Endpoint(url=engine.url, kind=kind, model=engine.model, why="", api_key=engine.api_key)
    plain: list[Message] = [UserMessage("你好 there")]
    with_tools: list[Message] = [SystemMessage("You add."), UserMessage("Hello there")]
    try:
        async with open_http(engine.url) as http:
            for messages, tools in ((plain, []), (with_tools, [ADD])):
                counted = await count_at_server(http, endpoint, messages, tools)
                client = Client(endpoint, http, streaming=False, extra_body={"max_tokens": 1})
                pieces: list[Piece] = []
                async for batch in client.ask(messages, tools, client.encoder()):
                    assert isinstance(batch, list)
                    pieces += batch
                assert counted.exact
                assert counted.tokens == merge(pieces).usage.input_tokens
    finally:
        engine.close()
