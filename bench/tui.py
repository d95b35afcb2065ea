"""What the chat costs: the whole program in tmux, agent and record and all, against a server in another process.

``python bench/tui.py`` prints a Markdown table; ``--write docs/performance.md`` puts it there, between two markers. It
needs tmux and Linux. CPU is that of the program and the programs it runs; times are from a key, or from what the server
sent, to what tmux received. Each measure has a fresh program; of several rounds the smallest figure counts.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from overhead import HERE, ROOT, calibrate, environment, machine, write
from tui_server import ANSWER, LAST
from tui_terminal import Terminal

START, END = "<!-- tui: start -->", "<!-- tui: end -->"
MODEL = "qwen3-8b"
KEYS = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯⑰⑱⑲⑳"
LONG, SLOW = "stream 2000 11920 2000", "stream 1150 6854 500"
TURNS, TURN = 200, "stream 40 240 0"
CALLS = 5000
AGENT = f"""description = "Calls tools for long."
tools = ["files"]
[limits]
turns = {2 * CALLS}
tool_calls = {2 * CALLS}
"""
QUIET = 10.0
"""Seconds over which a share of the CPU is taken."""

MEASURES = ("launch", "hello", "idle", "spinner", "stream", "keys", "resume", "resize", "memory")
Row = tuple[str, float, float, str]
"""What was measured, the figure, its bound and their unit."""


class Bench:
    """Runs the measures.

    Args:
        rounds: how often what is short is measured; the smallest figure counts.
        server: its address.
        home: the home of all programs.
    """

    def __init__(self, rounds: int, server: str, home: Path) -> None:
        self.rounds = rounds
        self.server = server
        self.home = home
        self.environment = environment(str(home)) | {
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "QIANDA_SERVER": f"{server}/v1",
            **({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}),
        }
        (home / "calls.toml").write_text(AGENT, encoding="utf-8")
        self.folder = home / "work"
        self.folder.mkdir()

    def report(self) -> dict[str, Any]:
        """What the server saw."""
        with urllib.request.urlopen(f"{self.server}/report") as answer:
            return json.load(answer)

    @contextmanager
    def chat(self, *arguments: str) -> Generator[Terminal]:
        """The program, ready."""
        with Terminal(self.environment, str(self.folder)) as terminal:
            terminal.start(*arguments)
            terminal.wait(MODEL)
            time.sleep(0.5)
            yield terminal

    def record(self, name: str, turns: int, prompt: str) -> None:
        """Make a recorded conversation."""
        command = [sys.executable, HERE / "tui_record.py", name, str(turns), prompt]
        subprocess.run(command, env=self.environment, cwd=self.folder, check=True)

    # The measures

    def launch(self) -> list[Row]:
        """From launch to the first key that shows; it is pressed until it does."""
        cpu, seconds = [0.0] * self.rounds, [0.0] * self.rounds
        for number in range(self.rounds):
            with Terminal(self.environment, str(self.folder)) as terminal:
                started = terminal.start()
                while not seconds[number]:
                    terminal.type(KEYS[0])
                    with suppress(TimeoutError):
                        seconds[number] = terminal.wait(KEYS[0], patience=0.02) - started
                cpu[number] = terminal.cpu
        return [(f"launch to the first key that shows ({min(seconds):.2f} s)", min(cpu), 0.6, "CPU-s")]

    def idle(self) -> list[Row]:
        """Nothing happens."""
        with self.chat() as terminal:
            return [("idle", share(terminal), 0.3, "%")]

    def spinner(self) -> list[Row]:
        """The model does not answer."""
        with self.chat() as terminal:
            terminal.type("hang", "Enter")
            terminal.wait("waiting for the model")
            return [("waiting for the model, with the spinner", share(terminal), 0.7, "%")]

    def hello(self) -> list[Row]:
        """What one prompt sends, up to the end of the program."""
        before = len(self.report()["requests"])
        with self.chat() as terminal:
            ask(terminal, "hello", "".join(ANSWER))
            time.sleep(1.0)
            terminal.type("", "C-c", "C-c")
            terminal.wait("To go on with")
        sent = self.report()["requests"][before:]
        return [('characters sent for "hello"', sum(sent), 6000, ""), ("… requests", len(sent), 1, "")]

    def stream(self) -> list[Row]:
        """Long answers, and scrolling in one."""
        quick = [self.long_answer() for _ in range(self.rounds)]
        cpu, lag, memory, page = (min(figures) for figures in zip(*quick, strict=True))
        slow: list[float] = []
        for _ in range(self.rounds):
            with self.chat() as terminal:
                slow.append(self.streamed(terminal, SLOW)[0])
        return [
            ("2,000 lines of Markdown, 11,920 tokens at 2,000/s", cpu, 2.5, "CPU-s"),
            ("… from the server's last token to its line", 1000 * lag, 100, "ms"),
            ("… memory at most", memory, 100, "MB"),
            ("a page of scrolling", 1000 * page, 15, "CPU-ms"),
            ("1,150 lines, 6,854 tokens at 500/s", min(slow), 2, "CPU-s"),
        ]

    def long_answer(self) -> tuple[float, float, float, float]:
        """CPU seconds, lag, memory, and CPU seconds of a page of scrolling."""
        pages = 30
        with self.chat() as terminal:
            cpu, lag = self.streamed(terminal, LONG)
            memory = terminal.memory("VmHWM")
            time.sleep(0.5)
            before = terminal.busy_seconds
            for _ in range(pages):
                terminal.type("", "PPage")
                time.sleep(0.05)
            return cpu, lag, memory, (terminal.busy_seconds - before) / pages

    def keys(self) -> list[Row]:
        """Keys while an answer streams."""
        with self.chat() as terminal:
            terminal.type(LONG, "Enter")
            terminal.wait("Section 3")
            waits: list[float] = []
            for key in KEYS:
                place = terminal.written
                pressed = terminal.type(key)
                waits.append(1000 * (terminal.wait(key, place) - pressed))
                time.sleep(0.1)
        slow = statistics.quantiles(waits, n=10)[-1]
        what = f"a key that shows during that stream, median of 20 (one of ten takes {slow:.0f} ms)"
        return [(what, statistics.median(waits), 30, "ms")]

    def resume(self) -> list[Row]:
        """What a recorded conversation adds to the time until the program is ready."""
        self.record("long", TURNS, TURN)
        seconds: dict[str, list[float]] = {"fresh": [], "long": []}
        for _ in range(self.rounds + 2):  # a difference of two needs more of them
            for name, until in (("fresh", MODEL), ("long", LAST)):
                with Terminal(self.environment, str(self.folder)) as terminal:
                    started = terminal.start("--session", name)
                    seconds[name].append(terminal.wait(until) - started)
        added = min(seconds["long"]) - min(seconds["fresh"])
        return [(f"a recorded session of {TURNS} turns opens in", 1000 * added, 200, "ms")]

    def resize(self) -> list[Row]:
        """Another size of the terminal, when 20,000 lines were streamed."""
        with self.chat() as terminal:
            self.streamed(terminal, "stream 20000 20000 0")
            waits: list[float] = []
            for columns in (100, 80, 120):
                time.sleep(0.5)
                place = terminal.written
                changed = terminal.resize(columns, 40)
                waits.append(1000 * (terminal.wait(LAST, place) - changed))
        return [("another width with 20,000 lines, to a usable screen", statistics.median(waits), 100, "ms")]

    def memory(self) -> list[Row]:
        """A run of very many tool calls: an answer with a call and its result are two messages."""
        for number in range(CALLS):
            (self.folder / f"note-{number}.txt").write_text(f"note {number}\n", encoding="utf-8")
        with self.chat("--agent", str(self.home / "calls.toml")) as terminal:
            ask(terminal, f"calls {CALLS // 10}", f"calls {CALLS // 10} made", 300)
            early = terminal.memory()
            ask(terminal, f"calls {CALLS}", f"calls {CALLS} made", 1200)
            return [(f"memory that {2 * CALLS:,} messages add", terminal.memory() - early, 50, "MB")]

    def streamed(self, terminal: Terminal, prompt: str) -> tuple[float, float]:
        """CPU seconds of an answer, and the lag of its last line."""
        before = terminal.cpu
        seen = ask(terminal, prompt, LAST)
        lag = seen - self.report()["sent"]
        time.sleep(0.3)
        return terminal.cpu - before, lag


def ask(terminal: Terminal, prompt: str, until: str, patience: float = 60) -> float:
    """Send a prompt; when this text came."""
    place = terminal.written
    terminal.type(prompt, "Enter")
    return terminal.wait(until, place, patience=patience)


def share(terminal: Terminal) -> float:
    """Percent of a CPU that the program takes for a while."""
    time.sleep(1.0)
    before, begun = terminal.busy_seconds, time.monotonic()
    time.sleep(QUIET)
    return 100 * (terminal.busy_seconds - before) / (time.monotonic() - begun)


@contextmanager
def model_server() -> Generator[str]:
    """The address of the server, in a process of its own."""
    command = [sys.executable, HERE / "tui_server.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def table(rows: list[Row], calibration: float) -> str:
    """The section as Markdown."""
    shared = f"load average {os.getloadavg()[0]:.1f}, of which this bench is at most 1"
    lines = [f"{machine()}; {shared}. Calibration: a loop of 2,000,000 additions takes {calibration:.0f} ms here.", ""]
    lines += ["| the chat | | bound | |", "|---|---|---|---|"]
    for what, figure, bound, unit in rows:
        digits = 0 if unit in ("", "MB", "ms") else 2
        shown, limit = f"{figure:,.{digits}f} {unit}".strip(), f"≤ {bound:,g} {unit}".strip()
        lines.append(f"| {what} | {shown} | {limit} | {'✓' if figure <= bound else '**over**'} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU, memory and latency of the chat, as a whole program in tmux.")
    parser.add_argument("--rounds", type=int, default=3, help="programs per figure where it is short (default 3)")
    parser.add_argument(
        "--only", default="", help="some of: launch,idle,spinner,hello,stream,keys,resume,resize,memory"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file, between its markers")
    parser.add_argument("--check", action="store_true", help="end with status 1 when a bound is not kept")
    options = parser.parse_args()
    if shutil.which("tmux") is None:
        sys.exit("This needs tmux")
    for folder in ("agents", "models", "tools", "tui", "cli", "mcp_servers"):
        compileall.compile_dir(ROOT / folder, quiet=2)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as home, model_server() as server:
        bench = Bench(options.rounds, server, Path(home))
        for name in MEASURES:
            if not options.only or name in options.only.split(","):
                measure: Callable[[], list[Row]] = getattr(bench, name)
                measured = measure()
                print(*measured, sep="\n", file=sys.stderr)
                rows += measured
        section = table(rows, calibrate())
    print(section)
    if options.write:
        write(options.write, section, START, END)
    if options.check and not all(figure <= bound for _, figure, bound, _ in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
