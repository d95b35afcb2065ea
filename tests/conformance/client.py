"""The client that MCP's conformance suite tests: Qianda's own connection, which calls every tool it is offered.

The suite starts it once per scenario, with the server's address as last argument.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import MCPError
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from qianda import Context
from qianda.models.errors import ToolError
from qianda.tools import Tool, ToolResult
from qianda.tools.mcp import MCPServer, MCPToolset
from qianda.tools.questions import Answer, Question

CALLBACK = "http://localhost:3000/callback"
CLIENT_ID_DOCUMENT = "https://conformance-test.local/client-metadata.json"
GIVEN: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
SCENARIO = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
VALUES = {"string": "Alice", "boolean": True, "integer": 1, "number": 1.5}
ARGUMENTS = {"add_numbers": {"a": 5, "b": 3}}


class Login:
    """What is kept of a login, and a person who agrees to everything at once."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None
        self._result = AuthorizationCodeResult(code="")
        if client_id := GIVEN.get("client_id"):
            secret = GIVEN.get("client_secret")
            self.client = OAuthClientInformationFull(
                client_id=client_id,
                client_secret=secret,
                redirect_uris=[AnyUrl(CALLBACK)],
                token_endpoint_auth_method="client_secret_basic" if secret else "none",
                issuer=GIVEN.get("issuer"),
            )

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info

    async def open(self, url: str) -> None:
        """Follow the address that a browser would be shown."""
        async with httpx2.AsyncClient() as http:
            answer = await http.get(url)
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        found = {name: query[name][0] for name in ("code", "state", "iss") if name in query}
        self._result = AuthorizationCodeResult(**found)

    async def come_back(self) -> AuthorizationCodeResult:
        """What the browser was sent back with."""
        return self._result

    def provider(self, url: str) -> OAuthClientProvider:
        """Signs requests."""
        about = OAuthClientMetadata(
            client_name="qianda",
            redirect_uris=[AnyUrl(CALLBACK)],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
        )
        return OAuthClientProvider(
            url,
            about,
            self,
            redirect_handler=self.open,
            callback_handler=self.come_back,
            client_metadata_url=CLIENT_ID_DOCUMENT,
        )


async def fill_in(question: Question) -> Answer:
    """Agree to every question, with the defaults of its form."""
    fields: dict[str, Any] = (question.schema or {}).get("properties", {})
    filled = {name: field.get("default", VALUES.get(field.get("type"))) for name, field in fields.items()}
    return filled if question.schema else "yes"


async def main(url: str) -> int:
    """Connect, list what there is, call every tool."""
    said: list[str] = []
    auth = Login().provider(url) if SCENARIO.startswith("auth/") else None
    server = MCPServer("conformance", url=url, transport="http", auth=auth)
    toolset = MCPToolset([server], workspace=Path.cwd(), notify=said.append)
    await toolset.start()
    try:
        await call_all(toolset)
        failed = bool(toolset.connections[0].problem)
    finally:
        await toolset.close()
    for line in said:
        sys.stderr.write(f"{line}\n")
    return int(failed)


async def call_all(toolset: MCPToolset) -> None:
    """Call the tools, then read the resources and prompts."""
    context = Context(asking=fill_in)
    tools = {tool.name.removeprefix("mcp__conformance__"): tool for tool in toolset.tools}
    calls = [(call["name"], call["arguments"]) for call in GIVEN.get("toolCalls", [])]
    for name, arguments in calls or [(name, ARGUMENTS.get(name, {})) for name in tools]:
        if name in tools:
            # What the suite gives is sent as it is, with its nulls.
            result = await (tools[name].invoke(arguments, context) if calls else _call(tools[name], arguments))
            sys.stderr.write(f"{name}: {result.content}\n")
    connection = toolset.connections[0]
    if connection.problem:
        return
    client = await connection.client()
    offers = client.server_capabilities
    with contextlib.suppress(MCPError, ToolError):
        if offers.resources is not None:
            for resource in (await client.list_resources()).resources:
                await client.read_resource(str(resource.uri))
        if offers.prompts is not None:
            for prompt in (await client.list_prompts()).prompts:
                await client.get_prompt(prompt.name)


async def _call(tool: Tool, arguments: dict[str, Any]) -> ToolResult:
    fields = tool.schema.parameters.get("properties", {})
    arguments = arguments or {name: VALUES.get(field.get("type")) for name, field in fields.items()}
    return await tool.call(tool.read_arguments(json.dumps(arguments)), Context(asking=fill_in))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["QIANDA_DATA_DIR"] = folder
        sys.exit(asyncio.run(main(sys.argv[-1])))
