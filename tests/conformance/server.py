"""The server that MCP's official conformance suite tests: what the suite wants to find, on Qianda's own server."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.subscriptions import PromptsListChanged

from qianda import Context, MediaPart, tool
from qianda.mcp_servers.http import http_app
from qianda.mcp_servers.rounds import Call, Interactive
from qianda.mcp_servers.server import ToolServer
from qianda.tools import Tool

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
IMAGE = MediaPart("image", f"data:image/png;base64,{PNG}")
_Request = ServerRequestContext[Any, Any]


def _call(context: Context) -> Call:
    assert isinstance(context.value, Call)
    return context.value


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _form(message: str, schema: dict[str, Any]) -> types.ElicitRequest:
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def _sampling(text: str) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(text=text))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))


async def _filled(context: Context, key: str, message: str, field: str, kind: str = "string") -> Any:
    """Ask for a form of one field until it is filled."""
    while True:
        result = await _call(context).ask(_form(message, _object(**{field: {"type": kind}})), key=key)
        assert isinstance(result, types.ElicitResult)
        content = result.content or {}
        if result.action != "accept" or isinstance(content.get(field), bool if kind == "boolean" else str):
            return content.get(field)


@tool(read_only=True)
def test_simple_text() -> str:
    """Gives text."""
    return "This is a simple text response for testing."


@tool(read_only=True)
def test_image_content() -> list[MediaPart]:
    """Gives an image."""
    return [IMAGE]


@tool(read_only=True)
def test_audio_content() -> list[MediaPart]:
    """Gives audio."""
    return [MediaPart("audio", f"data:audio/wav;base64,{WAV}")]


@tool(read_only=True)
def test_error_handling() -> str:
    """Fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


@tool(read_only=True)
async def test_tool_with_logging(context: Context) -> str:
    """Sends log messages."""
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await _call(context).log("info", text, "conformance")
    return "done"


@tool(read_only=True)
async def test_logging_tool(context: Context) -> str:
    """Sends log messages, where the request wants them."""
    for level in ("debug", "info", "warning", "error"):
        await _call(context).log(level, f"{level} message", "conformance")
    return "done"


@tool(read_only=True)
async def test_tool_with_progress(context: Context) -> str:
    """Reports progress."""
    for done in (0, 50, 100):
        await _call(context).report_progress(done, 100, f"Completed step {done} of 100")
    return "done"


@tool(read_only=True)
async def test_sampling(prompt: str, context: Context) -> str:
    """Asks the client's model.

    Args:
        prompt: what to ask it.
    """
    result = await _call(context).ask(_sampling(prompt))
    assert isinstance(result, types.CreateMessageResult)
    return f"LLM response: {getattr(result.content, 'text', '')}"


async def _told(context: Context, message: str, schema: dict[str, Any]) -> str:
    result = await _call(context).ask(_form(message, schema))
    assert isinstance(result, types.ElicitResult)
    return f"User response: action={result.action}, content={json.dumps(result.content)}"


@tool(read_only=True)
async def test_elicitation(message: str, context: Context) -> str:
    """Asks the client's user.

    Args:
        message: what to ask.
    """
    return await _told(context, message, _object(response={"type": "string", "description": "User's response"}))


@tool(read_only=True)
async def test_elicitation_sep1034_defaults(context: Context) -> str:
    """Asks with defaults."""
    fields: dict[str, Any] = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return await _told(context, "Please provide user information", {"type": "object", "properties": fields})


@tool(read_only=True)
async def test_elicitation_sep1330_enums(context: Context) -> str:
    """Asks with choices of every kind."""
    few = ["option1", "option2", "option3"]
    titled = [{"const": f"value{n}", "title": f"Option {n}"} for n in (1, 2, 3)]
    schema = _object(
        untitledSingle={"type": "string", "enum": few},
        titledSingle={"type": "string", "oneOf": titled},
        legacyEnum={"type": "string", "enum": few, "enumNames": ["One", "Two", "Three"]},
        untitledMulti={"type": "array", "items": {"type": "string", "enum": few}},
        titledMulti={"type": "array", "items": {"anyOf": titled}},
    )
    return await _told(context, "Please choose", schema)


@tool(read_only=True)
async def test_input_required_result_elicitation(context: Context) -> str:
    """Asks for a name."""
    return f"Hello, {await _filled(context, 'user_name', 'What is your name?', 'name')}!"


@tool(read_only=True)
async def test_input_required_result_sampling(context: Context) -> str:
    """Asks the client's model."""
    result = await _call(context).ask(_sampling("What is the capital of France?"), key="capital_question")
    assert isinstance(result, types.CreateMessageResult)
    return str(getattr(result.content, "text", ""))


async def _roots(context: Context) -> str:
    result = await _call(context).ask(types.ListRootsRequest(), key="client_roots")
    assert isinstance(result, types.ListRootsResult)
    return ", ".join(str(root.uri) for root in result.roots)


@tool(read_only=True)
async def test_input_required_result_list_roots(context: Context) -> str:
    """Asks for the client's roots."""
    return await _roots(context)


@tool(read_only=True)
async def test_input_required_result_request_state(context: Context) -> str:
    """Asks, and knows the call again."""
    await _filled(context, "confirm", "Please confirm", "ok", "boolean")
    return "state-ok"


@tool(read_only=True)
async def test_input_required_result_tampered_state(context: Context) -> str:
    """Asks, and refuses a state that is not its own."""
    await _filled(context, "confirm", "Please confirm", "ok", "boolean")
    return "state-ok"


@tool(read_only=True)
async def test_input_required_result_multiple_inputs(context: Context) -> str:
    """Asks three things at once."""
    greeting = _call(context).ask(_sampling("Generate a greeting"), key="greeting")
    name = _filled(context, "user_name", "What is your name?", "name")
    return " ".join(map(str, await asyncio.gather(name, greeting, _roots(context))))


@tool(read_only=True)
async def test_input_required_result_multi_round(context: Context) -> str:
    """Asks twice."""
    name = await _filled(context, "step1", "Step 1: What is your name?", "name")
    return f"{name} likes {await _filled(context, 'step2', 'Step 2: What is your favorite color?', 'color')}"


@tool(read_only=True)
async def test_input_required_result_capabilities(context: Context) -> str:
    """Asks only what the client says that it takes."""
    if _call(context).can_answer("elicitation/create"):
        return str(await _filled(context, "user_name", "What is your name?", "name"))
    result = await _call(context).ask(_sampling("Say something"), key="sampled")
    assert isinstance(result, types.CreateMessageResult)
    return str(getattr(result.content, "text", ""))


@tool(read_only=True)
async def test_streaming_elicitation(context: Context) -> str:
    """Asks in mid-call."""
    return str(await _filled(context, "user_name", "What is your name?", "name"))


_OWN = (
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_missing_capability",
    "test_trigger_tool_change",
    "test_trigger_prompt_change",
)
TOOLS: list[Tool] = [value for value in list(globals().values()) if isinstance(value, Tool)]


def _text(text: str, uri: str, kind: str = "text/plain") -> types.TextResourceContents:
    return types.TextResourceContents(uri=uri, mime_type=kind, text=text)


def _said(*contents: Any) -> list[types.PromptMessage]:
    return [types.PromptMessage(role="user", content=content) for content in contents]


class ConformanceServer(ToolServer):
    """Qianda's server, with the suite's resources and prompts, and results that no tool of ours gives."""

    def __init__(self) -> None:
        super().__init__(TOOLS, workspace=Path.cwd(), sandbox="off", files=True)
        self.add_request_handler("completion/complete", types.CompleteRequestParams, self._complete)
        self.add_request_handler("resources/subscribe", types.SubscribeRequestParams, self._subscribe)
        self.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, self._subscribe)
        self.add_request_handler("prompts/list", types.PaginatedRequestParams, self.on_list_prompts)
        self.add_request_handler("prompts/get", types.GetPromptRequestParams, self.on_get_prompt)

    async def on_list_tools(self, context: _Request, _params: Any) -> types.ListToolsResult:
        listed = await super().on_list_tools(context, _params)
        nothing: dict[str, Any] = {"type": "object", "properties": {}}
        for name in _OWN:
            listed.tools.append(types.Tool(name=name, description="Gives a resource.", input_schema=nothing))
        return listed

    async def on_call_tool(
        self, context: _Request, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        inside = types.EmbeddedResource(resource=_text("This is an embedded resource content.", "test://embedded"))
        if params.name == "test_embedded_resource":
            return types.CallToolResult(content=[inside])
        if params.name == "test_multiple_content_types":
            image = types.ImageContent(data=PNG, mime_type="image/png")
            return types.CallToolResult(content=[types.TextContent(text="Multiple content types:"), image, inside])
        if params.name == "test_missing_capability":
            await Call(context, {}).ask(_sampling("Say something"))
        if params.name == "test_trigger_tool_change":
            await self.set_tools(list(self.tools.values()))
        if params.name == "test_trigger_prompt_change":
            await self._bus.publish(PromptsListChanged())
        if params.name in _OWN:
            return types.CallToolResult(content=[types.TextContent(text="done")])
        return await super().on_call_tool(context, params)

    async def on_list_resources(
        self,
        context: _Request,
        params: Any,
    ) -> types.ListResourcesResult:
        names = ("static-text", "static-binary", "watched-resource")
        resources = [types.Resource(name=name, uri=f"test://{name}", description=name) for name in names]
        return types.ListResourcesResult(resources=resources)

    async def on_list_resource_templates(self, _context: _Request, _params: Any) -> types.ListResourceTemplatesResult:
        template = types.ResourceTemplate(name="template", uri_template="test://template/{id}/data")
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def on_read_resource(
        self, context: _Request, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult | types.InputRequiredResult:
        uri = str(params.uri)
        if uri == "test://static-binary":
            blob = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
            assert base64.b64decode(PNG)
            return types.ReadResourceResult(contents=[blob])
        if uri in ("test://static-text", "test://watched-resource"):
            return types.ReadResourceResult(contents=[_text("This is the content of the resource.", uri)])
        if uri.startswith("test://template/"):
            found = uri.split("/")[3]
            data = json.dumps({"id": found, "templateTest": True, "data": f"Data for ID: {found}"})
            return types.ReadResourceResult(contents=[_text(data, uri, "application/json")])
        return await super().on_read_resource(context, params)

    async def on_list_prompts(self, _context: _Request, _params: Any) -> types.ListPromptsResult:
        def prompt(name: str, *arguments: str) -> types.Prompt:
            wanted = [types.PromptArgument(name=item, description=item, required=True) for item in arguments]
            return types.Prompt(name=name, description=name, arguments=wanted)

        return types.ListPromptsResult(
            prompts=[
                prompt("test_simple_prompt"),
                prompt("test_prompt_with_arguments", "arg1", "arg2"),
                prompt("test_prompt_with_embedded_resource", "resourceUri"),
                prompt("test_prompt_with_image"),
                prompt("test_input_required_result_prompt"),
            ]
        )

    async def on_get_prompt(
        self, context: _Request, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        given = params.arguments or {}

        async def work(call: Call) -> types.GetPromptResult:
            return types.GetPromptResult(messages=await _prompt(params.name, given, call))

        return await self._in_rounds(context, params, work)

    async def _in_rounds(
        self,
        context: _Request,
        params: Interactive,
        work: Callable[[Call], Awaitable[types.GetPromptResult]],
    ) -> types.GetPromptResult | types.InputRequiredResult:
        return await context.lifespan_context.rounds.run(context, params, work)

    async def _complete(self, _context: _Request, _params: types.CompleteRequestParams) -> types.CompleteResult:
        return types.CompleteResult(completion=types.Completion(values=["paris", "park"], total=2, has_more=False))

    async def _subscribe(self, _context: _Request, _params: Any) -> types.EmptyResult:
        return types.EmptyResult()


async def _prompt(name: str, given: dict[str, str], call: Call) -> list[types.PromptMessage]:
    if name == "test_simple_prompt":
        return _said(types.TextContent(text="This is a simple prompt for testing."))
    if name == "test_prompt_with_arguments":
        said = f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'"
        return _said(types.TextContent(text=said))
    if name == "test_prompt_with_embedded_resource":
        inside = types.EmbeddedResource(resource=_text("Embedded resource content.", given["resourceUri"]))
        return _said(inside, types.TextContent(text="Please process the embedded resource above."))
    if name == "test_prompt_with_image":
        image = types.ImageContent(data=PNG, mime_type="image/png")
        return _said(image, types.TextContent(text="Please analyze the image above."))
    if name == "test_input_required_result_prompt":
        question = _form("What context should the prompt use?", _object(context={"type": "string"}))
        result = await call.ask(question, key="user_context")
        assert isinstance(result, types.ElicitResult)
        return _said(types.TextContent(text=f"Use this context: {(result.content or {}).get('context')}"))
    raise MCPError(types.INVALID_PARAMS, f"There is no prompt {name}")


if __name__ == "__main__":
    config = uvicorn.Config(
        http_app(ConformanceServer(), None), port=int(sys.argv[1]), log_level="warning", access_log=False
    )
    asyncio.run(uvicorn.Server(config).serve())
