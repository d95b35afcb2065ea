"""``qianda resume``: go on with an interrupted run, or with the conversation that it is in."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from qianda.cli.exits import complain
from qianda.cli.options import Chosen, JSONOption, QuietOption, RecordedArgument, VerboseOption, with_shared_options

EXAMPLES = """\b
Examples:
  qianda resume last                 goes on where the last run was interrupted
  qianda resume trip                 a finished one: chat in it
  qianda resume trip "And Berlin?"   one more prompt in it
  qianda resume last --max-turns 99  after a limit stopped it
  qianda resume last --plan          nothing more is changed until you accept a plan"""


@with_shared_options("thinking", "effort", "thinking_budget", "sandbox", "network", "cwd", "session", "go_on", "record")
def resume_command(
    name: RecordedArgument,
    prompt: Annotated[str | None, typer.Argument(help="What to do next.", show_default=False)] = None,
    *,
    chosen: Chosen,
    json: JSONOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Go on with what was interrupted; nothing that was done is done again."""
    from qianda.agents.journal_index import find_session
    from qianda.cli.run import Output, resume, run
    from qianda.cli.sessions import open_journal_file
    from qianda.cli.terminal import is_terminal
    from qianda.models.errors import ConfigurationError

    journal = open_journal_file()
    session = find_session(journal, name)
    journal.close()
    if session.state == "running":
        raise ConfigurationError(f"{session.name} is still going on in another process", cure="Wait for it, or stop it")
    choices = replace(chosen.choices(_workspace(session.workspace)), record=True)
    output = Output(json=json, quiet=quiet, verbose=verbose)
    if prompt is not None:
        return run(choices, prompt=prompt, session=session.name, output=output)
    if session.state != "done":
        return resume(choices, session.last_run, output)
    if is_terminal(sys.stdin) and is_terminal(sys.stdout) and not json:
        from qianda.cli.chat import chat

        return chat(choices, session=session.name)
    raise ConfigurationError(
        f"{session.name} was not interrupted", cure=f"Say what is next: qianda resume {session.name} PROMPT"
    )


def _workspace(recorded: str) -> Path:
    """The folder that the session worked in, if it is still there."""
    if Path(recorded).is_dir():
        return Path(recorded)
    complain(f"The folder {recorded} is not there any more; this one is used")
    return Path.cwd()
