"""The agent's side of the protocol: each request, to the session that it is about."""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from acp import PROTOCOL_VERSION, RequestError, schema

from qianda import __version__
from qianda.agents.journal_index import list_sessions
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.cli.acp_server.content import Block, Server, mcp_server
from qianda.cli.acp_server.session import EditorSession
from qianda.cli.opening import Choices, open_workspace, record_path
from qianda.models.errors import ConfigurationError, QiandaError

if TYPE_CHECKING:
    from acp.interfaces import Client

P = ParamSpec("P")
T = TypeVar("T")
_PAGE = 50  # sessions of one answer
_WRONG, _MISSING, _FAILED = -32602, -32002, -32603


def _explained(method: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """Errors of ours as the protocol's, with what happened and what to do next."""

    @functools.wraps(method)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except QiandaError as error:
            code = _WRONG if isinstance(error, ConfigurationError) else _FAILED
            raise RequestError(code, str(error), {"details": str(error)}) from error

    return call


class EditorAgent:
    """Qianda, for one editor.

    Args:
        choices: what was chosen on the command line; the folder comes from the editor.
    """

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._sessions: dict[str, EditorSession] = {}
        self._client: Client | None = None
        self._forms = False

    def on_connect(self, conn: Client) -> None:
        """The editor is there."""
        self._client = conn

    async def close(self) -> None:
        """End all sessions."""
        await asyncio.gather(*(session.close() for session in self._sessions.values()))
        self._sessions.clear()

    async def initialize(
        self, client_capabilities: schema.ClientCapabilities | None = None, **_rest: Any
    ) -> schema.InitializeResponse:
        """Say what there is; an editor that knows other versions of the protocol only leaves then."""
        asked = client_capabilities.elicitation if client_capabilities else None
        self._forms = asked is not None and asked.form is not None
        return schema.InitializeResponse(
            protocol_version=PROTOCOL_VERSION,
            agent_info=schema.Implementation(name="qianda", title="Qianda", version=__version__),
            auth_methods=[],
            agent_capabilities=schema.AgentCapabilities(
                load_session=True,
                prompt_capabilities=schema.PromptCapabilities(image=True, audio=True, embedded_context=True),
                mcp_capabilities=schema.McpCapabilities(http=True, sse=True),
                session_capabilities=schema.SessionCapabilities(
                    list=schema.SessionListCapabilities(),
                    resume=schema.SessionResumeCapabilities(),
                    close=schema.SessionCloseCapabilities(),
                ),
            ),
        )

    @_explained
    async def new_session(
        self, cwd: str, mcp_servers: Sequence[Server] | None = None, **_rest: Any
    ) -> schema.NewSessionResponse:
        """Begin a conversation."""
        name = f"editor-{datetime.now().astimezone():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        session = await self._open(name, cwd, mcp_servers)
        session.tell_commands()
        return schema.NewSessionResponse(session_id=name, modes=session.modes, config_options=session.options)

    @_explained
    async def load_session(
        self, cwd: str, session_id: str, mcp_servers: Sequence[Server] | None = None, **_rest: Any
    ) -> schema.LoadSessionResponse:
        """Go on with a recorded conversation, and show it."""
        session = await self._open_recorded(session_id, cwd, mcp_servers)
        await session.replay()
        session.tell_commands()
        return schema.LoadSessionResponse(modes=session.modes, config_options=session.options)

    @_explained
    async def resume_session(
        self, session_id: str, cwd: str, mcp_servers: Sequence[Server] | None = None, **_rest: Any
    ) -> schema.ResumeSessionResponse:
        """Go on with a recorded conversation, which the editor shows already."""
        session = await self._open_recorded(session_id, cwd, mcp_servers)
        session.tell_commands()
        return schema.ResumeSessionResponse(modes=session.modes, config_options=session.options)

    @_explained
    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_rest: Any
    ) -> schema.ListSessionsResponse:
        """The recorded conversations, the newest first."""
        begin = int(cursor) if cursor and cursor.isdecimal() else 0
        end = begin + _PAGE
        folder = None if cwd is None else _folder(cwd)
        found = await asyncio.to_thread(
            _in_record, lambda journal: list_sessions(journal, workspace=folder, limit=end + 1)
        )
        infos = [
            schema.SessionInfo(
                session_id=one.name,
                cwd=one.workspace,
                title=one.title,
                updated_at=datetime.fromtimestamp(one.updated, UTC).isoformat(),
            )
            for one in found[begin:end]
        ]
        return schema.ListSessionsResponse(sessions=infos, next_cursor=str(end) if len(found) > end else None)

    @_explained
    async def close_session(self, session_id: str, **_rest: Any) -> schema.CloseSessionResponse:
        """Stop a conversation; its record stays."""
        await self._of(session_id).close()
        self._sessions.pop(session_id, None)
        return schema.CloseSessionResponse()

    @_explained
    async def set_session_mode(self, session_id: str, mode_id: str, **_rest: Any) -> schema.SetSessionModeResponse:
        """Switch the permissions, or plan mode."""
        await self._of(session_id).switch("mode", mode_id, as_mode=True)
        return schema.SetSessionModeResponse()

    @_explained
    async def set_config_option(
        self, config_id: str, session_id: str, value: str | bool, **_rest: Any
    ) -> schema.SetSessionConfigOptionResponse:
        """Turn one of the switches."""
        session = self._of(session_id)
        await session.switch(config_id, str(value))
        return schema.SetSessionConfigOptionResponse(config_options=session.options)

    @_explained
    async def prompt(self, session_id: str, prompt: Sequence[Block], **_rest: Any) -> schema.PromptResponse:
        """Run until the model answers."""
        return await self._of(session_id).prompt(prompt)

    async def cancel(self, session_id: str, **_rest: Any) -> None:
        """Stop what goes on in a session."""
        if session_id in self._sessions:
            self._sessions[session_id].cancel()

    def _of(self, name: str) -> EditorSession:
        if name not in self._sessions:
            raise _unknown(name)
        return self._sessions[name]

    async def _open_recorded(self, name: str, cwd: str, servers: Sequence[Server] | None) -> EditorSession:
        if not await asyncio.to_thread(_in_record, lambda journal: journal.runs(name)):
            raise _unknown(name)
        if earlier := self._sessions.pop(name, None):
            await earlier.close()
        return await self._open(name, cwd, servers)

    async def _open(self, name: str, cwd: str, servers: Sequence[Server] | None) -> EditorSession:
        assert self._client is not None
        choices = replace(self._choices, workspace=_folder(cwd))
        named = [mcp_server(server) for server in servers or ()]
        session = EditorSession(name, self._client, choices, named, forms=self._forms)
        try:
            await session.open()
        except BaseException:
            await session.close()
            raise
        self._sessions[name] = session
        return session


def _folder(cwd: str) -> Path:
    """The editor's folder.

    Raises:
        ConfigurationError: it is not one.
    """
    if not Path(cwd).is_absolute():
        raise ConfigurationError(f"The folder {cwd!r} is no absolute path")
    try:
        return open_workspace(cwd)
    except ConfigurationError as error:
        raise ConfigurationError(error.message) from error  # its cure is an option that is not there


def _unknown(name: str) -> RequestError:
    said = f"There is no session {name!r}"
    return RequestError(_MISSING, said, {"details": said})


def _in_record(work: Callable[[SQLiteJournal], T]) -> T:
    """Look something up in the user's record.

    Raises:
        QiandaError: it cannot be opened or read.
    """
    journal = SQLiteJournal(record_path())
    try:
        return work(journal)
    finally:
        journal.close()
