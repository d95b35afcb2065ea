"""``qianda sessions``: what was recorded, listed, shown, searched, exported, forked, rewound and removed."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import typer

from qianda.agents.conversation import from_records
from qianda.agents.export import ExportFormat, export_session
from qianda.agents.journal_forks import Point, fork_session, rewind_session
from qianda.agents.journal_index import (
    SessionInfo,
    find_session,
    list_sessions,
    remove_sessions,
    search,
)
from qianda.agents.journal_sqlite import SQLiteJournal
from qianda.cli.exits import DONE, GAVE_UP, USAGE, complain
from qianda.cli.opening import record_path
from qianda.cli.terminal import Terminal, clean, is_terminal, width
from qianda.models.errors import ConfigurationError
from qianda.models.messages import AssistantMessage, Message, ToolMessage, content_text

_UNITS = {"h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_TITLE = 44  # cells


def open_journal_file() -> SQLiteJournal:
    """The user's record.

    Raises:
        JournalError: it cannot be opened.
    """
    return SQLiteJournal(record_path())


def show_list(workspace: Path | None, *, limit: int, as_json: bool) -> int:
    """Print a line per session, and where they are."""
    journal = open_journal_file()
    found = list_sessions(journal, workspace=workspace, limit=limit)
    if as_json:
        return _write_json([asdict(session) for session in found])
    terminal = Terminal.current()
    rows = [("SESSION", "WHEN", "STATE", "PROMPTS", "MODEL", "FOLDER", "TITLE")] if found else []
    rows += [(s.name, ago(s.updated), s.state, str(s.prompts), s.model, _folder(s.workspace), s.title) for s in found]
    _table(terminal, rows)
    size = sum(file.stat().st_size for file in journal.path.parent.glob(f"{journal.path.name}*"))
    said = f"{len(found)} sessions" if found else "Nothing was recorded yet"
    terminal.err.write(terminal.style(f"{said}; {journal.path}, {size / 1e6:.1f} MB", "dim") + "\n")
    return DONE


def show_session(name: str, *, as_json: bool) -> int:
    """Print a session's conversation, each prompt and reply with the number by which it is rewound to."""
    journal = open_journal_file()
    session = find_session(journal, name)
    if as_json:
        typer.echo(export_session(journal, session.name, "json"), nl=False)
        return DONE
    terminal = Terminal.current()
    about = (
        f"{clean(session.name)}  {session.state}, {ago(session.updated)}  {session.model}  {clean(session.workspace)}"
    )
    typer.echo(terminal.style(about, "dim"))
    for number, run_id in enumerate(journal.runs(session.name), start=1):
        replies = 0
        for message in from_records(journal.records(run_id)):
            replies += isinstance(message, AssistantMessage)
            mark = f"{number}.{replies}" if replies else str(number)
            for line in _lines(terminal, message, mark):
                typer.echo(line)
    return DONE


def _lines(terminal: Terminal, message: Message, mark: str) -> list[str]:
    text = clean(content_text(message.content)).strip()
    if isinstance(message, ToolMessage):
        style = {"done": "done", "failed": "failed", "denied": "denied"}[message.outcome]
        shown = terminal.one_line(f"{message.name}: {text}", terminal.columns - 8)
        return [f"      {terminal.style(terminal.symbol(style), style)} {shown}"]  # pyright: ignore[reportArgumentType] -- one of the styles
    label = terminal.style(f"{mark:>5} ", "dim")
    if not isinstance(message, AssistantMessage):
        return ["", f"{label}{terminal.style('> ', 'call')}{text}"]
    lines = [f"{label}{text}"] if text else []
    for call in message.tool_calls:
        shown = terminal.one_line(f"{call.name} {call.arguments}", terminal.columns - 8)
        lines.append(f"{label if not lines else '      '}{terminal.style(terminal.symbol('call'), 'call')} {shown}")
    return lines


def show_found(words: Sequence[str], *, limit: int, as_json: bool) -> int:
    """Print where all the words occur."""
    found = search(open_journal_file(), " ".join(words), limit=limit)
    if as_json:
        return _write_json([asdict(place) for place in found])
    terminal = Terminal.current()
    names = {"input": "prompt", "model": "reply", "tool": "result"}
    _table(terminal, [(f.session, ago(f.time), names[f.kind], f.snippet) for f in found])
    if not found:
        complain(f"Nothing that was recorded holds {' '.join(words)}")
    return DONE if found else GAVE_UP


def export(name: str, form: ExportFormat, file: str | None) -> int:
    """Write a session to a file, or to stdout.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    journal = open_journal_file()
    text = export_session(journal, find_session(journal, name).name, form)
    if file is None:
        typer.echo(text, nl=False)
        return DONE
    try:
        Path(file).expanduser().write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror}", cure="Choose another file") from error
    typer.echo(f"Written to {clean(file)}")
    return DONE


def remove(names: Sequence[str], *, yes: bool) -> int:
    """Forget sessions.

    Raises:
        ConfigurationError: one does not exist.
    """
    journal = open_journal_file()
    return _forget(journal, [find_session(journal, name) for name in names], yes=yes)


def prune(older_than: str, *, yes: bool) -> int:
    """Forget sessions that were not used for some time.

    Raises:
        ConfigurationError: that is no time.
    """
    match = re.fullmatch(r"(\d+)([hdw])", older_than)
    if match is None:
        raise ConfigurationError(f"{older_than!r} is no time", cure="Write it as 12h, 30d or 8w")
    before = time.time() - int(match[1]) * _UNITS[match[2]]
    journal = open_journal_file()
    return _forget(journal, [session for session in list_sessions(journal) if session.updated < before], yes=yes)


def _forget(journal: SQLiteJournal, sessions: Sequence[SessionInfo], *, yes: bool) -> int:
    going = [session.name for session in sessions if session.state == "running"]
    sessions = [session for session in sessions if session.state != "running"]
    if going:
        complain(f"Left alone, as they are going on: {', '.join(going)}")
    if not sessions:
        typer.echo("There is nothing to remove")
        return GAVE_UP if going else DONE
    what = f"{len(sessions)} sessions" if len(sessions) > 1 else f"the session {clean(sessions[0].name)}"
    if not yes:
        if not is_terminal(sys.stdin):
            complain(f"Nobody is there to ask whether to remove {what}; --yes removes without asking")
            return USAGE
        if not typer.confirm(f"Remove {what} for good?"):
            return GAVE_UP
    remove_sessions(journal, [session.name for session in sessions])
    typer.echo(f"Removed {what}")
    return DONE


def fork(name: str, new: str | None, at: Point | None) -> int:
    """Copy a session, or its beginning."""
    journal = open_journal_file()
    session = find_session(journal, name).name
    number = 2
    while new is None or (new == f"{session}-{number - 1}" and journal.runs(new)):
        new, number = f"{session}-{number}", number + 1
    fork_session(journal, session, new, at)
    typer.echo(f"Forked as {clean(new)}; go on with it: qianda resume {clean(new)}")
    return DONE


def rewind(name: str, to: Point, *, files: bool) -> int:
    """Take a session back to a point, with the files if that is wanted."""
    journal = open_journal_file()
    session = find_session(journal, name).name
    rewound = rewind_session(journal, session, to, files=files)
    typer.echo(f"{clean(session)} is back at {to}; as it was it is kept as {clean(rewound.kept_as)}")
    conflicts = rewound.files.conflicts if rewound.files else ()
    for change in rewound.files.restored if rewound.files else ():
        typer.echo(f"{'removed' if change.kind == 'deleted' else 'restored'} {clean(change.path)}")
    for conflict in conflicts:
        complain(f"{clean(conflict.path)} is left as it is: {conflict.reason}")
        if conflict.diff:
            typer.echo(conflict.diff)
    return GAVE_UP if conflicts else DONE


def last_session(workspace: Path) -> str:
    """The name of the session that was used last in a folder.

    Raises:
        ConfigurationError: there is none.
    """
    with ExitStack() as stack:
        journal = open_journal_file()
        stack.callback(journal.close)
        return find_session(journal, "last", workspace).name


def ago(then: float) -> str:
    """A time as people say it."""
    seconds = max(time.time() - then, 0.0)
    for size, name in ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= size:
            number = int(seconds // size)
            if name == "day" and number > 30:
                return time.strftime("%Y-%m-%d", time.localtime(then))
            return f"{number} {name}{'s' if number > 1 else ''} ago"
    return "just now"


def _folder(path: str) -> str:
    home = str(Path.home())
    return f"~{path.removeprefix(home)}" if path == home or path.startswith(f"{home}/") else path


def _table(terminal: Terminal, rows: Sequence[tuple[str, ...]]) -> None:
    """Columns side by side; off a terminal tabs between them and nothing cut."""
    if not terminal.interactive:
        for row in rows:
            typer.echo("\t".join(" ".join(clean(cell).split()) for cell in row))
        return
    cells = [[terminal.one_line(cell, _TITLE) for cell in row[:-1]] for row in rows]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    room = max(terminal.columns - sum(widths) - 2 * len(widths), 20)
    for index, (row, whole) in enumerate(zip(cells, rows, strict=True)):
        padded = [cell + " " * (size - width(cell)) for cell, size in zip(row, widths, strict=True)]
        line = "  ".join([*padded, terminal.one_line(whole[-1], room)])
        typer.echo(terminal.style(line, "dim") if index == 0 and whole[0] == "SESSION" else line)


def _write_json(value: Any) -> int:
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    return DONE
