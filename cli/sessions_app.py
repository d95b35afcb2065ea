"""The options of ``qianda sessions``; what each command does is imported when it is called."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from qianda.cli.exits import DONE
from qianda.cli.opening import open_workspace
from qianda.cli.options import FolderOption, JSONOption, RecordedArgument, UnaskedOption

sessions_app = typer.Typer(rich_markup_mode=None, help="Show what was recorded.", invoke_without_command=True)
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many at most.")]
HereOption = Annotated[bool, typer.Option("--here", help="Only those of this folder.")]


@sessions_app.callback(
    epilog="""\b
Examples:
  qianda sessions                              what was recorded, the newest first
  qianda sessions show last
  qianda sessions search 天气 Hangzhou
  qianda sessions export last --format html --output trip.html
  qianda sessions rewind trip --to 2 --files   back to its first two prompts, files too
  qianda sessions prune --older-than 30d""",
)
def sessions(context: typer.Context) -> int:
    """Show what was recorded: conversations that can be gone on with."""
    return DONE if context.invoked_subcommand is not None else sessions_list()


@sessions_app.command("list", epilog="Example: qianda sessions list --here")
def sessions_list(
    here: HereOption = False, limit: LimitOption = 30, *, json: JSONOption = False, cwd: FolderOption = "."
) -> int:
    """Show the sessions, the newest first."""
    from qianda.cli.sessions import show_list

    return show_list(open_workspace(cwd) if here else None, limit=limit, as_json=json)


@sessions_app.command("show", epilog="Example: qianda sessions show last")
def sessions_show(name: RecordedArgument, *, json: JSONOption = False) -> int:
    """Show a conversation, with the points that it can be rewound to."""
    from qianda.cli.sessions import show_session

    return show_session(name, as_json=json)


@sessions_app.command("search", epilog="Example: qianda sessions search 天气 Hangzhou")
def sessions_search(
    words: Annotated[list[str], typer.Argument(help="What to look for; all of it.")],
    *,
    limit: LimitOption = 20,
    json: JSONOption = False,
) -> int:
    """Find words in prompts, replies and results."""
    from qianda.cli.sessions import show_found

    return show_found(words, limit=limit, as_json=json)


@sessions_app.command("export", epilog="Example: qianda sessions export last --format sharegpt >> train.jsonl")
def sessions_export(
    name: RecordedArgument,
    form: Annotated[
        Literal["markdown", "json", "html", "openai", "sharegpt"],
        typer.Option("--format", help="To be read, or (openai, sharegpt) to train a model on."),
    ] = "markdown",
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here.")] = None,
) -> int:
    """Write a conversation in another form."""
    from qianda.cli.sessions import export

    return export(name, form, output)


@sessions_app.command("rm", epilog="Example: qianda sessions rm trip")
def sessions_rm(names: Annotated[list[str], typer.Argument(metavar="ID…")], *, yes: UnaskedOption = False) -> int:
    """Forget sessions."""
    from qianda.cli.sessions import remove

    return remove(names, yes=yes)


@sessions_app.command("prune", epilog="Example: qianda sessions prune --older-than 30d")
def sessions_prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="TIME", help="12h, 30d or 8w.")],
    *,
    yes: UnaskedOption = False,
) -> int:
    """Forget sessions that were not used for some time."""
    from qianda.cli.sessions import prune

    return prune(older_than, yes=yes)


@sessions_app.command(
    "fork",
    epilog="""\b
Examples:
  qianda sessions fork trip --at 2             a copy with its first two prompts
  qianda sessions fork trip --at 2.5 --as try  one prompt, and five replies to the second""",
)
def sessions_fork(
    name: RecordedArgument,
    at: Annotated[
        str | None, typer.Option("--at", metavar="POINT", help="How much of it: PROMPTS, or PROMPTS.REPLIES.")
    ] = None,
    new: Annotated[str | None, typer.Option("--as", metavar="NAME", help="What the copy is called.")] = None,
) -> int:
    """Copy a session, or its beginning, and go on from there."""
    from qianda.cli.sessions import fork

    return fork(name, new, at)


@sessions_app.command(
    "rewind",
    epilog="""\b
Examples:
  qianda sessions rewind trip --to 2           its first two prompts stay
  qianda sessions rewind last --to 1.3 --files""",
)
def sessions_rewind(
    name: RecordedArgument,
    to: Annotated[str, typer.Option("--to", metavar="POINT", help="What stays: PROMPTS, or PROMPTS.REPLIES.")],
    *,
    files: Annotated[bool, typer.Option("--files", help="Also take back what the rest changed in files.")] = False,
) -> int:
    """Take a session back to a point; as it was it is kept under another name."""
    from qianda.cli.sessions import rewind

    return rewind(name, to, files=files)
