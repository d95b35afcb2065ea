"""What an MCP server asks of a model, answered by ours."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson

from qianda.models.attempts import Retry
from qianda.models.messages import (
    AssistantMessage,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSchema,
    UserMessage,
    content_text,
)
from qianda.models.reply import Piece, merge
from qianda.tools.mcp.content import content_of

if TYPE_CHECKING:
    from mcp_types import (
        CreateMessageRequestParams,
        CreateMessageResult,
        CreateMessageResultWithTools,
        SamplingMessage,
        SamplingMessageContentBlock,
    )

    from qianda.models.client import Client

MAX_TOKENS = 4096
"""Of one reply, however many the server asks for."""


async def sampled(
    model: Client, params: CreateMessageRequestParams
) -> CreateMessageResult | CreateMessageResultWithTools:
    """Ask a model what a server wants to know.

    Args:
        model: who answers, whatever model the server would prefer.
        params: the conversation, and the tools that the server would run.

    Raises:
        QiandaError: the model server failed.
    """
    from mcp_types import CreateMessageResult, CreateMessageResultWithTools, TextContent, ToolUseContent

    choice = params.tool_choice.mode if params.tool_choice else "auto"
    offered = params.tools or [] if choice != "none" else []
    tools = [ToolSchema(tool.name, tool.description or "", tool.input_schema) for tool in offered]
    fields: dict[str, Any] = {"max_tokens": min(params.max_tokens, MAX_TOKENS)}
    if params.temperature is not None:
        fields["temperature"] = params.temperature
    if params.stop_sequences:
        fields["stop"] = params.stop_sequences
    if tools and choice == "required":
        fields["tool_choice"] = "required"
    conversation: list[Message] = [SystemMessage(params.system_prompt)] if params.system_prompt else []
    for message in params.messages:
        conversation += _messages(message)
    pieces: list[Piece] = []
    async with aclosing(model.ask(conversation, tools, model.encoder(), fields=fields)) as batches:
        async for batch in batches:
            if isinstance(batch, Retry):
                pieces.clear()
            else:
                pieces += batch
    reply = merge(pieces)
    name = model.endpoint.model
    stop = {"length": "maxTokens", "tool_calls": "toolUse"}.get(reply.finish, "endTurn")
    text = TextContent(type="text", text=reply.text)
    if params.tools is None:
        return CreateMessageResult(role="assistant", content=text, model=name, stop_reason=stop)
    uses = [
        ToolUseContent(id=call.id or secrets.token_hex(4), name=call.name, input=orjson.loads(call.arguments))
        for call in reply.calls
    ]
    content: list[SamplingMessageContentBlock] = [*([text] if reply.text or not uses else []), *uses]
    return CreateMessageResultWithTools(role="assistant", content=content, model=name, stop_reason=stop)


def _messages(message: SamplingMessage) -> Iterator[Message]:
    """One message of the server's conversation in our words, which may be several."""
    from mcp_types import ToolResultContent, ToolUseContent

    blocks = message.content_as_list
    results = [block for block in blocks if isinstance(block, ToolResultContent)]
    uses = [block for block in blocks if isinstance(block, ToolUseContent)]
    said = [block for block in blocks if not isinstance(block, ToolResultContent | ToolUseContent)]
    for block in results:
        content = content_of(block.content) or orjson.dumps(block.structured_content).decode()
        yield ToolMessage(block.tool_use_id, "", content, "failed" if block.is_error else "done")
    if message.role == "assistant":
        calls = tuple(ToolCall(block.id, block.name, orjson.dumps(block.input).decode()) for block in uses)
        yield AssistantMessage(content_text(content_of(said)), tool_calls=calls)
    elif said:
        yield UserMessage(content_of(said))
