"""The commands of ``qianda mcp`` and their options; what each one does is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qianda.cli.exits import DONE
from qianda.cli.opening import open_workspace
from qianda.cli.options import FolderOption, JSONOption, UnaskedOption

mcp_app = typer.Typer(
    rich_markup_mode=None,
    help="Show, add, try and approve MCP servers, and log in at them.",
    invoke_without_command=True,
)


def _names(incomplete: str) -> list[str]:
    """For the shell's completion."""
    from qianda.tools.mcp.configured import configured_servers

    found = dict.fromkeys(server.name for server in configured_servers(Path.cwd(), lambda _line: None))
    return [name for name in found if name.startswith(incomplete)]


def _sources(incomplete: str) -> list[str]:
    from qianda.tools.mcp.dialects import FOREIGN

    return [name for name in FOREIGN if name.startswith(incomplete)]


NameArgument = Annotated[str, typer.Argument(help="Name of the server.", autocompletion=_names)]
NamesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Servers; else all.", autocompletion=_names)
]
ScopeOption = Annotated[
    Literal["user", "project"],
    typer.Option("--scope", help="Your config.toml, or the project's .mcp.json."),
]


@mcp_app.callback(
    epilog="""\b
Examples:
  qianda mcp
  qianda mcp add time -- uvx mcp-server-time
  qianda mcp add linear https://mcp.linear.app/mcp
  qianda mcp login linear
  qianda mcp test time
  qianda mcp import claude-desktop""",
)
def mcp_command(context: typer.Context, *, json: JSONOption = False, cwd: FolderOption = ".") -> int:
    """Show, add, try and approve MCP servers, and log in at them. Without a command: list them."""
    if context.invoked_subcommand is not None:
        return DONE
    return mcp_list(json=json, cwd=cwd)


@mcp_app.command("list", epilog="Example: qianda mcp list --json")
def mcp_list(*, json: JSONOption = False, cwd: FolderOption = ".") -> int:
    """List the servers: name, state, what is started or asked, and the file."""
    from qianda.cli.mcp_show import list_servers

    return list_servers(open_workspace(cwd), as_json=json)


@mcp_app.command("get", epilog="Example: qianda mcp get time")
def mcp_get(name: NameArgument, *, json: JSONOption = False, cwd: FolderOption = ".") -> int:
    """Show one server in full; secrets are masked."""
    from qianda.cli.mcp_show import get_server

    return get_server(name, open_workspace(cwd), as_json=json)


@mcp_app.command(
    "add",
    epilog="""\b
Examples:
  qianda mcp add time -- uvx mcp-server-time --local-timezone Asia/Shanghai
  qianda mcp add notes --env 'NOTES_KEY=${NOTES_KEY}' -- npx -y notes-server
  qianda mcp add linear https://mcp.linear.app/mcp
  qianda mcp add wiki https://wiki.example.org/mcp --header 'Authorization=Bearer ${WIKI_TOKEN}'
  qianda mcp add weather --scope project -- uvx weather-server

\b
${NAME} is filled in from the environment at each start, so that no secret has to
be in a file; put it in single quotes, so that your shell leaves it as it is.""",
)
def mcp_add(
    name: Annotated[str, typer.Argument(help="How to call it.", show_default=False)],
    target: Annotated[list[str], typer.Argument(metavar="URL | -- COMMAND...", help="Its address, or its command.")],
    *,
    scope: ScopeOption = "user",
    header: Annotated[
        list[str] | None, typer.Option("--header", metavar="NAME=VALUE", help="Sent to its address; repeatable.")
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="Variable for its command; repeatable.")
    ] = None,
    transport: Annotated[
        Literal["http", "sse"] | None,
        typer.Option("--transport", help="How its address is spoken to; else both are tried.", show_default=False),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="For one call; 120 by default.")
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option("--include", metavar="TOOL", help="The only tools to take; repeatable.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="TOOL", help="A tool not to take; repeatable.")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Believe it when it calls a tool read-only.")] = False,
    cwd: FolderOption = ".",
) -> int:
    """Add a server: a command after --, or an address."""
    from qianda.cli.mcp_change import add, new_entry

    entry = new_entry(target, header=header or (), env=env or ())
    more = {
        "type": transport,
        "timeout": timeout,
        "include_tools": include,
        "exclude_tools": exclude,
        "trust": trust or None,
    }
    return add(
        name, entry | {key: value for key, value in more.items() if value is not None}, scope, open_workspace(cwd)
    )


@mcp_app.command("remove", epilog="Example: qianda mcp remove time")
def mcp_remove(name: NameArgument, cwd: FolderOption = ".") -> int:
    """Remove a server from its file, with its login and what was approved of it."""
    from qianda.cli.mcp_change import remove

    return remove(name, open_workspace(cwd))


@mcp_app.command("enable", epilog="Example: qianda mcp enable time")
def mcp_enable(name: NameArgument, yes: UnaskedOption = False, cwd: FolderOption = ".") -> int:
    """Use a server again; one of a project is shown and asked for."""
    from qianda.cli.mcp_change import enable

    return enable(name, open_workspace(cwd), yes=yes)


@mcp_app.command("disable", epilog="Example: qianda mcp disable time")
def mcp_disable(name: NameArgument, cwd: FolderOption = ".") -> int:
    """Keep a server, and do not use it; a project's file is left as it is."""
    from qianda.cli.mcp_change import disable

    return disable(name, open_workspace(cwd))


@mcp_app.command(
    "approve",
    epilog="""\b
Examples:
  qianda mcp approve            goes through all that waits for you
  qianda mcp approve weather""",
)
def mcp_approve(name: NamesArgument = None, yes: UnaskedOption = False, cwd: FolderOption = ".") -> int:
    """Let a project's server run, or tools that have changed: shows the command, or the difference, and asks."""
    from qianda.cli.mcp_change import approve

    return approve(name or (), open_workspace(cwd), yes=yes)


@mcp_app.command(
    "test",
    epilog="""\b
Examples:
  qianda mcp test               tries all that would be used
  qianda mcp test time --json""",
)
def mcp_test(name: NamesArgument = None, *, json: JSONOption = False, cwd: FolderOption = ".") -> int:
    """Connect, and list the tools with the time that it took; on failure, what the server said last."""
    from qianda.cli.mcp_show import test

    return test(name or (), open_workspace(cwd), as_json=json)


@mcp_app.command("login", epilog="Example: qianda mcp login linear")
def mcp_login(
    name: Annotated[str, typer.Argument(metavar="NAME|URL", help="The server.", autocompletion=_names)],
    timeout: Annotated[float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait for you.")] = 300.0,
    browser: Annotated[
        bool | None,
        typer.Option("--browser/--no-browser", help="Open a browser, or only print the address.", show_default=False),
    ] = None,
    cwd: FolderOption = ".",
) -> int:
    """Log in at a server that wants it, in a browser on this machine."""
    from qianda.cli.mcp_login import log_in

    return log_in(name, open_workspace(cwd), seconds=timeout, browser=browser)


@mcp_app.command("logout", epilog="Example: qianda mcp logout linear")
def mcp_logout(
    name: Annotated[str, typer.Argument(metavar="NAME|URL", help="The server.", autocompletion=_names)],
    cwd: FolderOption = ".",
) -> int:
    """Forget the login at a server."""
    from qianda.cli.mcp_login import log_out

    return log_out(name, open_workspace(cwd))


@mcp_app.command(
    "import",
    epilog="""\b
Examples:
  qianda mcp import                        shows what other programs have
  qianda mcp import claude-desktop         shows it, and asks which to copy
  qianda mcp import cursor time git        copies these two
  qianda mcp import ~/servers.json --all""",
)
def mcp_import(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[claude-desktop|cursor|vscode|qwen-code|FILE]",
            help="Where from; else all are shown.",
            autocompletion=_sources,
        ),
    ] = None,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Which to copy.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Copy all.")] = False,
    scope: ScopeOption = "user",
    cwd: FolderOption = ".",
) -> int:
    """Copy the servers of another program's configuration; nothing of it is used where it lies."""
    from qianda.cli.mcp_import import import_servers

    return import_servers(source, names or (), scope, open_workspace(cwd), every=every)
