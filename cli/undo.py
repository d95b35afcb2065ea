"""``qianda undo``: what runs changed in a folder, and taking it back."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from qianda.cli.exits import DONE, GAVE_UP, complain
from qianda.cli.terminal import clean
from qianda.models.errors import ConfigurationError
from qianda.tools.undo import by_path, undo
from qianda.tools.undo_store import UndoStore


def take_back(run_id: str | None, workspace: Path, *, step: int | None, only_list: bool, dry: bool) -> int:
    """Take back a run, or one step of it; by default the last run that changed something in this folder.

    Raises:
        UndoError: nothing is kept of it.
        ConfigurationError: no run changed anything here.
    """
    store = UndoStore()
    if only_list:
        return _show_steps(store, run_id) if run_id else _show_runs(store, workspace)
    if run_id is None:
        runs = store.runs(workspace)
        if not runs:
            raise ConfigurationError(
                f"No run changed anything in {workspace} that is left to undo", cure="Name a run, or another --cwd"
            )
        run_id = runs[0][0]
    undone = undo(run_id, step, dry=dry, store=store)
    would = "would be " if dry else ""
    for change in undone.restored:
        typer.echo(f"{_DOING[change.kind].format(would=would)} {clean(change.path)}")
        if dry and change.diff:
            typer.echo(change.diff)
    for conflict in undone.conflicts:
        complain(f"{clean(conflict.path)} is left as it is: {conflict.reason}")
        if conflict.diff:
            typer.echo(conflict.diff)
    if not undone.restored and not undone.conflicts:
        typer.echo("Everything is as it was already")
    return GAVE_UP if undone.conflicts else DONE


_DOING = {"created": "{would}restored", "changed": "{would}restored", "deleted": "{would}removed"}


def _show_runs(store: UndoStore, workspace: Path) -> int:
    runs = store.runs(workspace)
    if not runs:
        complain(f"No run changed anything in {workspace} that is left to undo")
    for run_id, began in runs:
        files = by_path(store.changes(run_id))
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(began))
        typer.echo(f"{run_id}  {when}  {_some(list(files))}")
    return DONE


def _show_steps(store: UndoStore, run_id: str) -> int:
    store.workspace(run_id)
    steps: dict[tuple[int, str], list[str]] = {}
    for changed in store.changes(run_id):
        steps.setdefault((changed.step, changed.tool), []).append(changed.path)
    for (step, tool), paths in steps.items():
        typer.echo(f"{step:>3}  {clean(tool)}  {_some(paths)}")
    return DONE


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return clean(", ".join(paths[:5])) + more
