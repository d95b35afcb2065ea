"""The commands that have commands of their own: ``qianda agents``, ``config`` and ``models``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from qianda.cli.exits import DONE
from qianda.cli.opening import Choices, open_workspace
from qianda.cli.options import AgentArgument, FolderOption, JSONOption, KeyOption, ServerOption

agents_app = typer.Typer(
    rich_markup_mode=None, help="Show the agents, and what one would get.", invoke_without_command=True
)


@agents_app.callback(
    epilog="""\b
Examples:
  qianda agents
  qianda agents show coder
  qianda agents show ./reviewer.toml --json
  qianda run --agent coder "Make the tests pass"

\b
An agent is a TOML file: yours lie in the folder agents beside your config.toml,
a project's in .qianda/agents.""",
)
def agents_list(context: typer.Context, *, json: JSONOption = False, cwd: FolderOption = ".") -> int:
    """Show the agents: their names, what they are for, where they come from."""
    if context.invoked_subcommand is not None:
        return DONE
    from qianda.cli.agents import show_agents

    return show_agents(open_workspace(cwd), as_json=json)


@agents_app.command("show", epilog="Example: qianda agents show coder")
def agents_show(agent: AgentArgument, *, json: JSONOption = False, cwd: FolderOption = ".") -> int:
    """Show what an agent would get: instructions, tools, permissions, limits."""
    from qianda.cli.agents import show_agent

    return show_agent(agent, open_workspace(cwd), as_json=json)


config_app = typer.Typer(rich_markup_mode=None, help="Show and change the settings.", invoke_without_command=True)


@config_app.callback(
    epilog="""\b
Examples:
  qianda config
  qianda config set server http://gpu-box:8000/v1
  qianda config set model Qwen/Qwen3-8B
  qianda config set api_keys.modelstudio        asks for the key, unseen
  qianda config unset model""",
)
def config_show(context: typer.Context, cwd: FolderOption = ".") -> int:
    """Show and change the settings: each value, and where it came from."""
    if context.invoked_subcommand is not None:
        return DONE
    from qianda.cli.config import show

    return show(open_workspace(cwd))


@config_app.command("get", epilog="Example: qianda config get model")
def config_get(key: str, cwd: FolderOption = ".") -> int:
    """Print the value of one setting; keys are masked."""
    from qianda.cli.config import get

    return get(key, open_workspace(cwd))


@config_app.command("set", epilog="Example: qianda config set server ollama")
def config_set(
    key: str,
    value: Annotated[
        str | None, typer.Argument(help="Left out for an API key: it is asked for.", show_default=False)
    ] = None,
) -> int:
    """Write a setting into your configuration file."""
    from qianda.cli.config import set_value

    return set_value(key, value)


@config_app.command("unset", epilog="Example: qianda config unset model")
def config_unset(key: str) -> int:
    """Remove a setting from your configuration file."""
    from qianda.cli.config import unset

    return unset(key)


@config_app.command("path", epilog='Example: cat "$(qianda config path)"')
def config_path() -> int:
    """Print where your configuration file is."""
    from qianda.models.config import user_config_path

    typer.echo(str(user_config_path()))
    return DONE


class _ModelsGroup(TyperGroup):
    """What is no command is a model's name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; a model's name is shown."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


models_app = typer.Typer(
    cls=_ModelsGroup,
    rich_markup_mode=None,
    help="The Qwen models, one in full, and those of a server.",
    invoke_without_command=True,
    subcommand_metavar="[NAME | COMMAND]",
)
FitsOption = Annotated[
    str | None, typer.Option("--fits", metavar="12GB", help="Only models that run in so much memory.")
]


@models_app.callback(
    epilog="""\b
Examples:
  qianda models
  qianda models Qwen3-8B
  qianda models qwen3 --json
  qianda models --fits 12GB
  qianda models --server ollama
  qianda models here
  qianda models pull demo""",
)
def models_list(
    context: typer.Context,
    *,
    fits: FitsOption = None,
    json: JSONOption = False,
    server: ServerOption = None,
    api_key_env: KeyOption = None,
    cwd: FolderOption = ".",
) -> int:
    """Show the Qwen models; with --server, those of that server; with a NAME, that model or generation."""
    if context.invoked_subcommand is not None:
        context.obj = fits, json  # options may stand before the name, too
        return DONE
    if server is not None:
        return models_here(server, api_key_env, cwd)
    from qianda.cli.catalog import show_models

    return show_models(None, fits=fits, as_json=json)


@models_app.command("show", hidden=True)
def models_show(
    context: typer.Context,
    name: Annotated[str, typer.Argument()],
    fits: FitsOption = None,
    json: JSONOption = False,
) -> int:
    """Show one model in full, or a generation: qianda models NAME."""
    from qianda.cli.catalog import show_models

    fits_before, json_before = context.obj
    return show_models(name, fits=fits or fits_before, as_json=json or json_before)


@models_app.command("here", epilog="Example: qianda models here")
def models_here(server: ServerOption = None, api_key_env: KeyOption = None, cwd: FolderOption = ".") -> int:
    """List the models of the server that would be used."""
    from qianda.cli.models import list_models

    return list_models(Choices(server=server, api_key_env=api_key_env, workspace=open_workspace(cwd)))


@models_app.command("pull", epilog="Example: qianda models pull demo")
def models_pull(name: Annotated[str, typer.Argument(help="demo is the only one so far.")]) -> int:
    """Fetch the weights of a model that runs in this process."""
    from qianda.cli.models import pull

    return pull(name)
