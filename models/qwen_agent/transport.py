"""An HTTP transport that asks a backend of Qwen-Agent in the place of a server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, cast

import httpx2
import orjson

from qianda.models.errors import ConfigurationError, QiandaError, ServerUnreachable
from qianda.models.qwen_agent.loading import load_qwen_agent
from qianda.models.qwen_agent.translation import Changes, through_openai, to_messages, to_settings

_NETWORK = frozenset(("aiohttp", "httpcore", "httpx", "openai", "requests", "urllib3", "websocket"))


class QwenAgentTransport(httpx2.AsyncBaseTransport):
    """Answers chat completions by a ``BaseChatModel``; may be used in several event loops.

    Args:
        backend: the ``BaseChatModel``, or the settings that ``get_chat_model`` makes one from.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._lock = threading.Lock()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request; the backend works in a thread."""
        if not request.url.path.endswith("/chat/completions"):
            return httpx2.Response(404, json={"detail": "Not Found"})
        body = orjson.loads(await request.aread())
        patience: float | None = request.extensions.get("timeout", {}).get("read")
        replies = _from_thread(lambda: self._replies(body), patience)
        try:
            first = await anext(replies, None)
        except QiandaError:
            raise
        except Exception as error:
            status, answer = _refusal(error)
            return httpx2.Response(status, json=answer)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=_events(first, replies))

    def _replies(self, body: dict[str, Any]) -> Iterator[list[Any]]:
        model = self._model()
        functions = [tool["function"] for tool in body.get("tools", ())]
        return model.chat(
            messages=to_messages(body["messages"]),
            functions=functions if body.get("tool_choice") != "none" else None,
            stream=True,
            extra_generate_cfg=to_settings(
                body, model.generate_cfg, raw=model.use_raw_api, openai=through_openai(model.model_type)
            ),
        )

    def _model(self) -> Any:
        with self._lock:
            if isinstance(self._backend, dict):
                make = load_qwen_agent("qwen_agent.llm").get_chat_model
                try:
                    self._backend = _hearing(make(cast("dict[str, Any]", self._backend)))
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    raise ConfigurationError(f"Qwen-Agent does not take these settings: {error}") from error
            return self._backend


async def _events(first: list[Any] | None, replies: AsyncGenerator[list[Any]]) -> AsyncGenerator[bytes]:
    """Server-sent events of a reply."""
    changes = Changes()
    async with aclosing(replies):
        try:
            if first is not None and (chunk := changes.read(first)):
                yield _event(chunk)
            async for reply in replies:
                if chunk := changes.read(reply):
                    yield _event(chunk)
        except QiandaError:
            raise
        except Exception as error:
            yield _event(_refusal(error)[1])
            return
    for chunk in changes.finish():
        yield _event(chunk)
    yield b"data: [DONE]\n\n"


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


async def _from_thread(make: Callable[[], Iterator[list[Any]]], patience: float | None) -> AsyncGenerator[list[Any]]:
    """What an iterator gives that is made and run in a thread of its own.

    Args:
        make: makes it.
        patience: seconds to wait for each item, None for ever.
    """
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[list[Any] | BaseException | None] = asyncio.Queue()
    over = threading.Event()

    def give(item: list[Any] | BaseException | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(items.put_nowait, item)

    def work() -> None:
        try:
            for item in make():
                if over.is_set():
                    return
                give(item)
        except BaseException as error:
            give(error)
        else:
            give(None)

    threading.Thread(target=work, name="qwen-agent model", daemon=True).start()
    try:
        while True:
            try:
                async with asyncio.timeout(patience):
                    item = await items.get()
            except TimeoutError as error:
                raise ServerUnreachable("Qwen-Agent's backend gave nothing for too long") from error
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        over.set()


def _hearing(model: Any) -> Any:
    """The backend; the one for audio takes audio, which Qwen-Agent up to 0.0.34 takes out of its messages."""
    if model.model_type == "qwenaudio_dashscope" and not model.support_audio_input:
        own = cast("Any", type(model))
        model.__class__ = type(own.__name__, (own,), {"support_audio_input": True})
    return model


def _refusal(error: Exception) -> tuple[int, dict[str, Any]]:
    """A backend's exception as the status and the body of an answer.

    Raises:
        ServerUnreachable: there was no connection, or it broke.
    """
    cause: Any = getattr(error, "exception", None) or error
    code = getattr(error, "code", None)
    extra: dict[str, Any] = getattr(error, "extra", None) or {}
    info: Any = extra.get("model_service_info")
    status: Any = getattr(cause, "status_code", None) or getattr(info, "status_code", None)
    package = type(cause).__module__.partition(".")[0]
    if status is None and code is None and (package in _NETWORK or isinstance(cause, OSError)):
        raise ServerUnreachable(
            f"Qwen-Agent's backend has no connection: {type(cause).__name__}: {str(cause)[:200]}",
            cure="Look at its address and key",
        ) from error
    text = getattr(error, "message", None) or str(cause).strip() or type(cause).__name__
    status = status if isinstance(status, int) and status >= 400 else 500 if code else 400
    return status, {"error": {"message": text, "code": str(code or type(cause).__name__)}}
