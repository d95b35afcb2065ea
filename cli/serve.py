"""``qianda serve``: tools and agents over MCP, and what other hosts' settings have to say of them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from qianda.cli.opening import Choices, chosen_rules, chosen_sandbox, load_settings, open_workspace, record_path
from qianda.cli.options import FolderOption, Host, ModelOption, PermissionsOption, ServerOption
from qianda.models.errors import ConfigurationError

EXAMPLES = """\b
Examples:
  qianda serve files
  qianda serve files shell --cwd ~/project
  qianda serve my_tools.py --read-only
  qianda serve --agent coder --permissions ask
  qianda serve --sessions
  qianda serve files --http 8000
  qianda serve files --config-for claude-desktop"""
_PLACES: dict[Host, str] = {
    "claude-desktop": "claude_desktop_config.json (Settings, Developer, Edit Config)",
    "cursor": ".cursor/mcp.json of the project, or ~/.cursor/mcp.json",
    "vscode": ".vscode/mcp.json of the project",
    "qwen-code": ".qwen/settings.json of the project, or ~/.qwen/settings.json",
    "qwen-agent": "the function_list of an Assistant: Assistant(function_list=[{…}])",
}
TOKEN = "QIANDA_SERVE_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What was said on the command line.

    Args:
        targets: toolsets and Python files.
        agents: names and files of agents.
        choices: workspace, server, model and permissions of the agents.
        read_only: only what changes nothing.
        sessions: recorded conversations, as resources.
        http: where to listen, or None for stdio.
        token_env: the variable with the token.
        oauth: the issuer of tokens.
        public_url: the address that clients use.
        watch: load Python files again when they change.
    """

    targets: Sequence[str]
    agents: Sequence[str]
    choices: Choices
    read_only: bool
    sessions: bool
    http: str | None
    token_env: str | None
    oauth: str | None
    public_url: str | None
    watch: bool


def serve_command(
    targets: Annotated[
        list[str] | None, typer.Argument(help="files, shell, …, or a Python file with @tool functions.")
    ] = None,
    *,
    agent: Annotated[
        list[str] | None, typer.Option("--agent", metavar="NAME", help="An agent or its file, as a tool; repeatable.")
    ] = None,
    server: ServerOption = None,
    model: ModelOption = None,
    permissions: PermissionsOption = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Only what changes nothing.")] = False,
    sessions: Annotated[
        bool,
        typer.Option("--sessions", help="Show clients all your recorded conversations, of every folder, as resources."),
    ] = False,
    http: Annotated[
        str | None, typer.Option("--http", metavar="[HOST:]PORT", help="Over HTTP; else on stdin and stdout.")
    ] = None,
    token_env: Annotated[
        str | None, typer.Option("--token-env", metavar="NAME", help="Variable that holds the token; else a new one.")
    ] = None,
    oauth: Annotated[
        str | None, typer.Option("--oauth", metavar="URL", help="Take the access tokens of this issuer instead.")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="The address that clients use.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Load Python files again when they change.")] = False,
    config_for: Annotated[
        Host | None, typer.Option("--config-for", help="Print the settings of a host, and stop.")
    ] = None,
    cwd: FolderOption = ".",
) -> int:
    """Serve tools and agents over MCP."""
    said = Serving(
        targets=targets or (),
        agents=agent or (),
        choices=Choices(server=server, model=model, permissions=permissions, workspace=open_workspace(cwd)),
        read_only=read_only,
        sessions=sessions,
        http=http,
        token_env=token_env,
        oauth=oauth,
        public_url=public_url,
        watch=watch,
    )
    return serve(said) if config_for is None else show_config(config_for, said)


def serve(serving: Serving) -> int:
    """Serve until the client goes away, or a signal comes.

    Raises:
        ConfigurationError: a target is not there, or has no tools; the address or the token is wrong.
    """
    from qianda.mcp_servers import Offer
    from qianda.mcp_servers import serve as start

    http: Any = None
    if serving.http is not None:
        from qianda.mcp_servers.http import Listening

        http = Listening.parse(
            serving.http, token=_token(serving.token_env), oauth=serving.oauth, url=serving.public_url
        )
    elif serving.oauth or serving.token_env or serving.public_url:
        raise ConfigurationError("Tokens and addresses are for HTTP", cure="Add --http 8000")
    choices = serving.choices
    config = load_settings(choices.workspace)
    options: dict[str, Any] = {"permissions": chosen_rules(choices, config)}
    options |= {name: value for name in ("server", "model") if (value := getattr(choices, name)) is not None}
    offer = Offer(
        targets=serving.targets,
        agents=serving.agents,
        workspace=choices.workspace,
        read_only=serving.read_only,
        sandbox=chosen_sandbox(choices, config),
        agent_options=options,
        limits=config.limits,
        sessions=record_path() if serving.sessions else None,
    )
    asyncio.run(start(offer, http=http, watch=serving.watch))
    return 0


def show_config(host: Host, serving: Serving) -> int:
    """Print what a host's settings have to say to use this server; where it goes, on stderr.

    Raises:
        ConfigurationError: that host does not use servers in this way.
    """
    from qianda.mcp_servers import load_targets

    if serving.targets or serving.agents or not serving.sessions:
        load_targets(serving.targets, agents=serving.agents, workspace=serving.choices.workspace)
    typer.echo(json.dumps(_config(host, serving), indent=2, ensure_ascii=False))
    typer.echo(f"This goes into {_PLACES[host]}", err=True)
    if serving.http is not None and host in ("cursor", "vscode", "qwen-code"):
        typer.echo(f"Put the token into the environment variable {TOKEN}", err=True)
    return 0


def _config(host: Host, serving: Serving) -> dict[str, Any]:
    entry = _command(serving) if serving.http is None else _remote(host, serving)
    if host == "vscode":
        kind = "stdio" if serving.http is None else "http"
        return {"servers": {"qianda": {"type": kind, **entry}}}
    return {"mcpServers": {"qianda": entry}}


def _command(serving: Serving) -> dict[str, Any]:
    choices = serving.choices
    # Hosts with a window do not have the PATH of a terminal, and start servers anywhere.
    words = ["-m", "qianda", "serve", *[_whole(target) for target in serving.targets]]
    words += [word for agent in serving.agents for word in ("--agent", _whole(agent))]
    words += ["--read-only"] if serving.read_only else []
    words += ["--sessions"] if serving.sessions else []
    words += ["--watch"] if serving.watch else []
    for option in ("server", "model", "permissions"):
        if (value := getattr(choices, option)) is not None:
            words += [f"--{option}", value]
    return {"command": sys.executable, "args": [*words, "--cwd", str(choices.workspace)]}


def _remote(host: Host, serving: Serving) -> dict[str, Any]:
    from qianda.mcp_servers.http import Listening

    where = Listening.parse(serving.http or "", url=serving.public_url)
    name = where.host if ":" not in where.host else f"[{where.host}]"
    url = where.url or f"http://{name}:{where.port}/mcp"
    if host == "claude-desktop":
        raise ConfigurationError("Claude Desktop's settings name commands only", cure="Leave --http out")
    token = {"cursor": f"${{env:{TOKEN}}}", "vscode": f"${{env:{TOKEN}}}", "qwen-code": f"${{{TOKEN}}}"}.get(
        host, "the token"
    )
    headers = {} if serving.oauth else {"headers": {"Authorization": f"Bearer {token}"}}
    if host == "qwen-code":
        return {"httpUrl": url, **headers}
    return {"type": "streamable-http", "url": url, **headers} if host == "qwen-agent" else {"url": url, **headers}


def _whole(target: str) -> str:
    """A target that is a file, by its whole path."""
    return str(Path(target).resolve()) if target.endswith((".py", ".toml")) or os.sep in target else target


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ConfigurationError(f"The environment variable {variable} is not set", cure=f"export {variable}=…")
    return token
