"""Runs MCP's official conformance suite against Qianda: ``python tests/conformance/suite.py``.

``tests/servers/setup_conformance.sh`` fetches it. What fails is run again alone; required scenarios that fail then and
are not in ``expected-failures.yml``, or are there and pass, make it fail. Arguments choose: ``server``, ``client``,
a revision, names of scenarios.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
PARTS = Path(os.environ.get("QIANDA_PARTS") or Path.home() / ".cache/qianda-parts") / "conformance"
PROGRAMS = PARTS / "node_modules/.bin"
REVISIONS = ("2025-11-25", "2026-07-28")
SIDES = ("server", "client")
CLIENT = f"{sys.executable} {HERE / 'client.py'}"
_TIMEOUT = "90000"  # milliseconds of one scenario
_ENVIRONMENT = {**os.environ, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"}


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def conformance(*arguments: str) -> str:
    """What the suite prints."""
    command = [str(PROGRAMS / "conformance"), *arguments]
    done = subprocess.run(
        command, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=570
    )
    return done.stdout


def required(side: str, revision: str) -> list[str]:
    """The scenarios that a revision requires of one side."""
    text = conformance("list", "--requirements", revision)
    part = re.search(rf"{side.title()} scenarios.*?:\n(.*?)\n\n", text, re.DOTALL)
    assert part, text
    return re.findall(r"- (\S+)", part[1])


@contextmanager
def served() -> Generator[str]:
    """The fixture server; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(HERE / "server.py"), str(port)], stderr=subprocess.DEVNULL)
    try:
        ends = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, "the fixture server has ended"
                assert time.monotonic() < ends, "the fixture server does not listen"
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        process.wait()


def passing(side: str, revision: str, wanted: list[str], url: str) -> set[str]:
    """The scenarios of one side that pass; together, and those that do not once more, alone."""
    target = ["--url", url] if side == "server" else ["--command", CLIENT]
    common = [side, *target, "--timeout", _TIMEOUT]
    with tempfile.TemporaryDirectory() as folder:
        passed: set[str] = set()
        if len(wanted) > 1:
            text = conformance(*common, "--requirements", revision, "-o", folder)
            passed = set(re.findall(r"^✓ (\S+):", text, re.MULTILINE)) & set(wanted)
        for scenario in [name for name in wanted if name not in passed]:
            text = conformance(*common, "--scenario", scenario, "--spec-version", revision, "-o", folder)
            good = "OVERALL: PASSED" in text or re.search(r"Passed: (\d+)/\1, 0 failed", text)
            if good and "CLIENT EXITED WITH ERROR" not in text:
                passed.add(scenario)
            else:
                say(text)
    return passed


def expected() -> set[str]:
    """The scenarios that are known to fail: ``- side revision name`` lines."""
    text = (HERE / "expected-failures.yml").read_text(encoding="utf-8")
    return {line.removeprefix("- ").strip() for line in text.splitlines() if line.startswith("- ")}


def main(words: list[str]) -> int:
    """Run what the words choose; the exit code."""
    if not (PROGRAMS / "conformance").exists():
        say("The suite is not here: tests/servers/setup_conformance.sh")
        return 2
    sides = [side for side in SIDES if side in words] or list(SIDES)
    revisions = [revision for revision in REVISIONS if revision in words] or list(REVISIONS)
    names = [word for word in words if word not in (*SIDES, *REVISIONS)]
    wrong: list[str] = []
    with served() as url:
        for revision in revisions:
            for side in sides:
                wanted = [name for name in required(side, revision) if not names or name in names]
                started = time.monotonic()
                passed: set[str] = set()
                for group in [[name] for name in wanted] if names else [wanted]:
                    passed |= passing(side, revision, group, url)
                say(f"{side} {revision}: {len(passed)}/{len(wanted)} ({time.monotonic() - started:.0f} s)")
                known = {name for name in wanted if f"{side} {revision} {name}" in expected()}
                wrong += [f"{side} {revision} {name}" for name in wanted if (name in passed) == (name in known)]
    for line in wrong:
        say(f"not as expected: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
