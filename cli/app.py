"""The commands and their options; what each one does is imported when it is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from qianda.cli import acp
from qianda.cli import serve as serving
from qianda.cli.exits import COMPLETION, DONE, USAGE, complain
from qianda.cli.groups import agents_app, config_app, models_app
from qianda.cli.mcp import mcp_app
from qianda.cli.opening import Choices, open_workspace
from qianda.cli.options import (
    Chosen,
    FolderOption,
    JSONOption,
    KeyOption,
    ModelOption,
    QuietOption,
    UnaskedOption,
    VerboseOption,
    with_shared_options,
)
from qianda.cli.resume import EXAMPLES, resume_command
from qianda.cli.sessions_app import sessions_app
from qianda.cli.web import EXAMPLES as WEB_EXAMPLES
from qianda.cli.web import PASS_ON, web_command

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run_app(arguments: Sequence[str]) -> int:
    """Read the command line and do what it says.

    Returns:
        The exit code.
    """
    command = typer.main.get_command(app)
    if COMPLETION in os.environ:
        command.main(list(arguments), prog_name="qianda", complete_var=COMPLETION)
    try:
        # Not main(): it would answer Ctrl+C with an empty line of its own.
        with command.make_context("qianda", list(arguments)) as context:
            code = command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except typer.TyperException as error:
        where = getattr(error, "ctx", None)
        path = where.command_path if where is not None else "qianda"
        said = error.format_message().replace(": Value error, ", ": ")  # pydantic's words, not the person's
        complain(f"{said} ({path} --help shows what there is)")
        return USAGE
    except typer.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else DONE


def _version(wanted: bool) -> None:
    if wanted:
        from qianda import __version__

        typer.echo(f"qianda {__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog="""\b
Examples:
  qianda                                        chat in the terminal
  qianda run "What is in this folder?"          one task, the answer on stdout
  git diff | qianda run "Write a commit message"
  qianda run --agent coder "Mend the tests"     another agent; qianda agents lists them
  qianda --server ollama --model qwen3:8b       chat with a model of your own
  qianda --continue                             go on with the last conversation here
  qianda doctor                                 what would be used, and why""",
)
@with_shared_options()
def chat_command(
    context: typer.Context,
    *,
    chosen: Chosen,
    plain: Annotated[
        bool, typer.Option("--plain", help="Lines that are only appended: for screen readers and logs.")
    ] = False,
    version: Annotated[  # noqa: ARG001  # read by its callback
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> int:
    """The agent framework for Qwen. Without a command: chat in the terminal."""
    if context.invoked_subcommand is not None:
        if chosen or plain:
            command = context.invoked_subcommand
            raise typer.BadParameter(f"Options go after the command: qianda {command} …")
        return DONE
    from qianda.cli.chat import chat

    choices = chosen.choices()
    return chat(choices, session=chosen.session(choices.workspace), plain=plain)


@app.command(
    "run",
    epilog="""\b
Examples:
  qianda run "Read price.txt. It holds a number; multiply it by 3."
  qianda run "Summarise this" --file notes.md
  cat error.log | qianda run "What went wrong?"
  qianda run "Compute 23*17 and save it to result.txt" --yes
  qianda run "What time is it in Tokyo?" --mcp "uvx mcp-server-time"
  qianda run --agent coder "Find out why test_prices fails, and mend it" --permissions edits
  qianda run "What does figure 2 of paper.pdf show?" --tools documents,images
  qianda run "And in Berlin?" --session trip --json
  qianda run "And then?" --continue
  qianda run --plan "Move the tests to pytest"

\b
Exit codes: 0 done, 1 the model gave up, 2 usage or configuration, 3 refused by
permissions, 4 limit, 5 server, 130 interrupted.""",
)
@with_shared_options()
def run_command(
    prompt: Annotated[
        str | None, typer.Argument(help="What to do; text on stdin is appended.", show_default=False)
    ] = None,
    *,
    prompt_file: Annotated[
        str | None, typer.Option("--prompt-file", metavar="FILE", help="Read the prompt from a file.")
    ] = None,
    file: Annotated[
        list[str] | None, typer.Option("--file", metavar="FILE", help="Attach a text file; repeatable.")
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", metavar="FILE", help="Attach an image; repeatable.")
    ] = None,
    chosen: Chosen,
    json: Annotated[bool, typer.Option("--json", help="Write every event as a line of JSON.")] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Do one task and print the answer."""
    from qianda.cli.run import Output, run

    choices = chosen.choices()
    return run(
        choices,
        prompt=prompt,
        prompt_file=prompt_file,
        files=file or (),
        images=image or (),
        session=chosen.session(choices.workspace),
        output=Output(json=json, quiet=quiet, verbose=verbose),
    )


@app.command(
    epilog="""\b
Examples:
  qianda doctor
  qianda doctor http://gpu-box:8000/v1
  qianda doctor --full --report report.md
  qianda doctor --json | jq .model""",
)
def doctor(
    server: Annotated[str | None, typer.Argument(help="Look at this server instead.", show_default=False)] = None,
    model: ModelOption = None,
    api_key_env: KeyOption = None,
    *,
    cwd: FolderOption = ".",
    json: JSONOption = False,
    full: Annotated[bool, typer.Option("--full", help="Run 36 live checks, in 15 minutes at most.")] = False,
    report: Annotated[
        str | None, typer.Option("--report", metavar="FILE", help="Write what was found as Markdown, to be shared.")
    ] = None,
) -> int:
    """Show which server and model would be used and why, what it can do, and what cures what it cannot."""
    from qianda.cli.doctor import doctor as look

    choices = Choices(server=server, model=model, api_key_env=api_key_env, workspace=open_workspace(cwd))
    return look(choices, full=full, file=report, as_json=json)


app.add_typer(agents_app, name="agents")
app.add_typer(config_app, name="config")
app.add_typer(mcp_app, name="mcp")
app.add_typer(models_app, name="models")


app.command("serve", epilog=serving.EXAMPLES)(serving.serve_command)


@app.command(
    "trust",
    epilog="""\b
Examples:
  qianda trust                 shows what this folder brings, and asks
  qianda trust --list          shows it only
  qianda trust --yes --cwd ~/project""",
)
def trust_command(
    cwd: FolderOption = ".",
    only_list: Annotated[bool, typer.Option("--list", help="Show what the folder brings, and stop.")] = False,
    yes: UnaskedOption = False,
) -> int:
    """Let this folder's MCP servers, settings and agents be used."""
    from qianda.cli.trust import trust

    return trust(open_workspace(cwd), only_list=only_list, yes=yes)


@app.command(
    epilog="""\b
Examples:
  qianda undo                  takes back what the last run changed in this folder
  qianda undo --list           the runs that changed something here
  qianda undo RUN --list       the steps of one
  qianda undo RUN --step 2 --dry-run""",
)
def undo(
    run: Annotated[str | None, typer.Argument(help="The run; else the last one here.", show_default=False)] = None,
    *,
    step: Annotated[int | None, typer.Option("--step", min=1, metavar="N", help="Take back this step only.")] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Show what could be taken back, and stop.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and stop.")] = False,
    cwd: FolderOption = ".",
) -> int:
    """Take back what a run changed; what was changed since stays, and is shown."""
    from qianda.cli.undo import take_back

    return take_back(run, open_workspace(cwd), step=step, only_list=only_list, dry=dry_run)


app.add_typer(sessions_app, name="sessions")
app.command("resume", epilog=EXAMPLES)(resume_command)
app.command("acp", epilog=acp.EXAMPLES)(acp.acp_command)
app.command("web", epilog=WEB_EXAMPLES, context_settings=PASS_ON)(web_command)
