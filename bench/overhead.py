"""What Qianda costs: CPU and memory beside a hand-written loop against the same server, parsers, start-up times.

``python bench/overhead.py`` prints a Markdown table; ``--write docs/performance.md`` puts it there, between two
markers. Each figure is the best of several fresh processes; bytecode is compiled before. The server has a process of
its own, so that its CPU is not counted.
"""

from __future__ import annotations

import argparse
import compileall
import datetime as dt
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
START, END = "<!-- overhead: start -->", "<!-- overhead: end -->"
HEAVY = [
    "textual",
    "mcp",
    "qwen_agent",
    "starlette",
    "typer",
    "numpy",
    "dbos",
    "pydantic",
    "httpx",
    "httpx2",
    "sqlite3",
]
IMPORT = f"""
from qianda import Agent, tool
import time; cpu = time.process_time()
try:
    with open("/proc/self/status") as status:
        memory = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
except OSError:
    import resource
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
import json, sys
print(json.dumps({{"cpu": cpu, "memory": memory, "heavy": [name for name in {HEAVY} if name in sys.modules]}}))
"""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        what: what was measured.
        floor: the hand-written loop's figure, or "".
        figure: Qianda's figure.
        compared: what is held against the limit, as it is shown.
        limit: the limit, as it is shown.
        kept: whether it is kept.
    """

    what: str
    floor: str
    figure: str
    compared: str
    limit: str
    kept: bool


def environment(home: str) -> dict[str, str]:
    """A home of its own and no settings."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
    return kept | {"HOME": home}


@contextmanager
def model_server() -> Generator[str]:
    """The address of a model server in a process of its own."""
    with subprocess.Popen(
        [sys.executable, HERE / "server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


class Bench:
    """Runs measurements, each in a fresh process.

    Args:
        rounds: processes per figure; the smallest figure counts.
        home: an empty folder to run in.
        server: address of the model server.
    """

    def __init__(self, rounds: int, home: str, server: str) -> None:
        self.rounds = rounds
        self.home = home
        self.server = server

    def python(self, *arguments: str) -> dict[str, Any]:
        """The JSON line that a Python process prints."""
        done = subprocess.run(
            [sys.executable, *arguments], env=environment(self.home), cwd=self.home, stdout=subprocess.PIPE, check=True
        )
        return json.loads(done.stdout)

    def best(self, measures: dict[str, Callable[[], dict[str, float]]]) -> dict[str, dict[str, float]]:
        """The smallest figures of each measure; the measures take turns, so that a busy moment meets all of them."""
        found: dict[str, list[dict[str, float]]] = {name: [] for name in measures}
        for _ in range(self.rounds):
            for name, measure in measures.items():
                found[name].append(measure())
        return {name: {key: min(each[key] for each in runs) for key in runs[0]} for name, runs in found.items()}

    def sides(self, scenario: str, *sides: str) -> dict[str, dict[str, float]]:
        """The figures of both sides in one scenario."""
        script = str(HERE / "measure.py")
        return self.best({side: lambda side=side: self.python(script, side, scenario, self.server) for side in sides})

    def request_row(self, scenario: str, what: str) -> Row:
        """CPU per request."""
        figures = self.sides(scenario, "floor", "qianda")
        return ratio_row(what, figures["floor"]["request"], figures["qianda"]["request"], 1.5, "ms")

    def token_rows(self) -> list[Row]:
        """CPU per streamed token, beside two ways to write the floor."""
        figures = {side: each["token"] for side, each in self.sides("tokens", "floor", "floor-bytes", "qianda").items()}
        return [
            ratio_row("per streamed token, 20,000 in one answer", figures["floor"], figures["qianda"], 2, "µs"),
            ratio_row("… beside a floor that splits bytes itself", figures["floor-bytes"], figures["qianda"], 2, "µs"),
        ]

    def long_rows(self) -> list[Row]:
        """A long conversation: all of it, and what we add to the floor late in it, held against what we add early."""
        figures = self.sides("long", "floor", "qianda")
        floor, ours = figures["floor"], figures["qianda"]
        added = {when: ours[when] - floor[when] for when in ("early", "late")}
        ratio = added["late"] / added["early"]
        late = Row(
            "per request at turn 50, at turn 500 of one conversation (we add)",
            f"{1e3 * floor['early']:.2f}, {1e3 * floor['late']:.2f} ms",
            f"{1e3 * ours['early']:.2f}, {1e3 * ours['late']:.2f} ms "
            f"({1e3 * added['early']:.2f}, {1e3 * added['late']:.2f})",
            f"{ratio:.2f}×",
            "≤ 1.5×",
            ratio <= 1.5,
        )
        return [ratio_row("a conversation of 500 tool turns, in all", floor["total"], ours["total"], 2, "ms"), late]

    def waiting_row(self) -> Row:
        """Memory of a run that waits for its server."""
        figures = {side: each["memory"] for side, each in self.sides("waiting", "floor", "qianda").items()}
        return ratio_row("memory of a waiting run, 1,000 at once", figures["floor"], figures["qianda"], 2, "KB")

    def parser_rows(self) -> list[Row]:
        """How fast calls in text are read."""
        runs = [self.python(str(HERE / "measure.py"), "qianda", "parsers", self.server) for _ in range(self.rounds)]
        best = {form: max(run[form] for run in runs) / 1e6 for form in runs[0]}
        return [
            Row(f"calls in text, {form}", "", f"{speed:.0f} MB/CPU-s", "", "≥ 20 MB/CPU-s", speed >= 20)
            for form, speed in best.items()
        ]

    def argument_row(self) -> Row:
        """A run with one call whose argument is long."""
        spent = self.sides("argument", "qianda")["qianda"]["run"]
        return limit_row("a run with a 2 MB argument in pieces of 1 KB", spent, 1, "CPU-s")

    def tool_rows(self) -> list[Row]:
        """One call of a trivial tool, and the schemas of many tools."""
        spent = self.best({"tools": lambda: self.python(str(HERE / "tools.py"))})["tools"]
        dispatch, schemas = 1e6 * spent["dispatch"], 1e3 * spent["schemas"]
        return [
            limit_row("a call of a trivial tool: read, validated, permitted, run, recorded", dispatch, 150, "µs"),
            limit_row("the schemas of 100 tools", schemas, 50, "ms"),
        ]

    def built_in_rows(self) -> list[Row]:
        """A search beside ripgrep itself, and a command that prints very much."""
        script = str(HERE / "tools.py")
        rows: list[Row] = []
        if shutil.which("rg") is not None:
            spent = self.python(script, "search")
            rows.append(ratio_row("grep over 50,000 files, beside ripgrep", spent["ripgrep"], spent["ours"], 1.5, "ms"))
        memory = self.python(script, "output")["memory"] / 1e6
        return [*rows, limit_row("memory that 100 MB of a command's output add", memory, 50, "MB")]

    def context_rows(self) -> list[Row]:
        """Long conversations in a window that is soon full."""
        found = self.best({"context": lambda: self.python(str(HERE / "context.py"))})["context"]
        early, late, share = found["early"], found["late"], 100 * found["prefix"]
        return [
            limit_row("planning a compaction of a million tokens", 1e3 * found["plan"], 200, "ms"),
            ratio_row("per turn in a full window of 32k, turns 100 to 200 and 400 to 500", early, late, 1.5, "ms"),
            Row("… of a prompt, as in the prompt before", "", f"{share:.0f} %", "", "≥ 80 %", share >= 80),
        ]

    def import_rows(self) -> list[Row]:
        """What ``from qianda import Agent, tool`` costs."""
        heavy = self.python("-c", IMPORT)["heavy"]
        figures = self.best(
            {
                "python": lambda: self.python("-c", "import time; print('{\"cpu\": %f}' % time.process_time())"),
                "qianda": lambda: {key: value for key, value in self.python("-c", IMPORT).items() if key != "heavy"},
            }
        )
        cpu, memory = figures["qianda"]["cpu"], figures["qianda"]["memory"]
        what = "`from qianda import Agent, tool`"
        return [
            limit_row(f"{what}, Python included", cpu, 0.25, "CPU-s", floor=f"{figures['python']['cpu']:.3f} CPU-s"),
            limit_row(f"{what}, memory of the process", memory, 45, "MB"),
            Row(
                f"{what}, heavy modules",
                "",
                ", ".join(heavy) or "none",
                "",
                "none",
                not heavy,
            ),
        ]

    def program_rows(self) -> list[Row]:
        """What the program costs to start."""
        qianda = str(Path(sys.executable).with_name("qianda"))
        figures = self.best({"help": lambda: run_program([qianda, "--help"], environment(self.home), self.home)})
        return [limit_row("`qianda --help`", figures["help"]["cpu"], 0.35, "CPU-s")]


def run_program(command: list[str], variables: dict[str, str], folder: str) -> dict[str, float]:
    """CPU seconds of a program."""
    program = subprocess.Popen(command, env=variables, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {program.returncode}")
    return {"cpu": used.ru_utime + used.ru_stime}


def ratio_row(what: str, floor: float, ours: float, limit: float, unit: str) -> Row:
    """A figure beside its floor."""
    factor = {"ms": 1e3, "µs": 1e6, "KB": 1e-3}[unit]
    shown = [f"{factor * value:.2f} {unit}" for value in (floor, ours)]
    return Row(what, shown[0], shown[1], f"{ours / floor:.2f}×", f"≤ {limit:g}×", ours / floor <= limit)


def limit_row(what: str, figure: float, limit: float, unit: str, floor: str = "") -> Row:
    """A figure that stands alone."""
    shown = f"{figure:.3f} {unit}" if unit == "CPU-s" else f"{figure:.0f} {unit}"
    return Row(what, floor, shown, "", f"≤ {limit:g} {unit}", figure <= limit)


def calibrate() -> float:
    """Milliseconds of CPU that a plain loop takes on this machine, the best of five."""

    def once() -> float:
        start = time.process_time()
        total = 0
        for number in range(2_000_000):
            total += number & 7
        return time.process_time() - start

    return 1e3 * min(once() for _ in range(5))


def measure(bench: Bench, only: list[str]) -> list[Row]:
    """The wanted rows."""
    groups: dict[str, Callable[[], list[Row]]] = {
        "json": lambda: [
            bench.request_row("json-1", "per request, 1 tool turn, JSON"),
            bench.request_row("json", "per request, 5 tool turns, JSON"),
        ],
        "sse": lambda: [
            bench.request_row("sse-1", "per request, 1 tool turn, SSE"),
            bench.request_row("sse", "per request, 5 tool turns, SSE"),
        ],
        "many": lambda: [bench.request_row("many", "per request, 5 tool turns, SSE, 64 runs at once")],
        "tokens": bench.token_rows,
        "long": bench.long_rows,
        "waiting": lambda: [bench.waiting_row()],
        "parsers": bench.parser_rows,
        "argument": lambda: [bench.argument_row()],
        "tools": bench.tool_rows,
        "built-in": bench.built_in_rows,
        "context": bench.context_rows,
        "import": bench.import_rows,
        "programs": bench.program_rows,
    }
    return [row for name, rows in groups.items() if not only or name in only for row in rows()]


def machine() -> str:
    """When and on what it was measured."""
    today = dt.datetime.now(tz=dt.UTC).date()
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    return f"Measured {today} on {system}"


def table(rows: list[Row], rounds: int, calibration: float) -> str:
    """The section as Markdown."""
    said = (
        f"{machine()}; CPU time, best of {rounds} fresh processes. Calibration: a loop of 2,000,000 "
        f"additions takes {calibration:.0f} ms here."
    )
    lines = [
        said,
        "",
        "| CPU, or as said | floor | Qianda | ratio | limit | |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (row.what, row.floor, row.figure, row.compared, row.limit, "✓" if row.kept else "**over**")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(path: Path, section: str, start: str = START, end: str = END) -> None:
    """Replace what is between the markers of a file."""
    page = path.read_text(encoding="utf-8") if path.exists() else f"# Performance\n\n{start}\n{end}\n"
    if page.count(start) != 1 or page.count(end) != 1:
        sys.exit(f"{path} must have the lines {start} and {end} once each; nothing was written")
    before, _, rest = page.partition(start)
    path.write_text(f"{before}{start}\n{section}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CPU of Qianda beside a hand-written loop; start-up times.")
    parser.add_argument("--rounds", type=int, default=5, help="processes per figure (default 5)")
    parser.add_argument(
        "--only",
        default="",
        help="some of: json,sse,many,tokens,long,waiting,parsers,argument,tools,built-in,context,import,programs",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this file, between its markers")
    parser.add_argument("--check", action="store_true", help="end with status 1 when a limit is not kept")
    options = parser.parse_args()
    for folder in ("agents", "models", "tools", "tui", "cli", "mcp_servers", "testing", "bench"):
        compileall.compile_dir(ROOT / folder, quiet=2)
    with tempfile.TemporaryDirectory() as home, model_server() as server:
        calibration = calibrate()
        rows = measure(Bench(options.rounds, home, server), [name for name in options.only.split(",") if name])
    section = table(rows, options.rounds, calibration)
    print(section)
    if options.write:
        write(options.write, section)
    if options.check and not all(row.kept for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
