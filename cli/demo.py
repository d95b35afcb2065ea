"""The demonstration of ``make demo``: two tasks in a fresh folder, by the demo model, checked afterwards."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from qianda.cli.exits import DONE, GAVE_UP, INTERRUPTED, USAGE, complain
from qianda.cli.opening import record_path
from qianda.cli.terminal import Terminal
from qianda.models.messages import AssistantMessage, Message, ToolMessage, content_text

FILES = {
    "price.txt": "19.5\n",
    "data/notes.txt": "The price is per kilogram.\nAsk for the autumn prices in September.\n",
    "data/prices.csv": "month,price\nJune,18.9\nJuly,19.2\nAugust,19.5\n",
}
_RESULT = "result.txt"
_CHOSEN = ("QIANDA_SERVER", "QIANDA_MODEL", "QIANDA_API_KEY")  # the demonstration is of the demo model


@dataclass(frozen=True, slots=True)
class Task:
    """One task of the demonstration.

    Args:
        prompt: what the model is asked.
        tools: the tools that it has to call, in this order.
        check: given the folder and the answer, says what is wrong; "" when it is right.
        right: what is right then, for a person.
    """

    prompt: str
    tools: tuple[str, ...]
    check: Callable[[Path, str], str]
    right: str


def _check_price(folder: Path, answer: str) -> str:
    price = float((folder / "price.txt").read_text(encoding="utf-8"))
    return "" if f"{price * 3:g}" in answer else f"the answer does not say {price * 3:g}"


def _check_result(folder: Path, answer: str) -> str:
    file = folder / _RESULT
    content = file.read_text(encoding="utf-8").strip() if file.is_file() else None
    if content != str(23 * 17):
        return f"{_RESULT} holds {content!r}, not {23 * 17}" if content is not None else f"there is no {_RESULT}"
    missing = [entry.name for entry in folder.iterdir() if entry.name not in answer]
    return f"the answer does not name {', '.join(sorted(missing))}" if missing else ""


TASKS = (
    Task(
        "Read price.txt. It holds a number; multiply it by 3.",
        ("read_file", "calculator"),
        _check_price,
        "price.txt times 3 is 58.5",
    ),
    Task(
        "Compute 23*17, save it to result.txt, then list the folder.",
        ("calculator", "write_file", "list_files"),
        _check_result,
        "result.txt is on disk and holds 391, the folder was listed",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Args:
        arguments: ``--folder DIR``; by default the process's own.

    Returns:
        The exit code: not 0 when a task failed or its result is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m qianda.cli.demo", description="Two tasks by the demo model.")
    parser.add_argument("--folder", default="demo", help="folder to make and work in (default: demo)")
    folder = Path(parser.parse_args(arguments).folder)
    terminal = Terminal.current()
    if problem := _prepare(folder):
        complain(problem)
        return USAGE
    from qianda.models.embedded import DEMO_LABEL

    names = ", ".join(FILES)
    _say(terminal, f"A {DEMO_LABEL}, runs on this machine and calls tools in the folder {folder}/ ({names}).", "")
    try:
        for task in TASKS:
            if code := _do(task, folder, terminal):
                return code
    except KeyboardInterrupt:
        complain("Interrupted")
        return INTERRUPTED
    _say(terminal, *_what_next(folder))
    return DONE


def _say(terminal: Terminal, *lines: str) -> None:
    terminal.out.write("".join(f"{line}\n" for line in lines))
    terminal.out.flush()


def _prepare(folder: Path) -> str:
    """Make the folder anew; gives the problem, or "". What is not of the demonstration is never touched."""
    ours = {*FILES, *(str(parent) for name in FILES for parent in Path(name).parents), _RESULT}
    try:
        if folder.exists():
            foreign = [path for path in folder.rglob("*") if str(path.relative_to(folder)) not in ours]
            if foreign:
                return f"{folder} holds files of its own ({foreign[0].name}); choose another with --folder"
            shutil.rmtree(folder)
        for name, content in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    except OSError as error:
        return f"The folder {folder} cannot be made: {error.strerror}; choose another with --folder"
    return ""


def _do(task: Task, folder: Path, terminal: Terminal) -> int:
    """Do one task as a person would, and check it."""
    session = f"demo-{secrets.token_hex(4)}"
    options = ["run", "--server", "embedded", "--yes", "--cwd", str(folder)]
    _say(terminal, terminal.style(f"$ qianda {shlex.join(options)} {shlex.quote(task.prompt)}", "dim"))
    recorded = ["--session", session]  # from which the check knows what was called and answered
    told = [] if terminal.interactive else ["--verbose"]  # off a terminal only the answer would be shown
    environment = {name: value for name, value in os.environ.items() if name not in _CHOSEN}
    started = time.monotonic()
    done = subprocess.run(  # noqa: S603  # this very program
        [sys.executable, "-m", "qianda", *options, *recorded, *told, task.prompt], env=environment, check=False
    )
    if done.returncode:
        return done.returncode
    problem = _problem(task, folder, _messages(session))
    seconds = f"({time.monotonic() - started:.0f} s)"
    if problem:
        _say(terminal, terminal.style(f"{terminal.symbol('failed')} wrong: {problem} {seconds}", "failed"))
        return GAVE_UP
    _say(terminal, terminal.style(f"{terminal.symbol('done')} right: {task.right} {seconds}", "done"), "")
    return DONE


def _messages(session: str) -> tuple[Message, ...]:
    """What was said and done, out of the record of the run."""
    from qianda import Agent

    return Agent(journal=record_path()).session(session).messages


def _problem(task: Task, folder: Path, messages: Sequence[Message]) -> str:
    called = [message.name for message in messages if isinstance(message, ToolMessage)]
    left = iter(called)
    if not all(name in left for name in task.tools):  # each one after the one before
        return f"it called {', '.join(called) or 'no tool'}, not {', '.join(task.tools)}"
    answers = [content_text(message.content) for message in messages if isinstance(message, AssistantMessage)]
    return task.check(folder, answers[-1] if answers else "")


def _what_next(folder: Path) -> list[str]:
    program = _program()
    return [
        f'Qwen on vLLM:          {program} run --server http://127.0.0.1:8000/v1 "…"',
        f'Qwen on Ollama:        {program} run --server ollama --model qwen3:8b "…"',
        f'Qwen on Model Studio:  DASHSCOPE_API_KEY=… {program} run --server modelstudio "…"',
        f"Chat in the terminal:  {program} --cwd {shlex.quote(str(folder))}",
    ]


def _program() -> str:
    """How this installation's program is called from here."""
    installed = Path(sys.executable).parent / "qianda"
    found = shutil.which("qianda")
    if not installed.exists() or (found and Path(found) == installed):
        return "qianda"
    return shlex.quote(os.path.relpath(installed))


if __name__ == "__main__":
    sys.exit(main())
