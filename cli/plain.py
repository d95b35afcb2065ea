"""``qianda --plain``: the chat as lines that are only ever appended, for screen readers, dumb terminals and logs."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

from qianda.cli.exits import DONE, complain
from qianda.cli.keyboard import read_prompt
from qianda.cli.opening import Choices, open_agent
from qianda.cli.terminal import Terminal
from qianda.cli.watching import Output, Watcher, interrupting
from qianda.models.errors import QiandaError
from qianda.models.events import RunStarted
from qianda.tui.conversation import new_session_name

if TYPE_CHECKING:
    from qianda.agents.agent import Agent
    from qianda.agents.sessions import Session

HELP = """\
A line is a prompt; a paste of several lines is one. Ctrl+C stops the run, Ctrl+D leaves.
/new       begin a new conversation
/quit      leave
/help      this list"""


def plain(choices: Choices, *, session: str | None = None) -> int:
    """Chat until the input ends.

    Args:
        choices: what was chosen on the command line.
        session: name of the conversation to go on with.

    Returns:
        The exit code.

    Raises:
        QiandaError: no model can be reached.
    """
    return asyncio.run(_plain(choices, session))


async def _plain(choices: Choices, name: str | None) -> int:
    terminal = Terminal.current()
    with ExitStack() as stack:
        agent = await open_agent(choices, stack=stack, notify=complain)
        async with agent:
            endpoint = await agent.endpoint()
            complain(f"{endpoint.model} at {endpoint.kind.title} ({endpoint.why}); /help for more")
            if endpoint.demo:
                Watcher(Output(words=True)).say_demo()
            session = agent.session(name or new_session_name())
            while (line := await _next(terminal)) is not None:
                match line.strip():
                    case "":
                        continue
                    case "/quit" | "/exit":
                        break
                    case "/new" | "/clear":
                        session = agent.session(new_session_name())
                        complain(f"A new conversation: {session.name}")
                    case "/help":
                        terminal.err.write(f"{HELP}\n")
                    case prompt:
                        await _answer(agent, session, prompt)
            if session.messages and agent.record().lasting:
                complain(f"To go on with this conversation: qianda --session {session.name}")
    return DONE


async def _next(terminal: Terminal) -> str | None:
    if terminal.interactive:
        terminal.out.write("\n> ")
        terminal.out.flush()
    line = await read_prompt()
    if line is None and terminal.interactive:
        terminal.out.write("\n")
    return line


async def _answer(agent: Agent, session: Session, prompt: str) -> None:
    """One run; whatever it ends with, the chat goes on."""
    watcher = Watcher(Output(words=True))
    try:
        async with session.stream(prompt) as run:
            with interrupting(run, watcher.approval):
                async for event in run:
                    if not isinstance(event, RunStarted) or event.parent_run_id is not None:  # its model was named
                        await watcher.watch(event, run)
            await watcher.finish(run, recorded=agent.record().lasting)
    except QiandaError as error:
        complain(str(error))
