"""What the chat needs of an agent: a small protocol, so that tests can speak it too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from qianda.agents.resources import Resources
    from qianda.models.config import PermissionMode
    from qianda.models.events import Event
    from qianda.models.messages import Content, Message
    from qianda.models.plan import Plan
    from qianda.models.resolve import Endpoint
    from qianda.tools.permissions import ApprovalRequest, Decision, Permissions
    from qianda.tools.questions import Answer, Question
    from qianda.tui.thinking import Wanted


class ChatRun(Protocol):
    """A run in progress."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def __aiter__(self) -> AsyncIterator[Event]: ...

    def steer(self, content: Content, /) -> None:
        """Say something that the model reads before its next reply."""
        ...

    def cancel(self) -> None:
        """Stop."""
        ...


class Conversation(Protocol):
    """A remembered conversation."""

    @property
    def messages(self) -> Sequence[Message]:
        """What was said so far."""
        ...

    @property
    def plan(self) -> Plan | None:
        """The plan that the next run goes on with."""
        ...

    def compact(self) -> None:
        """Have the conversation made shorter before the next reply."""
        ...

    def resume(self) -> ChatRun:
        """Go on with the last run, which was interrupted."""
        ...

    def stream(self, prompt: Content, /) -> ChatRun:
        """Run, and watch."""
        ...


class ChatAgent(Protocol):
    """An agent that is open while its context is."""

    workspace: Path
    permissions: Permissions

    @property
    def resources(self) -> Resources | None:
        """What it has open; MCP servers may be starting still."""
        ...

    def opened(self) -> AbstractAsyncContextManager[Resources]:
        """What it has open, once its MCP servers have started."""
        ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    async def endpoint(self) -> Endpoint:
        """The server and model that it uses."""
        ...

    def session(self, name: str, /) -> Conversation:
        """A conversation by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What the person changed while the chat is open; None leaves it to the command line and the settings.

    Args:
        server: name or address.
        model: its name there.
        api_key: the server's, where the person typed one.
        thinking: on, off, how much, or the model's default.
        permissions: what tools may do unasked.
        plan: the model plans first.
        mcp_switched: MCP servers that are used, or not, by name.
    """

    server: str | None = None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    thinking: Wanted | None = None
    permissions: PermissionMode | None = None
    plan: bool | None = None
    mcp_switched: Mapping[str, bool] | None = None


Approve = Callable[["ApprovalRequest"], Awaitable["Decision"]]
Ask = Callable[["Question"], Awaitable["Answer"]]
Notify = Callable[[str], None]
OpenAgent = Callable[[Approve, Ask, Notify, Changes], Awaitable[ChatAgent]]


def new_session_name() -> str:
    """A name for a conversation that sorts by time."""
    return f"{datetime.now().astimezone():chat-%Y%m%d-%H%M%S}"
