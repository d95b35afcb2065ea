"""The benchmark measures what it says: both floors do the whole job, and the table goes between its markers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from qianda.testing import Call, ScriptedServer, Turn

BENCH = Path(__file__).parent.parent / "bench"
SCRIPT = [
    Turn("Adding.", calls=[Call("add", {"first": 1, "second": 2}), Call("add", {"first": 3, "second": 4})]),
    Turn("3 and 7"),
]


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A script of bench/ as a module."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


async def add(first: int, second: int) -> int:
    return first + second


@pytest.mark.parametrize(("streaming", "split_bytes"), [(False, False), (True, False), (True, True)])
async def test_the_floor_does_the_whole_job(
    monkeypatch: pytest.MonkeyPatch, *, streaming: bool, split_bytes: bool
) -> None:
    floor = load("floor", monkeypatch)
    settings: dict[str, Any] = {"model": "qwen3-8b", "instructions": "Add.", "tools": [{"type": "function"}]}
    async with ScriptedServer(*SCRIPT) as server:
        loop = floor.Floor(
            server=server.url, functions={"add": add}, streaming=streaming, split_bytes=split_bytes, **settings
        )
        async with loop:
            assert await loop.run("Go") == "3 and 7"
    messages = server.requests[1]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "tool"]
    assert [call["function"]["arguments"] for call in messages[2]["tool_calls"]] == [
        '{"first": 1, "second": 2}',
        '{"first": 3, "second": 4}',
    ]
    assert [message["content"] for message in messages[3:]] == ["3", "7"]
    assert messages[3]["tool_call_id"] == messages[2]["tool_calls"][0]["id"]


def test_the_server_makes_as_many_calls_as_its_path_says(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = load("server", monkeypatch).answer
    for results, expected in [(0, b'"finish_reason":"tool_calls"'), (2, b'"finish_reason":"stop"')]:
        messages = [{"role": "user"}] + [{"role": "tool"}] * results
        for stream in (True, False):
            body = b'{"stream":%s,"messages":%s}' % (
                str(stream).lower().encode(),
                str(messages).replace("'", '"').encode(),
            )
            assert expected in b"".join(answer("/turns/2/v1/chat/completions", body))
    tokens = b"".join(answer("/tokens/500/v1/chat/completions", b'{"stream":true,"messages":[]}'))
    assert tokens.count(b'"content":" word') == 500


def test_the_table_goes_between_its_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overhead = load("overhead", monkeypatch)
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{overhead.START}\nold\n{overhead.END}\nafter\n", encoding="utf-8")
    rows = [overhead.ratio_row("a", 0.001, 0.0016, 1.5, "ms"), overhead.limit_row("b", 0.2, 0.25, "CPU-s")]
    overhead.write(page, overhead.table(rows, 5, 100.0))
    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n")
    assert written.endswith(f"{overhead.END}\nafter\n")
    assert "old" not in written
    assert "| a | 1.00 ms | 1.60 ms | 1.60× | ≤ 1.5× | **over** |" in written
    assert "| b |  | 0.200 CPU-s |  | ≤ 0.25 CPU-s | ✓ |" in written
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(SystemExit, match="nothing was written"):
        overhead.write(page, "table")
    assert page.read_text(encoding="utf-8") == "no markers"
