"""What an MCP server asks of us: the user (elicitation), our model (sampling), our folders (roots)."""

from __future__ import annotations

from contextvars import ContextVar, Token
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qianda.models.errors import QiandaError, ToolError
from qianda.tools.context import Context
from qianda.tools.mcp.content import visible
from qianda.tools.mcp.spec import MCPServer

if TYPE_CHECKING:
    from mcp.client.session import ClientRequestContext
    from mcp_types import (
        CreateMessageRequestParams,
        CreateMessageResult,
        CreateMessageResultWithTools,
        ElicitRequestParams,
        ElicitResult,
        ErrorData,
        ListRootsResult,
    )

    from qianda.models.client import Client as ModelClient

_OPENED, _NOT_OPENED = "I have done it", "no"
_LONGEST = 2_000  # characters of a server's question
# The call that a question belongs to, where it is asked in the call's own task (several rounds of one request).
_calling: ContextVar[Context | None] = ContextVar("qianda_mcp_call", default=None)


class ServerQuestions:
    """Answers one server's questions, in the name of the call that it is about.

    Args:
        server: who asks.
        workspace: the folder that it may know of.
        model: answers what it asks of a model; None, or a server without ``sampling``, and it is not told of it.
    """

    def __init__(self, server: MCPServer, *, workspace: Path, model: ModelClient | None) -> None:
        self._server = server
        self._workspace = workspace
        self._model = model if server.sampling else None
        self._left = server.sampling
        self._calls: list[Context] = []

    def callbacks(self) -> dict[str, Any]:
        """For the SDK's client, which declares to the server what is there."""
        found: dict[str, Any] = {"elicitation_callback": self.elicit, "list_roots_callback": self.roots}
        if self._model is not None:
            from mcp_types import SamplingCapability, SamplingToolsCapability

            found["sampling_callback"] = self.sample
            found["sampling_capabilities"] = SamplingCapability(tools=SamplingToolsCapability())
        return found

    def begin(self, context: Context) -> Token[Context | None]:
        """A call is under way: what the server asks meanwhile goes to its context. Ended by ``end``."""
        self._calls.append(context)
        return _calling.set(context)

    def end(self, context: Context, token: Token[Context | None]) -> None:
        """The call is over."""
        _calling.reset(token)
        # By identity: comparing contexts takes longer than the call.
        self._calls = [each for each in self._calls if each is not context]

    async def elicit(self, _asked: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult | ErrorData:
        """Ask the user to fill in a form, or to open an address, which we never do ourselves."""
        from mcp_types import INVALID_REQUEST, ElicitRequestURLParams, ElicitResult, ErrorData

        context = _calling.get() or (self._calls[-1] if self._calls else None)
        if context is None:
            return ErrorData(code=INVALID_REQUEST, message="No call is under way that the user could be asked for")
        who, message = f"MCP server {self._server.name!r}", visible(params.message)[:_LONGEST]
        try:
            if isinstance(params, ElicitRequestURLParams):
                question = f"{who} asks you to open {visible(params.url)} in your browser. It says: {message}"
                answer = await context.ask(question, (_OPENED, _NOT_OPENED))
                return ElicitResult(action="accept" if answer == _OPENED else "decline")
            schema: dict[str, Any] = dict(params.requested_schema)
            filled = await context.ask(f"{who} asks: {message}", schema=schema)
        except ToolError:  # nobody is there, or the form was filled in wrongly
            return ElicitResult(action="cancel")
        if filled is None:
            return ElicitResult(action="decline")
        fields: dict[str, dict[str, Any]] = schema.get("properties", {})
        defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
        return ElicitResult(action="accept", content={**defaults, **filled})

    async def roots(self, _asked: ClientRequestContext) -> ListRootsResult:
        """Tell the workspace."""
        from mcp_types import ListRootsResult, Root
        from pydantic import FileUrl

        return ListRootsResult(roots=[Root(uri=FileUrl(self._workspace.as_uri()), name=self._workspace.name)])

    async def sample(
        self, _asked: ClientRequestContext, params: CreateMessageRequestParams
    ) -> CreateMessageResult | CreateMessageResultWithTools | ErrorData:
        """Have our model answer, so often as the server may ask."""
        from mcp_types import INTERNAL_ERROR, INVALID_REQUEST, ErrorData

        from qianda.tools.mcp.sampling import sampled

        if self._model is None or self._left <= 0:
            return ErrorData(code=INVALID_REQUEST, message=f"All {self._server.sampling} replies are used up")
        self._left -= 1
        try:
            return await sampled(self._model, params)
        except (QiandaError, ValueError) as error:
            return ErrorData(code=INTERNAL_ERROR, message=str(error))
