"""Runs commands where they can change the workspace and nothing else: bubblewrap on Linux, Seatbelt on macOS."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import get_args

from qianda.models.config import SandboxMode
from qianda.models.errors import ConfigurationError
from qianda.tools.sandbox_walls import Walls, bubblewrap, process_group, seatbelt

NO_NETWORK = (
    "[the sandbox has no network. Tell the user, who can allow it: --network, "
    "network = true in the configuration, or Agent(sandbox=Sandbox(network=True))]"
)
READ_ONLY = (
    "[the sandbox lets commands write in the workspace and in /tmp only. Tell the user, who can allow more folders: "
    "Agent(sandbox=Sandbox(writable=[…])), or none of it: --no-sandbox]"
)
_NETWORK_FAILURES = (
    "Could not resolve host", "Temporary failure in name resolution", "Name or service not known", "EAI_AGAIN",
    "ENOTFOUND", "Network is unreachable", "nodename nor servname provided", "Failed to establish a new connection",
    "dns error",
)  # fmt: skip
_TRY_SECONDS = 10


@dataclass(frozen=True)
class Sandbox:
    """What commands may touch: the workspace and a ``/tmp`` of their own can be written, the rest is read-only.

    Folders and files with keys (``~/.ssh``, ``~/.aws``, our own configuration and records …) cannot be seen, processes
    outside neither be seen nor signalled.

    Args:
        network: commands may use the network; without it they have a loopback interface of their own.
        writable: more folders that they may change.
        processes: how many processes and threads they may have at once.
        memory: bytes that one process may allocate; three quarters of the machine's by default.
        file_size: bytes that one file may grow to.
        required: raise an error where there is no sandbox; else commands run without, and it is said.
        workspace: the folder that they work in; the agent sets it.
    """

    network: bool = False
    writable: Sequence[str | Path] = ()
    processes: int = 1_000
    memory: int | None = None
    file_size: int = 10_000_000_000
    required: bool = True
    workspace: Path | None = None

    @classmethod
    def of(cls, wanted: Sandbox | SandboxMode, workspace: Path) -> Sandbox | None:
        """The sandbox for a workspace, or None where none is wanted.

        Args:
            wanted: ``auto`` (where there is one), ``on`` (or it is an error), ``off``, or a sandbox as it is.
            workspace: the folder that commands work in.

        Raises:
            ConfigurationError: it is none of these.
        """
        if isinstance(wanted, Sandbox):
            return replace(wanted, workspace=workspace)
        if wanted not in get_args(SandboxMode):
            raise ConfigurationError(f'there is no sandbox "{wanted}"', cure='Use "auto", "on", "off" or Sandbox(…)')
        return None if wanted == "off" else cls(required=wanted == "on", workspace=workspace)

    @property
    def problem(self) -> str:
        """Why there is no sandbox here, with the cure, or ""; found out by a real try, once in a process."""
        with _one_try:
            return sandbox_problem()

    def wrap(self, arguments: Sequence[str], folder: Path) -> list[str]:
        """The command line that runs a command inside.

        Args:
            arguments: the program and its arguments.
            folder: where it runs.

        Returns:
            The wrapped command; the same one where there is no sandbox and none is required.

        Raises:
            ConfigurationError: there is no sandbox here, and one is required.
        """
        problem = self.problem
        if problem and self.required:
            raise ConfigurationError(f"Commands cannot run in a sandbox here: {problem}", cure="Or use --no-sandbox")
        return list(arguments) if problem else self.line(arguments, folder)

    def warn(self) -> str:
        """What to tell the person before the first command that runs without a sandbox; "" from then on."""
        if not self.problem or self._warned:
            return ""
        self._warned.append(True)
        return f"Commands run without a sandbox and can reach what you can: {self.problem}"

    def explain(self, output: str) -> str:
        """What the model should know about a command's failure, when the sandbox looks like the reason; else ""."""
        if self.problem:
            return ""
        if not self.network and any(sign in output for sign in _NETWORK_FAILURES):
            return NO_NETWORK
        return READ_ONLY if "Read-only file system" in output else ""

    def line(self, arguments: Sequence[str], folder: Path) -> list[str]:
        """``wrap``, without looking whether it works here."""
        workspace = (self.workspace or folder).resolve()
        walls = Walls(
            writable=(workspace, *(Path(path).expanduser().resolve() for path in self.writable)),
            network=self.network,
            temporary=self._temporary,
            limits=(self.processes, self.memory or _physical_memory() * 3 // 4, self.file_size),
        )
        if sys.platform == "darwin":
            return seatbelt(walls, arguments)
        return process_group(self._group, bubblewrap(walls, arguments, folder))

    @cached_property
    def _warned(self) -> list[bool]:
        return []

    @cached_property
    def _temporary(self) -> Path:
        """What commands see as ``/tmp``: shared by those of one sandbox, gone with it."""
        path = Path(os.path.realpath(tempfile.mkdtemp(prefix="qianda-")))
        weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        return path

    @cached_property
    def _group(self) -> Path | None:
        """A control group that counts processes: no other limit of them holds for root."""
        if os.geteuid() != 0:
            return None
        for root in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
            for old in root.glob("qianda-*"):  # one whose last command was still ending stays behind
                if not Path("/proc", old.name.split("-")[1]).exists():
                    _remove_group(old)
            group = root / f"qianda-{os.getpid()}-{id(self):x}"
            try:
                group.mkdir()
                (group / "pids.max").write_text(str(self.processes))
            except OSError:
                with contextlib.suppress(OSError):
                    group.rmdir()
                continue
            weakref.finalize(self, _remove_group, group)
            return group
        return None


_one_try = threading.Lock()


@cache
def sandbox_problem() -> str:
    """Why no sandbox works on this machine, with the cure, or ""."""
    if sys.platform not in ("linux", "darwin"):
        return f"there is none for {sys.platform}"
    program = "sandbox-exec" if sys.platform == "darwin" else "bwrap"
    if shutil.which(program) is None:
        return "bubblewrap is not installed (apt-get install bubblewrap, dnf install bubblewrap)"
    with tempfile.TemporaryDirectory(prefix="qianda-") as folder:
        sandbox = Sandbox()
        attempt = sandbox.line(["true"], Path(folder))
        try:
            done = subprocess.run(attempt, capture_output=True, timeout=_TRY_SECONDS, check=False)  # noqa: S603 - ours
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{program} does not work here: {error}"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return f"{program} does not work here ({said[-1] if said else f'exit code {done.returncode}'})"


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _remove_group(group: Path) -> None:
    with contextlib.suppress(OSError):
        group.rmdir()
