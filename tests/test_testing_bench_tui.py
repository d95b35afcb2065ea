"""The chat's benchmark measures what it says: the load has the size it names, comes at its time, and is counted."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import urllib.request
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scripts of bench/ beside each other."""
    monkeypatch.syspath_prepend(str(BENCH))
    for name in ("overhead", "server", "tui", "tui_server", "tui_terminal"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("tui")


async def test_the_load_is_as_long_and_as_fast_as_it_says_and_is_counted(bench: Any) -> None:
    server_module = sys.modules["tui_server"]
    text = "".join(server_module.document(2000, 11_920))
    assert len(server_module.document(2000, 11_920)) == 11_920
    assert (text.count("\n") + 1, text.endswith(server_module.LAST)) == (2000, True)
    server_module.Handler.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), server_module.Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"

    def ask(prompt: str) -> tuple[float, str]:
        body = json.dumps({"messages": [{"role": "user", "content": prompt}]}, separators=(",", ":")).encode()
        request = urllib.request.Request(f"{address}/v1/chat/completions", body)
        with urllib.request.urlopen(request) as answer:
            events = [json.loads(line[6:]) for line in answer if line.startswith(b"data: {")]
        deltas = [event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"]]
        return len(body), "".join(deltas)

    loop = asyncio.get_running_loop()
    begun = loop.time()
    sent, answer = await asyncio.to_thread(ask, "stream 40 50 500")
    assert loop.time() - begun >= 0.098
    assert answer == "".join(server_module.document(40, 50))
    assert (await asyncio.to_thread(ask, "hello"))[1] == "Hello!"
    with await asyncio.to_thread(urllib.request.urlopen, f"{address}/report") as report:
        counted = json.load(report)
    assert counted["requests"] == [sent, len(json.dumps({"messages": [{"role": "user", "content": "hello"}]})) - 4]
    await asyncio.to_thread(server.shutdown)
    server.server_close()
    thread.join()


def test_a_figure_over_its_bound_is_named(bench: Any) -> None:
    table = bench.table([("idle", 0.1, 0.3, "%"), ("requests", 2, 1, "")], 70)
    assert "| idle | 0.10 % | ≤ 0.3 % | ✓ |" in table
    assert "| requests | 2 | ≤ 1 | **over** |" in table
