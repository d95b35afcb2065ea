"""``qianda`` alone: the chat in the terminal."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, suppress
from dataclasses import fields, replace
from functools import cache
from typing import TYPE_CHECKING

from qianda.cli.opening import Choices, Notify, load_settings, open_agent, open_workspace
from qianda.cli.terminal import is_terminal
from qianda.models.config import Config, load_own_config
from qianda.models.errors import ConfigurationError, QiandaError

if TYPE_CHECKING:
    from qianda.agents.agent import Agent
    from qianda.agents.journal import Journal
    from qianda.agents.resources import Approve, Ask
    from qianda.tui.conversation import Changes


def chat(choices: Choices | None = None, *, session: str | None = None, plain: bool = False) -> int:
    """Open the chat.

    Args:
        choices: what was chosen on the command line.
        session: name of the conversation to go on with.
        plain: lines that are only appended; so is the chat of who set that, and of a terminal that can do no more.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: this is no terminal.
    """
    chosen = choices or Choices(workspace=open_workspace("."))
    own = Config()
    with suppress(QiandaError):  # what is wrong with the settings is said when the agent opens
        own = load_own_config()
    if plain or own.plain or os.environ.get("TERM") == "dumb":
        from qianda.cli import plain as lines

        return lines.plain(chosen, session=session)
    in_browser = "TEXTUAL_DRIVER" in os.environ  # there the terminal is at the other end of a pipe
    if not in_browser and not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise ConfigurationError(
            "The chat needs a terminal", cure='Without one: qianda run "PROMPT", or see qianda --help'
        )
    from qianda.tui.app import run_tui

    with ExitStack() as stack:

        async def opened(approve: Approve, ask: Ask, notify: Notify, changes: Changes) -> Agent:
            stack.close()  # what an agent before this one has left open
            values = {field.name: getattr(changes, field.name) for field in fields(changes)}
            given = {name: value for name, value in values.items() if value is not None}
            if changes.server is not None and changes.server != chosen.server:
                given["api_key_env"] = None  # that key is for the server of the command line
            wanted = replace(chosen, **given)
            return await open_agent(wanted, stack=stack, notify=notify, approve=approve, ask=ask, memory=memory())

        @cache
        def memory() -> Journal:
            from qianda.agents.journal import open_journal

            return open_journal(None)  # so that the conversation goes on when another agent is opened

        @cache
        def recorded() -> bool:
            with suppress(QiandaError):
                return load_settings(chosen.workspace).record if chosen.record is None else chosen.record
            return False

        return run_tui(opened, session=session, workspace=chosen.workspace, record=recorded, config=own)
