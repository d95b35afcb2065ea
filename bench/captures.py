"""Makes the pictures of the chat in docs/tui.md and README: a first session, in tmux, with a scripted model.

``python bench/captures.py`` prints them; with ``--write`` they replace what stands between the marks in the documents.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tui_terminal import Terminal

from qianda.testing import Call, ScriptedServer, Turn, serving

HOUSE = Path(__file__).parents[1]
SIZE = (92, 26)
PATIENCE = 30.0
STEPS = ("Read price.py", "Add the tax", "Run the tests")


def done(step: int) -> Call:
    """A call that says that a step of the plan is done."""
    return Call("plan", {"step": step, "state": "done"})


SCRIPT = (
    Turn(
        reasoning="The user wants a tax of 19 %. I look at the file first, then change it.",
        calls=[Call("plan", {"steps": list(STEPS)}), Call("read_file", {"path": "price.py"})],
    ),
    Turn(
        calls=[
            done(1),
            Call(
                "edit_file",
                {"path": "price.py", "old_text": "    return net\n", "new_text": "    return round(net * 1.19, 2)\n"},
            ),
        ]
    ),
    Turn(calls=[done(2), Call("run_command", {"command": "rm -rf build && python check.py"})]),
    Turn(calls=[Call("plan", {"step": 3, "state": "skipped", "note": "You said no."})]),
    Turn(
        text="`gross` adds **19 % tax** now and rounds to cents:\n\n| net | gross |\n|---:|---:|\n| 10.00 | 11.90 |\n"
        "| 24.99 | 29.74 |\n\nI did not run the check, as you said no to the command."
    ),
)


class Session:
    """A person in front of the chat.

    Args:
        terminal: that it runs in.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def sees(self, text: str) -> str:
        """The screen, as soon as this stands on it and nothing moves any more.

        Raises:
            TimeoutError: it never did.
        """
        end = time.monotonic() + PATIENCE
        before = ""
        while text not in (screen := self._terminal.screen()) or screen != before:
            if time.monotonic() > end:
                raise TimeoutError(f"{text!r} is not on the screen:\n{screen}")
            before = screen
            time.sleep(0.2)
        return "\n".join(line.removesuffix("▐").rstrip() for line in screen.splitlines()).rstrip()

    def types(self, text: str, *keys: str) -> None:
        """Type a text, then press keys."""
        self._terminal.type(text, *keys)


def scenes(person: Session, terminal: Terminal, server: str) -> Iterator[tuple[str, str]]:
    """What is seen, in order, each under what it shows."""
    terminal.start("--server", server)
    yield "It opens at once, takes keys, and says which server and model it found.", person.sees("qwen3-8b")
    person.types("Let gross() in price.py add 19 % tax, then run check.py", "Enter")
    yield (
        "The model plans, thinks, reads without asking, and asks before it changes a file, with the whole difference.",
        person.sees("Yes, once"),
    )
    person.types("", "Down", "Down", "Enter")
    yield (
        "What was allowed is done and shown; a command is asked for with all of its text.",
        person.sees("Run run_command?"),
    )
    person.types("", "Enter")
    yield "A denied call never looks like a done one. The answer is Markdown.", person.sees("as you said no")
    person.types("", "F7")
    yield "F7: what was changed in this conversation, with undo.", person.sees("undo")
    person.types("", "F10")
    yield "F10: what fills the model's window.", person.sees("tools")
    person.types("", "F10")
    person.types("/m")
    yield "`/`: what can be done; `@` finds files, `!` runs a command of yours.", person.sees("/mode")


def session() -> Iterator[tuple[str, str]]:
    """The scenes of a first session in a fresh home."""
    with tempfile.TemporaryDirectory() as home, serving(ScriptedServer(*SCRIPT)) as server:
        folder = Path(home) / "shop"
        folder.mkdir()
        (folder / "price.py").write_text('def gross(net: float) -> float:\n    """With tax."""\n    return net\n')
        (folder / "check.py").write_text("from price import gross\n\nassert gross(10) == 11.9\n")
        subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        environment = {
            **kept,
            "HOME": home,
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(HOUSE / "src"),
        }
        with Terminal(environment, str(folder), SIZE) as terminal:
            yield from scenes(Session(terminal), terminal, server.url)


def written(path: Path, text: str) -> None:
    """Put a text between the marks of a document."""
    document = path.read_text(encoding="utf-8")
    marked = re.compile(r"(<!-- captures[^>]*-->\n).*?(<!-- /captures -->)", re.DOTALL)
    path.write_text(marked.sub(lambda found: f"{found[1]}{text}{found[2]}", document), encoding="utf-8")


def main() -> None:
    """Make them, print them, and write them where that is asked for."""
    made = list(session())
    blocks = [f"{about}\n\n```text\n{screen}\n```\n" for about, screen in made]
    print("\n".join(blocks))
    if "--write" in sys.argv:
        written(HOUSE / "docs/tui.md", "\n".join(blocks))
        written(HOUSE / "README.md", blocks[1])


if __name__ == "__main__":
    main()
