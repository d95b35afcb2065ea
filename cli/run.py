"""``qianda run``: one task; on a terminal shown as it goes, in a pipe the answer alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from qianda.cli.exits import complain
from qianda.cli.opening import Choices, open_agent
from qianda.cli.prompt import attach, read_prompt
from qianda.cli.watching import Output, Watcher, interrupting

if TYPE_CHECKING:
    from qianda.agents.agent import Agent
    from qianda.agents.run import Run


def run(
    choices: Choices,
    *,
    prompt: str | None,
    prompt_file: str | None = None,
    files: Sequence[str] = (),
    images: Sequence[str] = (),
    session: str | None,
    output: Output,
) -> int:
    """Do one task.

    Args:
        choices: what was chosen on the command line.
        prompt: its argument.
        prompt_file: a file with the prompt.
        files: text files to attach.
        images: images to attach.
        session: name of the conversation to go on with.
        output: how it is shown.

    Returns:
        The exit code.

    Raises:
        QiandaError: the run ended with it.
    """
    content = attach(read_prompt(prompt, prompt_file), files, images)
    said = content if isinstance(content, str) else list(content)

    def begin(agent: Agent) -> Run:
        return agent.stream(said) if session is None else agent.session(session).stream(said)

    return asyncio.run(_run(choices, begin, output))


def resume(choices: Choices, run_id: str, output: Output) -> int:
    """Go on with a run that was interrupted.

    Returns:
        The exit code.

    Raises:
        QiandaError: the run ended with it.
    """
    return asyncio.run(_run(choices, lambda agent: agent.resume(run_id), output))


async def _run(choices: Choices, begin: Callable[[Agent], Run], output: Output) -> int:
    watcher = Watcher(output)
    with ExitStack() as stack:
        agent = await open_agent(choices, stack=stack, notify=_silent if output.quiet else complain)
        if (await agent.endpoint()).demo and not (output.quiet or output.json):
            watcher.say_demo()
        async with begin(agent) as run:
            with interrupting(run, watcher.approval):
                async for event in run:
                    await watcher.watch(event, run)
            return await watcher.finish(run, recorded=agent.record().lasting)


def _silent(text: str) -> None:
    """What --quiet does not show."""
