"""A client's call while it runs: what is asked of the client meanwhile, and told to it, in both eras of the protocol.

Up to 2025-11-25 the server asks on the open connection. From 2026-07-28 on it answers the call with its questions, and
the client calls again with the answers: the work goes on in the background until then.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import mcp_types as types
from mcp import MCPError
from mcp.server.connection import allowed_log_levels
from mcp.server.request_state import authenticated_principal

from qianda.models.errors import ToolError
from qianda.tools.questions import NOBODY, Answer, Question

if TYPE_CHECKING:
    from mcp.server import ServerRequestContext

PATIENCE = 600.0  # seconds that a question of the modern era waits for the client to call again
MOST_WAITING = 100  # calls that wait so; one more is refused

InputRequest = types.ElicitRequest | types.CreateMessageRequest | types.ListRootsRequest
InputResponse = types.ElicitResult | types.CreateMessageResult | types.ListRootsResult
Interactive = types.CallToolRequestParams | types.GetPromptRequestParams | types.ReadResourceRequestParams
ResultT = TypeVar("ResultT")

_RESULTS: dict[str, type[InputResponse]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}


class Call:
    """What running work knows of the client that called.

    Args:
        context: the request.
        levels: the lowest level of log messages that each connection wants.
    """

    structured: Any = None
    """What the work gives beside its text."""

    def __init__(self, context: ServerRequestContext[Any, Any], levels: Mapping[str, types.LoggingLevel]) -> None:
        self.context = context
        self._levels = levels

    def can_answer(self, method: str) -> bool:
        """Whether the client said that it takes such questions."""
        has = self.context.session.client_capabilities
        if has is None:
            return False
        if method == "elicitation/create":
            asked = has.elicitation
            # Before there were two kinds an empty object stood for forms.
            return asked is not None and (asked.form is not None or asked.url is None)
        return (has.sampling if method == "sampling/createMessage" else has.roots) is not None

    async def ask(self, request: InputRequest, *, key: str = "") -> InputResponse:  # noqa: ARG002 - of the modern era
        """Ask the client, and wait for its answer.

        Args:
            request: the question.
            key: what it is called in the modern era; a number by default.

        Raises:
            MCPError: the client cannot be asked, or answers with an error.
        """
        self._check(request)
        session, method = self.context.session, request.method
        return await session.send_request(
            request, _RESULTS[method], metadata=_about(self.context) if self.context.request_id is not None else None
        )

    async def put(self, question: Question) -> Answer:
        """Put a question of a tool to the user, as a form.

        Raises:
            ToolError: the client shows no forms.
        """
        schema = question.schema
        if schema is None:
            choices = {"enum": list(question.options)} if question.options else {}
            field = {"type": "string", "title": "Answer", **choices}
            schema = {"type": "object", "properties": {"answer": field}, "required": ["answer"]}
        form = types.ElicitRequestFormParams(message=question.question, requested_schema=schema)
        try:
            result = await self.ask(types.ElicitRequest(params=form))
        except MCPError as error:
            raise ToolError(NOBODY) from error
        if not isinstance(result, types.ElicitResult) or result.action != "accept":
            return None
        given = dict(result.content or {})
        return given if question.schema is not None else str(given.get("answer", ""))

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the work is, when the client wants to know."""
        await self.context.session.report_progress(progress, total, message)

    async def log(self, level: types.LoggingLevel, data: Any, logger: str) -> None:
        """Send a log message, when the client wants those of that level."""
        context = self.context
        lowest = self._levels.get(connection_key(context), "info")
        order = types.LoggingLevel.__args__
        modern = not context.session.can_send_request
        wanted = level in allowed_log_levels(context.protocol_version, context.meta)
        if wanted and (modern or order.index(level) >= order.index(lowest)):
            params = types.LoggingMessageNotificationParams(level=level, data=data, logger=logger)
            message = types.LoggingMessageNotification(params=params)
            await context.session.send_notification(message, related_request_id=context.request_id)

    def _check(self, request: InputRequest) -> None:
        if not self.can_answer(request.method):
            needed: dict[str, Any] = {"requiredCapabilities": {request.method.partition("/")[0]: {}}}
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, f"The client takes no {request.method}", needed)


class _Interrupted(Call, Generic[ResultT]):
    """A call of the modern era, whose work goes on while the client is away to answer."""

    def __init__(self, context: ServerRequestContext[Any, Any], about: object) -> None:
        super().__init__(context, {})
        self.about = (about, authenticated_principal(context))
        self.task: asyncio.Task[ResultT]
        self.expiry: asyncio.TimerHandle | None = None
        self.asked: dict[str, tuple[InputRequest, asyncio.Future[InputResponse]]] = {}
        self._given: Mapping[str, types.InputResponse] = {}
        self._wake = asyncio.Event()
        self._away = False
        self._count = 0

    async def ask(self, request: InputRequest, *, key: str = "") -> InputResponse:
        self._check(request)
        self._count += 1
        key = key or f"question_{self._count}"
        answer: asyncio.Future[InputResponse] = asyncio.get_running_loop().create_future()
        self.asked[key] = (request, answer)
        self._take()
        self._wake.set()
        try:
            return await answer
        finally:
            self.asked.pop(key, None)

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        if not self._away:
            await super().report_progress(progress, total, message)

    async def log(self, level: types.LoggingLevel, data: Any, logger: str) -> None:
        if not self._away:
            await super().log(level, data, logger)

    def back(self, context: ServerRequestContext[Any, Any], given: Mapping[str, types.InputResponse]) -> None:
        """The client is there, with answers; what was not asked for is ignored."""
        self.context, self._away, self._given = context, False, given
        if self.expiry is not None:
            self.expiry.cancel()
        self._take()

    async def stops(self) -> None:
        """Wait until the work is over or has asked something that is not answered."""
        self.task.add_done_callback(lambda _task: self._wake.set())
        while not (self.task.done() or self._asks()):
            self._wake.clear()
            await self._wake.wait()
            await asyncio.sleep(0)  # what asks at the same time is asked together
        self._away = not self.task.done()

    def _asks(self) -> bool:
        return any(not answer.done() for _request, answer in self.asked.values())

    def _take(self) -> None:
        for key, (request, answer) in self.asked.items():
            given = self._given.get(key)
            # What is no answer to this question is ignored, so that it is asked again.
            if isinstance(given, _RESULTS[request.method]) and not answer.done():
                answer.set_result(given)


class Rounds:
    """The calls of one life of the server."""

    def __init__(self) -> None:
        self.levels: dict[str, types.LoggingLevel] = {}
        self._waiting: dict[str, _Interrupted[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(
        self,
        context: ServerRequestContext[Any, Any],
        params: Interactive,
        work: Callable[[Call], Awaitable[ResultT]],
    ) -> ResultT | types.InputRequiredResult:
        """Do a call's work, or go on with it.

        Args:
            context: the request.
            params: its parameters.
            work: what is to be done, once; later rounds of a call go on with the first one's.

        Raises:
            MCPError: the client came back with a state that is not one of ours, or too many calls wait.
        """
        has = context.session.client_capabilities
        nobody = has is None or (has.elicitation is None and has.sampling is None and has.roots is None)
        if params.request_state is None and (context.session.can_send_request or nobody):
            return await work(Call(context, self.levels))
        call = self._first(context, params, work) if params.request_state is None else self._again(context, params)
        try:
            await call.stops()
        except asyncio.CancelledError:
            call.task.cancel()
            raise
        if call.task.done():
            return call.task.result()
        state = secrets.token_urlsafe(32)
        self._waiting[state] = call
        call.expiry = asyncio.get_running_loop().call_later(PATIENCE, self._give_up, state)
        asked = {key: request for key, (request, answer) in call.asked.items() if not answer.done()}
        return types.InputRequiredResult(input_requests=dict(asked), request_state=state)

    async def close(self) -> None:
        """Stop what goes on in the background."""
        for call in self._waiting.values():
            if call.expiry is not None:
                call.expiry.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _first(self, context: Any, params: Interactive, work: Callable[[Call], Awaitable[Any]]) -> _Interrupted[Any]:
        if len(self._waiting) >= MOST_WAITING:
            raise MCPError(types.INTERNAL_ERROR, "Too many calls wait for answers; answer or cancel some first")
        call = _Interrupted[Any](context, _what(params))
        call.back(context, params.input_responses or {})

        async def run() -> Any:
            return await work(call)

        call.task = asyncio.create_task(run())
        self._tasks.add(call.task)
        call.task.add_done_callback(self._tasks.discard)
        return call

    def _again(self, context: Any, params: Interactive) -> _Interrupted[Any]:
        state = params.request_state or ""
        call = self._waiting.get(state)
        if call is None or call.about != (_what(params), authenticated_principal(context)):
            raise MCPError(types.INVALID_PARAMS, "This requestState is not known here, is over, or is of another call")
        del self._waiting[state]
        call.back(context, params.input_responses or {})
        return call

    def _give_up(self, state: str) -> None:
        if (call := self._waiting.pop(state, None)) is not None:
            call.task.cancel()


def connection_key(context: ServerRequestContext[Any, Any]) -> str:
    """What tells the connections of one life apart: the session of HTTP, "" for the only one of stdio."""
    return context.request.headers.get("mcp-session-id", "") if context.request is not None else ""


def _what(params: Interactive) -> object:
    """What a call is about: the same in all of its rounds."""
    return params.model_dump(exclude={"input_responses", "request_state", "meta"})


def _about(context: ServerRequestContext[Any, Any]) -> Any:
    from mcp.shared.message import ServerMessageMetadata

    return ServerMessageMetadata(related_request_id=context.request_id)
