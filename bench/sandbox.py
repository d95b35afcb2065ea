"""What the sandbox and long output cost: milliseconds that it adds to a command; seconds and memory of 100 MB printed.

``python bench/sandbox.py`` prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import tempfile
import time
from pathlib import Path

from qianda.tools import Context, run_command
from qianda.tools.sandbox import Sandbox
from qianda.tools.secrets import redact
from qianda.tools.undo_steps import Steps

COMMANDS = 20
PAUSE = 0.2  # seconds between commands: the kernel clears away namespaces behind us
OUTPUT = 100_000_000  # bytes
FILES = 2_000


async def command(context: Context, line: str) -> float:
    """Seconds of wall time of one command."""
    start = time.perf_counter()
    result = await run_command.call({"command": line}, context)
    assert not result.failed, result
    return time.perf_counter() - start


async def times(context: Context) -> list[float]:
    """Milliseconds of a trivial command: the best one and the median."""
    found: list[float] = []
    for _ in range(COMMANDS):
        await asyncio.sleep(PAUSE)
        found.append(1000 * await command(context, "true"))
    found.sort()
    return [round(found[0], 1), round(found[COMMANDS // 2], 1)]


async def measure(folder: Path) -> dict[str, object]:
    """All the figures."""
    sandbox = Sandbox.of("auto", folder)
    assert sandbox is not None
    plain, boxed = Context(workspace=folder), Context(workspace=folder, sandbox=sandbox)
    figures: dict[str, object] = {"sandbox": sandbox.problem or "works", "command_ms": await times(plain)}
    if not sandbox.problem:
        figures["sandboxed_ms"] = await times(boxed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures["output_s"] = round(await command(plain, f"head -c {OUTPUT} /dev/zero | tr '\\0' 'x'"), 2)
    figures["output_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    text = "An ordinary line of text with nothing to hide.\n" * 21_000
    start = time.perf_counter()
    redact(text)
    figures["redact_1_mb_ms"] = round(1000 * (time.perf_counter() - start), 1)
    for number in range(FILES):
        (folder / f"{number}").write_text(f"{number}\n" * 1_000)
    await asyncio.sleep(1)  # files of this very moment are read again each time
    steps = Steps("bench", folder, print)
    for name in ("first_scan_s", "next_scan_s"):
        start = time.perf_counter()
        steps.begin("run_command", scanned=True).end()
        figures[name] = round((time.perf_counter() - start) / 2, 3)
    return figures


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        import os

        os.environ["QIANDA_DATA_DIR"] = f"{place}/data"
        (Path(place) / "workspace").mkdir()
        print(json.dumps(asyncio.run(measure(Path(place, "workspace")))))
