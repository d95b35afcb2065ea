"""The tree keeps its shape: links, who imports whom, lengths, first lines, nothing of one machine."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

# Who may import whom, bottom up. `cli` opens the screen, the screen knows no command.
MAY_IMPORT: dict[str, set[str]] = {
    "models": set(),
    "tools": {"models"},
    "agents": {"models", "tools"},
    "mcp_servers": {"models", "tools", "agents"},
    "testing": {"models", "tools", "agents"},
    "tui": {"models", "tools", "agents", "mcp_servers", "testing"},
    "cli": {"models", "tools", "agents", "mcp_servers", "testing", "tui"},
}
PACKAGES = sorted(MAY_IMPORT)
FRONT_ENDS = {"textual", "typer", "rich", "click"}
MAXIMUM_LINES = 400
MAXIMUM_LINES_OF_THE_LOOP = 150


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def modules(house: Path, files: list[str], *tops: str) -> dict[str, ast.Module]:
    return {name: parsed(house / name) for name in files if name.endswith(".py") and name.split("/")[0] in tops}


def imported(tree: ast.Module) -> set[str]:
    """Dotted names of what a module imports, anywhere in it; a relative import as "."."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.add(".")
        elif isinstance(node, ast.ImportFrom) and node.module == "qianda":
            found |= {f"qianda.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


def test_every_package_is_a_relative_link(house: Path) -> None:
    links = {link.name: str(link.readlink()) for link in (house / "src/qianda").iterdir() if link.is_symlink()}
    assert links == {name: f"../../{name}" for name in PACKAGES}
    for name in PACKAGES:
        assert (house / name / "__init__.py").is_file()
    assert (house / "src/qianda/py.typed").is_file()


def test_no_package_folder_lacks_its_init(house: Path, house_files: list[str]) -> None:
    folders = {str(Path(name).parent) for name in modules(house, house_files, *PACKAGES)}
    assert [folder for folder in folders if not (house / folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_down(package: str, house: Path, house_files: list[str]) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong: list[str] = []
    for name, tree in modules(house, house_files, package).items():
        for target in imported(tree):
            first, _, rest = target.partition(".")
            if target == "." or (first == "qianda" and rest.split(".")[0] in {*PACKAGES, ""} - allowed):
                wrong.append(f"{name} imports {target}")
            if first in PACKAGES:
                wrong.append(f"{name} imports {target}: write qianda.{target}")
            if first in FRONT_ENDS and package in {"models", "tools", "agents"}:
                wrong.append(f"{name} imports {target}: it knows no screen")
    assert wrong == []


def test_a_wrong_import_is_seen() -> None:
    source = (
        "from . import x\nfrom qianda import Agent\nimport qianda\ndef f():\n    from qianda.cli.main import main\n"
    )
    assert imported(ast.parse(source)) == {".", "qianda.Agent", "qianda", "qianda.cli.main"}


def test_modules_are_short(house: Path, house_files: list[str]) -> None:
    lengths = {
        name: len((house / name).read_text(encoding="utf-8").splitlines())
        for name in modules(house, house_files, *PACKAGES, "src", "bench", "examples")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAXIMUM_LINES} == {}
    assert lengths["agents/loop.py"] <= MAXIMUM_LINES_OF_THE_LOOP


def test_every_module_says_what_it_is_for(house: Path, house_files: list[str]) -> None:
    silent: list[str] = []
    for name, tree in modules(house, house_files, *PACKAGES, "src", "bench", "examples", "tests").items():
        first = (ast.get_docstring(tree) or "").split("\n")[0]
        if len(first.split()) < 3 and not name.endswith("__init__.py"):
            silent.append(name)
    assert silent == []


def test_no_module_has_a_name_that_says_nothing(house_files: list[str]) -> None:
    nothing = {"utils.py", "util.py", "helpers.py", "helper.py", "manager.py", "base.py", "common.py", "misc.py"}
    assert [name for name in house_files if Path(name).name in nothing] == []


def test_nothing_of_one_machine_is_in_the_tree(house: Path, house_files: list[str]) -> None:
    """No path of a machine, no host of a package registry or its mirrors."""
    own = re.compile(rb"(?<![\w.}$])/(?:root|work|home/\w|Users/\w|tmp/\w)|\b(?:pypi|npmjs|pythonhosted)\.(?:org|com)")
    found: list[str] = []
    for name in house_files:
        path = house / name
        if name.startswith("tests/") or path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" in content[:8192]:
            continue
        found += [f"{name}: {line.strip()[:100]!r}" for line in content.splitlines() if own.search(line)]
    assert found == []


def test_no_rule_is_switched_off_without_a_reason(house: Path, house_files: list[str]) -> None:
    silenced: list[str] = []
    for name in house_files:
        if not name.endswith(".py") or name == "tests/test_house_tree.py":
            continue
        for number, line in enumerate((house / name).read_text(encoding="utf-8").splitlines(), 1):
            mark = re.search(r"#\s*(noqa|type:\s*ignore|pyright:\s*ignore)(.*)", line)
            if mark and not re.match(
                r"(\[[\w, ]+\]|:\s*[A-Z]+[0-9]+(, ?[A-Z]+[0-9]+)*)\s*(#|-+|:|;)\W*\w", mark.group(2)
            ):
                silenced.append(f"{name}:{number}: {line.strip()}")
    assert silenced == []


def naps(tree: ast.Module) -> list[int]:
    """Lines with a sleep of a fixed short time; a long one is a tool that hangs, and 0 lets others run.

    In a ``while`` it asks again and again for what gives no event; ruff (ASYNC110) wants the reason there.
    """
    polls = {id(node) for loop in ast.walk(tree) if isinstance(loop, ast.While) for node in ast.walk(loop)}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and id(node) not in polls
        and isinstance(node.func, ast.Attribute | ast.Name)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id) == "sleep"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, int | float)
        and 0 < node.args[0].value < 10
    ]


def test_no_test_waits_for_a_time(house: Path, house_files: list[str]) -> None:
    assert naps(ast.parse("import asyncio\nasyncio.sleep(0)\nasyncio.sleep(60)\nasyncio.sleep(0.1)\n")) == [4]
    found = {name: lines for name, tree in modules(house, house_files, "tests").items() if (lines := naps(tree))}
    assert found == {}


def test_links_in_the_documents_lead_somewhere(house: Path, house_files: list[str]) -> None:
    broken: list[str] = []
    for name in house_files:
        if not name.endswith(".md"):
            continue
        text = re.sub(r"```.*?```", "", (house / name).read_text(encoding="utf-8"), flags=re.DOTALL)
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
        broken += [
            f"{name}: {target}"
            for target in targets
            if "://" not in target and not (house / name).parent.joinpath(target).exists()
        ]
    assert broken == []


def test_the_index_of_the_documents_names_each(house: Path, house_files: list[str]) -> None:
    index = (house / "docs/README.md").read_text(encoding="utf-8")
    pages = [name.removeprefix("docs/") for name in house_files if name.startswith("docs/") and name.endswith(".md")]
    assert [page for page in pages if page != "README.md" and f"]({page})" not in index] == []
