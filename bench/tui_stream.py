"""The transcript under load: 3,000 thinking tokens, then 2,000 lines of Markdown at 2,000 tokens a second, in tmux.

Run ``python bench/tui_stream.py``. It starts itself in a detached tmux of the given size, feeds a run's events in the
process at their scheduled times, and waits for the last line on tmux's screen. It prints the CPU seconds of the stream
(user and system, of the whole process), the lag from the scheduled time of the last token to its line on the screen,
the resident memory, and a calibration loop to compare machines by. Speed figures are the best of ``--runs``.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

from qianda.models.events import Event, RunFinished, RunStarted, TextDelta, ThinkingDelta
from qianda.models.resolve import Endpoint
from qianda.models.servers import server_kinds
from qianda.tui.app import QiandaApp

RATE = 2000
LAST = "THE-LAST-LINE"
WORDS = [
    "the",
    "model",
    "reads",
    "a",
    "file",
    "and",
    "says",
    "what",
    "it",
    "found",
    "in",
    "the",
    "folder",
    "千问",
    "回答",
    "with",
    "care",
]


def thinking_tokens(count: int) -> list[str]:
    """Words in lines of some twelve."""
    return [WORDS[n % len(WORDS)] + ("\n" if n % 12 == 11 else " ") for n in range(count)]


def markdown_tokens(lines: int, tokens: int) -> list[str]:
    """A long answer: headings, paragraphs, lists, code and tables, cut into pieces of about one token each."""
    written: list[str] = []
    section = 0
    while len(written) < lines - 1:
        section += 1
        written += [
            f"## Section {section}",
            "",
            "A paragraph with **bold words**, `code` and a [link](https://x.org).",
            "",
        ]
        written += [f"- item {n} of the list, with *emphasis* 和中文" for n in range(6)] + [""]
        written += [f"{n}. step number {n}" for n in range(1, 5)] + [""]
        written += [
            "```python",
            *(f"def f{n}(x: int) -> int:\n    return x * {n}  # times" for n in range(4)),
            "```",
            "",
        ]
        written += ["| name | value |", "|---|---|", *(f"| row {n} | {n * n} |" for n in range(5)), ""]
        written = "\n".join(written).split("\n")
    text = "\n".join([*written[: lines - 1], "", LAST])
    size = len(text) / tokens
    cuts = [round(n * size) for n in range(tokens + 1)]
    return [text[a:b] for a, b in itertools.pairwise(cuts)]


class LoadRun:
    """Gives the events at their scheduled times."""

    def __init__(self, report: dict[str, Any], rate: int) -> None:
        self._report = report
        self._rate = rate

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    async def __aiter__(self) -> AsyncIterator[Event]:
        common: dict[str, Any] = {"run_id": "load", "seq": 0, "time": 0.0}
        yield RunStarted(server="load", model="load", why="load", **common)
        thinking, answer = thinking_tokens(3000), markdown_tokens(2000, 12_497)
        self._report["tokens"] = len(thinking) + len(answer)
        loop = asyncio.get_running_loop()
        used = time.process_time()
        begun = loop.time()
        for number, token in enumerate([*thinking, *answer]):
            due = begun + number / self._rate
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            kind = ThinkingDelta if number < len(thinking) else TextDelta
            yield kind(text=token, **common)
        self._report["scheduled"] = time.time() + (begun + (self._report["tokens"] - 1) / self._rate - loop.time())
        yield RunFinished(reason="done", **common)
        self._report["used"] = used

    def steer(self, content: str) -> None:
        """Nobody reads it."""

    def cancel(self) -> None:
        """It ends by itself."""


class LoadAgent:
    """The agent, the conversation and the report in one."""

    messages = ()

    def __init__(self, rate: int) -> None:
        self.report: dict[str, Any] = {}
        self._rate = rate

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""

    async def endpoint(self) -> Endpoint:
        """A server that is not there."""
        return Endpoint(url="", kind=server_kinds()["vllm"], model="load", why="load")

    def session(self, _name: str) -> LoadAgent:
        """Itself."""
        return self

    def stream(self, _prompt: str) -> LoadRun:
        """The load."""
        return LoadRun(self.report, self._rate)


class LoadApp(QiandaApp):
    """The chat, which writes its report when the file beside the report says that the last line was seen."""

    def __init__(self, report: Path, rate: int) -> None:
        self._agent = LoadAgent(rate)
        self._report = report
        super().__init__(self._open_load, prompt="go")

    async def _open_load(self, *_: object) -> LoadAgent:
        return self._agent

    def on_ready(self) -> None:
        """Look for the file now and then; cheap enough not to be seen in the figures."""
        self.set_interval(0.2, self._look)

    def _look(self) -> None:
        if self._report.with_suffix(".seen").exists():
            report = self._agent.report
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
                1024 * 1024 if sys.platform == "darwin" else 1024
            )
            report |= {"cpu": time.process_time() - report["used"], "memory": memory}
            self._report.write_text(json.dumps(report), encoding="utf-8")
            self.exit(0)


def measure(size: str, rate: int) -> dict[str, float]:
    """One run in tmux."""
    columns, rows = size.split("x")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        tmux = ["tmux", "-S", f"{folder}/tmux.sock", "-f", "/dev/null"]
        command = f"exec {sys.executable} {Path(__file__).resolve()} --inner {report} --rate {rate}"
        subprocess.run([*tmux, "new-session", "-d", "-x", columns, "-y", rows, command], check=True)
        try:
            seen = _wait_for_line(tmux)
            report.with_suffix(".seen").touch()
            deadline = time.monotonic() + 20
            while not (report.exists() and report.stat().st_size):
                if time.monotonic() > deadline:
                    raise TimeoutError("The chat wrote no report")
                time.sleep(0.05)
            result: dict[str, float] = json.loads(report.read_text(encoding="utf-8"))
        finally:
            subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
    return {"cpu": result["cpu"], "lag": max(seen - result["scheduled"], 0.0), "memory": result["memory"]}


def _wait_for_line(tmux: list[str]) -> float:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        screen = subprocess.run([*tmux, "capture-pane", "-p"], check=False, capture_output=True, text=True).stdout
        if LAST in screen:
            return time.time()
        time.sleep(0.02)
    raise TimeoutError("The last line never came")


def calibration() -> float:
    """CPU seconds of a fixed loop."""
    started = time.process_time()
    total = 0
    for number in range(5_000_000):
        total += number & 7
    return time.process_time() - started


async def floor(rate: int) -> float:
    """CPU seconds of the load's own clock, one wait for each token, with nobody showing it."""
    report: dict[str, Any] = {}
    async for _ in LoadRun(report, rate):
        pass
    return time.process_time() - report["used"]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--rate", type=int, default=RATE)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--inner", type=Path)
    options = parser.parse_args()
    if options.inner:
        LoadApp(options.inner, options.rate).run()
        return 0
    if shutil.which("tmux") is None:
        print("This needs tmux")
        return 2
    results = [measure(options.size, options.rate) for _ in range(options.runs)]
    best = {name: min(result[name] for result in results) for name in results[0]}
    print(f"{options.size}, {options.rate} tokens/s, best of {options.runs}; calibration {calibration():.2f} CPU-s")
    print(f"the load alone {asyncio.run(floor(options.rate)):.2f} CPU-s, part of the stream's")
    print(f"stream {best['cpu']:.2f} CPU-s · lag {best['lag']:.2f} s · memory {best['memory']:.0f} MB")
    print("each run: " + ", ".join(f"{r['cpu']:.2f} CPU-s, {r['lag']:.2f} s" for r in results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
