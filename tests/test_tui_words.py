"""The catalogues have each text that the chat can say, no others, with the same placeholders; and the Chinese chat."""

from __future__ import annotations

import ast
import importlib
import string
import tomllib
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from tui_person import chatting

from qianda.models.catalog.entries import table
from qianda.models.config import PERMISSION_MODES
from qianda.models.events import RunFinished
from qianda.models.plan import State
from qianda.tui import commands, mcp_servers, recorded, status
from qianda.tui.screens import context, mcp_details, models, tools
from qianda.tui.screens.listing import ListScreen
from qianda.tui.transcript.call_text import QUIET
from qianda.tui.transcript.rows import width_of
from qianda.tui.words import CATALOGUES, language_in_use, languages, use_language

TUI = Path(recorded.__file__).parent
SAYS = {"t": 1, "counted": 3}
"""Functions that say a text in the user's language, and how many of their arguments may be one."""


def screens() -> Iterable[type[ListScreen[object]]]:
    """Every screen with a list."""
    for file in (TUI / "screens").glob("*.py"):
        importlib.import_module(f"qianda.tui.screens.{file.stem}")
    kinds: list[type[ListScreen[object]]] = [ListScreen]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return kinds


def bindings() -> Iterable[str]:
    """What their last lines say."""
    found = (one for kind in screens() for _, one in kind._merged_bindings or ())
    return (one.description for one in found if one.show)


TABLES: dict[str, Callable[[], Iterable[str]]] = {
    "mode": lambda: PERMISSION_MODES,
    "wanted": lambda: PERMISSION_MODES,
    "change.kind": lambda: ("created", "changed", "deleted"),
    "command.group": lambda: (command.group for command in commands.COMMANDS),
    "command.takes": lambda: (command.takes for command in commands.COMMANDS),
    "command.text": lambda: (command.text for command in commands.COMMANDS),
    "event.reason": lambda: get_args(get_type_hints(RunFinished)["reason"]),
    "group": lambda: (group for group, _ in context.NAMES.values()),
    "keys": lambda: (keys for keys, _ in commands.EDITOR_KEYS),
    "MEANS[mode]": tools.MEANS.values,
    "one": lambda: (one for one, _ in QUIET.values()),
    "many": lambda: (many for _, many in QUIET.values()),
    "one.description": bindings,
    "RUNS[chat.agent.permissions.judge(tool, {}, NO_EFFECTS).action]": lambda: (
        runs for runs, _ in tools.RUNS.values()
    ),
    "runs": lambda: (runs for runs, _ in tools.RUNS.values()),
    "self.agent.permissions.mode": lambda: PERMISSION_MODES,
    "session.state": lambda: ("running", "interrupted", "done", "cancelled", "limit", "failed"),
    "self.EMPTY": lambda: (kind.EMPTY for kind in screens()),
    "self.HEADING": lambda: (kind.HEADING for kind in screens()),
    "server.now": lambda: get_args(mcp_servers.Now),
    "THINKS[family.thinking]": models.THINKS.values,
    "model.input": lambda: {kind for model in table() for kind in model.input},
    "model.input[1:] or model.input": lambda: {kind for model in table() for kind in model.input},
    "switched": lambda: (*models.SWITCHES.values(), "/think and /no_think"),
    "KINDS[offer.kind]": mcp_details.KINDS.values,
    "step.state": lambda: get_args(State),
    "text": lambda: (
        *(text for _, text in commands.EDITOR_KEYS),
        *(text for _, text in recorded.AGES),
        *status.BUSY,
        *status.IDLE,
    ),
    "title": lambda: (title for _, title in context.NAMES.values()),
}
"""Expressions that are said where no text stands, and which texts they can be."""


def literals(node: ast.expr) -> list[str]:
    """The texts that an expression can be, as far as they stand there."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=body, orelse=other):
            return [*literals(body), *literals(other)]
        case ast.Tuple(elts=elements):
            return [text for element in elements for text in literals(element)]
        case _:
            return []


def said(file: Path) -> Iterable[str]:
    """The texts that a module says.

    Raises:
        KeyError: it says an expression that ``TABLES`` does not know.
    """
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="t"), args=[text]):
                yield from literals(text) or TABLES[ast.unparse(text)]()
            case ast.Call(
                func=ast.Name(id="counted"), args=[_, ast.Constant(value=str(one)), ast.Constant(value=str(many))]
            ):
                yield from (one, many)
            case ast.Call(args=[ast.Name(id="t"), several]):  # map
                yield from TABLES[ast.unparse(several)]()
            case ast.Call(func=ast.Name(id="counted"), args=[_, ast.Starred()]):
                pass  # of a table, or of the pair that follows
            case _:
                pass


@pytest.fixture(scope="module")
def texts() -> frozenset[str]:
    """All that the chat can say."""
    found = {text for file in TUI.rglob("*.py") for text in said(file)}
    assert len(found) > 300
    return frozenset(filter(None, found))


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """An environment in Chinese."""
    monkeypatch.setenv("LC_MESSAGES", "zh_CN.UTF-8")
    yield
    use_language("en")


def names(text: str) -> set[str]:
    """The placeholders of a text."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", languages()[1:])
def test_a_catalogue_has_each_text_and_no_other(texts: frozenset[str], language: str) -> None:
    catalogue = tomllib.loads((CATALOGUES / f"{language}.toml").read_text("utf-8"))
    assert sorted(texts - catalogue.keys()) == [], "texts that the catalogue lacks"
    assert sorted(catalogue.keys() - texts) == [], "texts that the chat does not say"
    assert [text for text, other in catalogue.items() if names(text) != names(other) or not other.strip()] == []


@pytest.mark.usefixtures("chinese")
async def test_the_chat_speaks_chinese_and_columns_stand_straight() -> None:
    async with chatting("你好。") as person:
        await person.says("你好")
        await person.sees("你好。", "有问题尽管问")
        assert person.screen().splitlines()[-1].endswith("F1 帮助 · 连按 Ctrl+C 退出")
        await person.press("f1")
        await person.sees("按键与命令")
        lines = [person.line(text) for text in ("发送；模型工作时", "在首末行", "拖动选择")]
        assert (
            len(
                {
                    width_of(line.partition(text)[0])
                    for line, text in zip(lines, ("发送；", "在首末行", "拖动"), strict=True)
                }
            )
            == 1
        )
        assert all(width_of(line) <= 80 for line in person.screen().splitlines())


@pytest.mark.parametrize(
    ("chosen", "environ", "spoken"),
    [
        ("auto", {"LANG": "zh_CN.UTF-8"}, "zh"),
        ("auto", {"LANG": "zh_TW.UTF-8", "LC_ALL": "en_US.UTF-8"}, "en"),
        ("auto", {"LANG": "fr_FR.UTF-8"}, "en"),
        ("auto", {}, "en"),
        ("zh", {"LANG": "en_US.UTF-8"}, "zh"),
        ("en", {"LANG": "zh_CN.UTF-8"}, "en"),
        ("xx", {}, "en"),
    ],
)
def test_the_setting_wins_over_the_environment(
    chosen: str, environ: dict[str, str], spoken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    use_language(chosen)
    try:
        assert language_in_use() == spoken
    finally:
        use_language("en")
