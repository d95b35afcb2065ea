"""A session on a real repository, through all of the assistant's tools: find a bug, mend it, take it all back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qianda import Agent
from qianda.models.events import CallFailed, CallFinished
from qianda.models.messages import content_text
from qianda.testing import Call, ScriptedServer, Turn
from qianda.tools import Question, Tool, ask_user, calculator, current_time, files, shell
from qianda.tools.builtin import background

CART = '''\
"""A shopping cart."""


class Cart:
    """Items with their prices."""

    def __init__(self) -> None:
        self.items: list[tuple[str, float, int]] = []

    def add(self, name: str, price: float, count: int = 1) -> None:
        self.items.append((name, price, count))

    def total(self, discount: float = 0) -> float:
        """The price of it all; “discount” is a part of 1."""
        total = sum(price for _, price, count in self.items)
        return round(total * (1 - discount), 2)
'''
TESTS = """\
import unittest

from shop.cart import Cart


class CartTest(unittest.TestCase):
    def test_total(self) -> None:
        cart = Cart()
        cart.add("apple", 1.5, 4)
        cart.add("pear", 2.25, 2)
        self.assertEqual(cart.total(discount=0.1), 9.45)
"""
FILES = {
    "shop/__init__.py": "",
    "shop/cart.py": CART,
    "tests/__init__.py": "",
    "tests/test_cart.py": TESTS,
    "README.md": "# Shop\n",
    "draft.txt": "old notes\n",
    ".gitignore": "__pycache__/\nbuild/\n",
    "build/cart.py": "sum(price\n",
}
TOOLS: list[Tool] = [*files(), *shell(), calculator, current_time, ask_user]  # the assistant's
UNITTEST = f"{sys.executable} -m unittest -q"


def git(repository: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *settings, *arguments], cwd=repository, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "repository"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "shop")
    return folder


async def test_a_bug_is_found_and_mended_and_all_of_it_taken_back(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "_NEWS_SECONDS", 0.01)  # that a look at a silent job waits
    # Each call, and what its result must hold.
    session: list[tuple[str, dict[str, Any], str]] = [
        ("current_time", {"timezone": "UTC"}, "UTC"),
        ("list_files", {"path": "."}, "shop/\ntests/\ndraft.txt\nREADME.md"),
        ("list_files", {"path": ".", "glob": "*cart.py"}, "shop/cart.py\ntests/test_cart.py"),
        ("run_command", {"command": UNITTEST}, "AssertionError: 3.38 != 9.45"),
        ("grep", {"pattern": r"sum\(price"}, "shop/cart.py:15:         total = sum("),
        ("read_file", {"path": "shop/cart.py"}, "self.items.append"),
        ("read_file", {"path": "shop/cart.py", "lines": "13-16"}, "15\t        total = sum("),
        ("calculator", {"expression": "(1.5*4 + 2.25*2) * 0.9"}, "9.45"),
        (  # with plain quotes, and without the indentation
            "edit_file",
            {
                "path": "shop/cart.py",
                "old_text": '"""The price of it all; "discount" is a part of 1."""\n'
                "total = sum(price for _, price, count in self.items)",
                "new_text": '"""The price of it all; "discount" is a part of 1."""\n'
                "total = sum(price * count for _, price, count in self.items)",
            },
            "+        total = sum(price * count for",
        ),
        ("run_command", {"command": UNITTEST}, "OK\n[exit code 0]"),
        ("run_command", {"command": "cd shop && ls"}, "[exit code 0, in shop]"),
        ("run_command", {"command": "git diff --stat; cd .."}, "cart.py | 2 +-"),
        (
            "run_command",
            {"command": "echo $((6 * 7)) > build/answer; tail -f build/answer", "background": True},
            "job 1",
        ),
        ("jobs", {"job": 1}, "running"),
        ("jobs", {"job": 1, "stop": True}, "[job 1: stopped]"),
        ("ask_user", {"question": "Throw draft.txt away?", "options": ["yes", "no"]}, "yes"),
        ("move_file", {"path": "draft.txt"}, "to the trash"),
        ("move_file", {"path": "README.md", "to": "docs/"}, "Moved README.md to docs/README.md"),
        ("write_file", {"path": "docs/README.md", "content": "# Shop\n\nCounts.\n"}, "(replaced)"),
        ("run_command", {"command": "git status --short"}, "D draft.txt"),
    ]
    assert {name for name, _, _ in session} == {tool.name for tool in TOOLS}

    async def ask(question: Question) -> str:
        return question.options[0]

    turns = [Turn(calls=[Call(name, arguments)]) for name, arguments, _ in session]
    async with ScriptedServer(*turns, "Mended.") as server:
        agent = Agent(
            server=server.url,
            tools=TOOLS,
            permissions="auto",
            ask=ask,
            workspace=repository,
            sandbox="off",
        )
        results: list[str] = []
        async with agent.stream("The total is wrong.") as run:
            async for event in run:
                if isinstance(event, CallFinished):
                    results.append(content_text(event.content))
                elif isinstance(event, CallFailed):
                    results.append(event.error)
    assert run.result.output == "Mended."
    for (name, arguments, expected), result in zip(session, results, strict=True):
        assert expected in result, (name, arguments, result)
    assert "“discount”" in (repository / "shop/cart.py").read_text()  # as it was, around the change

    undone = run.undo()

    assert undone.conflicts == ()
    assert git(repository, "status", "--porcelain") == ""
    assert (repository / "shop/cart.py").read_text() == CART
