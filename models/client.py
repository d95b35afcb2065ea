"""Asking a model for one reply: the attempts at it, and its pieces as they arrive."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qianda.models.attempts import Attempts, Retry
from qianda.models.budget import BudgetWatch, bounded
from qianda.models.completions import Api, completions_kind
from qianda.models.errors import ServerError
from qianda.models.exchange import Exchange
from qianda.models.family import Family, Sampling
from qianda.models.http import patience
from qianda.models.messages import Message, ToolSchema
from qianda.models.reader import ReplyReader
from qianda.models.reply import Piece
from qianda.models.request import Request, RequestMaker
from qianda.models.resolve import Endpoint
from qianda.models.thinking import Thinking, less_thinking
from qianda.models.wire import MessageEncoder

if TYPE_CHECKING:
    from qianda.models.http import AsyncClient

TOTAL_SECONDS = 3600.0


class Client:
    """Talks to one model on one server; safe to use from many runs at once.

    Args:
        endpoint: the chosen server and model.
        http: the pooled HTTP client; closed by whoever opened it.
        thinking: what is wanted; None for the model's default.
        sampling: fields that are set override the family's preset.
        streaming: ask for server-sent events; else for one JSON document.
        extra_body: more request fields, which win over ours.
        api: ``completions`` for prompts that are written here, not by the server's chat template.
        seconds: silence after which a request counts as hung, None for 300, or what the HTTP client was made with.
        total: seconds for one reply, all attempts together.

    Attributes:
        thinking: what is wanted; None for the model's default.
        window: the context window in tokens, as the server says it or a refusal has taught; None while unknown.

    Raises:
        ConfigurationError: the model or the server cannot do what ``thinking`` wants.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        http: AsyncClient,
        *,
        thinking: Thinking | bool | None = None,
        sampling: Sampling | None = None,
        streaming: bool = True,
        extra_body: dict[str, Any] | None = None,
        api: Api = "chat",
        seconds: float | None = None,
        total: float = TOTAL_SECONDS,
    ) -> None:
        self._again = partial(
            Client,
            endpoint,
            http,
            sampling=sampling,
            streaming=streaming,
            extra_body=extra_body,
            api=api,
            seconds=seconds,
            total=total,
        )
        if api == "completions":
            endpoint = replace(endpoint, kind=completions_kind(endpoint.kind))
        self.endpoint = endpoint
        self.window = endpoint.window
        self.thinking = Thinking.of(thinking)
        self._total = total
        self._maker = maker = RequestMaker(
            endpoint, self.thinking, sampling or Sampling(), streaming=streaming, extra=extra_body or {}, api=api
        )
        self._exchange = Exchange(endpoint, http, patience(http, seconds), url=maker.url, native=maker.native)

    def thinking_as(self, thinking: Thinking | bool | None) -> Client:
        """The same with other thinking.

        Args:
            thinking: what is wanted; None for the model's default.

        Raises:
            ConfigurationError: the model or the server cannot do that.
        """
        made = self._again(thinking=thinking)
        made.window = self.window
        return made

    def encoder(self) -> MessageEncoder:
        """The serialiser for one conversation."""
        kind, family = self.endpoint.kind, self._maker.family
        return MessageEncoder(kind, preserve=family.preserve, resend=family.resend, model=self.endpoint.model)

    @property
    def family(self) -> Family:
        """The model's."""
        return self._maker.family

    def room(self, window: int) -> int:
        """Tokens of a window that are left for a reply."""
        return self._maker.room(window)

    def less_thinking(self, thinking: Thinking | None) -> Thinking | None:
        """What to try after a reply that was all reasoning; None when the model cannot think less.

        Args:
            thinking: what that reply was asked with.
        """
        less = less_thinking(thinking or self.thinking, self._maker.family)
        before, after = (self._maker.mode(each) for each in (thinking or self.thinking, less))
        return None if (before.fields, before.switch) == (after.fields, after.switch) else less

    async def ask(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSchema],
        encoder: MessageEncoder,
        *,
        fields: Mapping[str, Any] | None = None,
        thinking: Thinking | None = None,
    ) -> AsyncGenerator[list[Piece] | Retry]:
        """Ask for one reply.

        Args:
            messages: the whole conversation.
            tools: what the model may call.
            encoder: this conversation's serialiser.
            fields: request fields of this one request, which win over all others; an object in them is merged into the
                one that is there, None takes a field out.
            thinking: for this one request, in the place of the client's.

        Yields:
            The pieces of the reply, in one list per block that the network gave; or a ``Retry``.

        Raises:
            ServerError: the server refused, or failed more often than we try.
            ConfigurationError: an image of the user's that the server or the model does not take.
        """
        request = self._maker.request(messages, tools, encoder, fields=fields or {}, thinking=thinking)
        attempts = Attempts(self._total)
        while True:
            given = False
            try:
                async with aclosing(self._reply(request, attempts)) as batches:
                    async for pieces in batches:
                        given = True
                        yield pieces
            except ServerError as error:
                mended = not attempts.mended and self._maker.mend(request, error)
                if not mended and self._maker.gives_up_budget(error):
                    request = self._maker.request(messages, tools, encoder, fields=fields or {}, thinking=thinking)
                    attempts = Attempts(self._total)
                    continue
                retry = attempts.again(error, mended=mended, discard=given)
                yield retry
                await sleep(retry.wait)
            else:
                return

    def _reply(self, request: Request, attempts: Attempts) -> AsyncGenerator[list[Piece]]:
        """One attempt; where the thinking has a bound that is ours to keep, a second request may follow the first."""

        def once(body: bytes, *, thinks: bool) -> AsyncGenerator[list[Piece]]:
            opened = self._maker.family.opens and thinks
            reader = ReplyReader(tools=request.tools, thinking_open=opened, thinking=thinks)
            return self._exchange.once(body, reader, last=attempts.last, deadline=attempts.deadline)

        def go_on(thought: str) -> Iterator[tuple[bool, AsyncGenerator[list[Piece]]]]:
            for way, body in self._maker.going_on(request, thought):
                yield way.prefill is not None, once(body, thinks=False)

        reply = once(self._maker.body(request), thinks=request.mode.thinks is not False)
        return bounded(BudgetWatch(request.mode.bound), reply, go_on) if request.mode.bound else reply
