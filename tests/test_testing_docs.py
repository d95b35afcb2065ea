"""The examples of docs/testing.md run as they stand."""

from __future__ import annotations

import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from qianda import testing

PAGE = Path(__file__).parent.parent.joinpath("docs/testing.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.+?)^```$", PAGE, re.DOTALL | re.MULTILINE)
NAMES = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)
TESTS = [(example, name) for example in EXAMPLES for name in NAMES.findall(example)]


@pytest.mark.parametrize(("example", "name"), TESTS, ids=[name for _, name in TESTS])
async def test_example(example: str, name: str) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "docs/testing.md", "exec"), names)
    async with asyncio.timeout(20):
        if inspect.iscoroutinefunction(names[name]):
            await names[name]()
        else:
            await asyncio.to_thread(names[name])


def test_every_example_holds_a_test() -> None:
    assert len(EXAMPLES) >= 4
    assert all("def test_" in example for example in EXAMPLES)


def test_the_page_names_every_server() -> None:
    for name in ("ScriptedServer", "EchoServer", "ReplayServer", "serving", "Turn", "Call", "Fault"):
        assert name in testing.__all__
        assert f"{name}(" in PAGE or f"`{name}" in PAGE
